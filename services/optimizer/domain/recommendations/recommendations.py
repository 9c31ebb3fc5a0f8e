"""Recommendations of a campaign: what they say, how long they stand, and what may be decided about them."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from services.common.errors import FailedPreconditionError
from services.optimizer.domain.offers.answer import Interval
from services.optimizer.domain.recommendations.terms import Terms

EXPIRES_AFTER: Final = timedelta(days=14)
"""How long a recommendation stands from when it was last made."""
MINIMUM_OFFER_CONFIDENCE: Final = 0.8
MINIMUM_CONFIDENCE: Final = 0.9
"""Probability of being better than no change, below which nothing is recommended. An offer's is calibrated
over simulated worlds; the other types' covers noise, and not why past choices were made."""
OPTIMIZER: Final = "optimizer"
"""Who makes, supersedes and lets expire."""


class RecommendationType(StrEnum):
    """What to change."""

    OFFER_AMOUNT = "offer_amount"
    TIMING = "timing"
    SEGMENT = "segment"
    CHANNEL = "channel"


class Status(StrEnum):
    """Where a recommendation stands."""

    OPEN = "open"
    ACCEPTED = "accepted"
    DISMISSED = "dismissed"
    APPLIED = "applied"
    EXPIRED = "expired"
    SUPERSEDED = "superseded"


class Action(StrEnum):
    """What is done with a recommendation."""

    CREATE = "create"
    ACCEPT = "accept"
    DISMISS = "dismiss"
    APPLY = "apply"
    EXPIRE = "expire"
    SUPERSEDE = "supersede"


RESULTS: Final = {
    Action.CREATE: Status.OPEN,
    Action.ACCEPT: Status.ACCEPTED,
    Action.DISMISS: Status.DISMISSED,
    Action.APPLY: Status.APPLIED,
    Action.EXPIRE: Status.EXPIRED,
    Action.SUPERSEDE: Status.SUPERSEDED,
}
_ALLOWED: Final = {
    Action.ACCEPT: {Status.OPEN},
    Action.DISMISS: {Status.OPEN, Status.ACCEPTED},
    Action.APPLY: {Status.OPEN, Status.ACCEPTED},
}


@dataclass(frozen=True, kw_only=True)
class Draft:
    """What is to be recommended.

    `choice` is for programs, `text` for a person. `effect` is relative (absolute for the metric `uplift`),
    with its 90 % interval and the probability that it is above 0, by the method named; None where they cannot
    be said. The rates predicted (at the offer, and at the previous one) and the offers are for `offer_amount`
    alone. `terms` are None for one made before they were kept.
    """

    type: RecommendationType
    choice: str
    text: str
    effect: float | None
    interval: Interval | None
    effect_metric: str
    confidence: float | None
    confidence_method: str
    evidence: str
    evidence_kind: str
    model_version: int | None = None
    offer_micros: int | None = None
    previous_offer_micros: int | None = None
    predicted_rate: float | None = None
    predicted_interval: Interval | None = None
    previous_rate: float | None = None
    terms: Terms | None = None


@dataclass(frozen=True, kw_only=True)
class Withheld:
    """Why nothing of a type is recommended; `reason` is for programs."""

    type: RecommendationType
    reason: str
    message: str

    @property
    def is_verdict(self) -> bool:
        """Whether the data said so, rather than that nothing could be said just now."""
        return self.reason in VERDICTS


NO_BETTER_CHOICE: Final = "NO_BETTER_CHOICE"
"""The intervals of all other choices lie below the gain that matters: equivalence, and not a lack of data."""
GAIN_UNCERTAIN: Final = "GAIN_UNCERTAIN"
"""Another choice may gain what matters, and may not: the data cannot tell yet."""
REVENUE_UNKNOWN: Final = "REVENUE_UNKNOWN"
"""An offer that was recommended stands no longer where it may cost more than anybody knows."""
CURRENT_OFFER_CONSTRAINED: Final = "CURRENT_OFFER_CONSTRAINED"
COST_NOT_BETTER: Final = "COST_NOT_BETTER"
CAMPAIGN_ENDED: Final = "CAMPAIGN_ENDED"
VERDICTS: Final = {
    NO_BETTER_CHOICE,
    GAIN_UNCERTAIN,
    REVENUE_UNKNOWN,
    CURRENT_OFFER_CONSTRAINED,
    COST_NOT_BETTER,
    CAMPAIGN_ENDED,
}


@dataclass(frozen=True, kw_only=True)
class Decision:
    """Something that was done with a recommendation."""

    action: Action
    actor: str
    comment: str
    decided_at: datetime


@dataclass(frozen=True, kw_only=True)
class Recommendation:
    """A recommendation as it is kept; `decisions` is empty where they were not asked for."""

    recommendation_id: str
    campaign_id: str
    status: Status
    draft: Draft
    inputs_key: str
    created_at: datetime
    expires_at: datetime
    decided_at: datetime | None = None
    applied_at: datetime | None = None
    decisions: tuple[Decision, ...] = ()

    def stands(self, inputs_key: str, now: datetime) -> bool:
        """Return whether it need not be made again."""
        if self.expires_at <= now:
            return False
        return self.status is Status.ACCEPTED or self.inputs_key == inputs_key

    def decided(self, action: Action, now: datetime) -> "Recommendation | None":
        """Return the recommendation after an action; None where it is so already.

        Raises:
            FailedPreconditionError: RECOMMENDATION_CLOSED.
        """
        if self.status is RESULTS[action]:
            return None
        is_over = self.expires_at <= now
        if self.status not in _ALLOWED[action] or is_over:
            status = Status.EXPIRED if is_over and self.status in _ALLOWED[Action.APPLY] else self.status
            raise FailedPreconditionError(
                f"the recommendation is {status.value}; ask for the campaign's recommendations again",
                reason="RECOMMENDATION_CLOSED",
                metadata={"recommendation_id": self.recommendation_id, "status": status.value},
            )
        return replace(self, status=RESULTS[action], decided_at=now)


def with_terms(draft: Draft | Withheld, terms: Terms) -> Draft | Withheld:
    """Return a draft with what its money is counted with."""
    return replace(draft, terms=terms) if isinstance(draft, Draft) else draft


def withhold_repeated(draft: Draft, closed: Iterable[Recommendation]) -> Withheld | None:
    """Return why a draft is not recommended once more, where the same was dismissed or applied of late.

    `closed` has the campaign's recommendations that were, the latest decided first.
    """
    same = (each for each in closed if (each.draft.type, each.draft.choice) == (draft.type, draft.choice))
    latest = next(same, None)
    if latest is None:
        return None
    if latest.status is Status.DISMISSED:
        return Withheld(
            type=draft.type,
            reason="DISMISSED",
            message=(
                f"The same ({draft.choice}) was dismissed; it may come again after"
                f" {latest.expires_at:%Y-%m-%d}."
            ),
        )
    return Withheld(
        type=draft.type,
        reason="ALREADY_APPLIED",
        message=f"The same ({draft.choice}) was applied; its outcome is being measured.",
    )
