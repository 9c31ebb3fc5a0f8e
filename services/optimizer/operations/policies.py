"""What a proposed policy of offers would have earned, from deliveries whose offers were drawn."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, time, timedelta
from typing import Final
from zoneinfo import ZoneInfo

import numpy as np

from services.common.database import Connection, Database
from services.common.errors import FailedPreconditionError, invalid_field
from services.common.threads import in_thread
from services.common.waiting_room import WaitingRoom
from services.optimizer.domain.campaigns import UNKNOWN_TERMS
from services.optimizer.domain.policies.margins import (
    MarginSource,
    PolicyMargin,
    choose_margin,
    warn_of_margins,
)
from services.optimizer.domain.policies.offer_policy import (
    OUTCOME_HOURS,
    OfferPolicy,
    PolicyEvaluation,
    PolicyObjective,
    evaluate_offer_policy,
)
from services.optimizer.domain.response.decision_table import NO_SEGMENTS, DecisionTable, as_column
from services.optimizer.operations.days import fetch_reporting_zone
from services.optimizer.operations.lookup import require_campaign
from services.optimizer.store import decisions
from services.optimizer.store.catalog import fetch_merchant_terms

WINDOW_DAYS: Final = 90


@dataclass(frozen=True, kw_only=True)
class PolicyQuestion:
    """A policy, where it is judged, and by what; days are None where the caller left them open.

    `gross_margin_rate` is that of campaigns without one in the catalog, None where the caller does not say.
    """

    campaign_ids: tuple[str, ...]
    policy: OfferPolicy
    objective: PolicyObjective
    first_day: date | None
    last_day: date | None
    minimum_overlap: float
    gross_margin_rate: float | None = None


@dataclass(frozen=True, kw_only=True)
class PolicyAnswer:
    """The evaluation, over the days [first_day, last_day]; `margins` are empty but for profit."""

    question: PolicyQuestion
    first_day: date
    last_day: date
    evaluation: PolicyEvaluation
    margins: tuple[PolicyMargin, ...] = ()


class PolicyOperations:
    """Judges policies of offers; few at once, because each reads many deliveries."""

    def __init__(self, database: Database, *, room: WaitingRoom, now: Callable[[], datetime]) -> None:
        self._database = database
        self._now = now
        self._room = room

    async def evaluate(self, question: PolicyQuestion) -> PolicyAnswer:
        """Return what a policy would have earned.

        Raises:
            NotFoundError: CAMPAIGN_UNKNOWN.
            InvalidArgumentError: the days are in the wrong order, or their outcomes are not complete; no user
                was ever in a segment of the policy.
            FailedPreconditionError: PROPENSITY_UNKNOWN, OVERLAP_MISSING, REVENUE_UNKNOWN.
            ResourceExhaustedError: TOO_MANY_WAITING.
        """
        async with self._room.turn():
            async with self._database.transaction(readonly=True) as connection:
                zone = await fetch_reporting_zone(connection)
                first_day, last_day = _resolve_days(question, self._now(), zone)
                margins = await _choose_margins(connection, question)
                if question.objective is not PolicyObjective.CONVERSIONS:
                    await _require_one_currency(connection, question.campaign_ids)
                await _require_segments(connection, question.policy)
                table = await _load(connection, question.campaign_ids, first_day, last_day, zone)
                warnings = []
                if len(table) > decisions.MOST_DECISIONS:
                    table = table.first(decisions.MOST_DECISIONS)
                    first_day = table.first_day
                    warnings.append(
                        f"Only the latest {len(table)} deliveries were looked at, those since {first_day};"
                        " the days asked for have earlier ones."
                    )
                numbers = sorted(set(table.segment_set.tolist()) - {NO_SEGMENTS})
                segments = await decisions.list_segment_sets(connection, numbers)
            evaluation = await in_thread(  # a turn is over when its arithmetic is
                evaluate_offer_policy,
                question.policy,
                table,
                segments,
                objective=question.objective,
                margins=as_column([each.rate for each in margins]),
                minimum_overlap=question.minimum_overlap,
                is_margin_assumed=np.array([each.source is MarginSource.ASSUMED for each in margins]),
            )
        if question.objective is not PolicyObjective.PROFIT:
            margins = ()
        warnings += [*warn_of_margins(margins), *_warn_of_unmet(question.policy, segments)]
        return PolicyAnswer(
            question=question,
            first_day=first_day,
            last_day=last_day,
            evaluation=replace(evaluation, warnings=(*warnings, *evaluation.warnings)),
            margins=margins,
        )


def _resolve_days(question: PolicyQuestion, now: datetime, zone: ZoneInfo) -> tuple[date, date]:
    """Return the days looked at: none whose deliveries may still have outcomes to come."""
    complete = (now - timedelta(hours=OUTCOME_HOURS)).astimezone(zone).date() - timedelta(days=1)
    last_day = min(question.last_day or complete, complete)
    first_day = question.first_day or last_day - timedelta(days=WINDOW_DAYS - 1)
    if question.last_day is not None and first_day > question.last_day:
        raise invalid_field("end_date", "must not lie before start_date", "RANGE_REVERSED")
    if first_day > last_day:
        raise invalid_field(
            "start_date",
            f"must lie before {complete + timedelta(days=1)}: outcomes are complete {OUTCOME_HOURS} hours"
            " after a delivery",
            "VALUE_OUT_OF_RANGE",
        )
    return first_day, last_day


async def _choose_margins(connection: Connection, question: PolicyQuestion) -> tuple[PolicyMargin, ...]:
    return tuple([await _choose_margin(connection, each, question) for each in question.campaign_ids])


async def _choose_margin(connection: Connection, campaign_id: str, question: PolicyQuestion) -> PolicyMargin:
    campaign = await require_campaign(connection, campaign_id)
    own, asked, terms = campaign.gross_margin_rate, question.gross_margin_rate, UNKNOWN_TERMS
    if own is None and asked is None and campaign.merchant_id is not None:
        terms = await fetch_merchant_terms(connection, campaign.merchant_id)
    return choose_margin(campaign_id, own=own, asked=asked, terms=terms)


async def _require_one_currency(connection: Connection, campaign_ids: Sequence[str]) -> None:
    currencies = await decisions.list_campaign_currencies(connection, campaign_ids)
    if len(currencies) > 1:
        raise invalid_field(
            "campaign_ids",
            f"must count in one currency for this objective, and not in {', '.join(currencies)}",
            "CURRENCY_REQUIRED",
        )


async def _require_segments(connection: Connection, policy: OfferPolicy) -> None:
    names = [rule.segment_name for rule in policy.rules if rule.segment_name is not None]
    unknown = await decisions.list_unknown_segments(connection, names)
    if unknown:
        raise invalid_field(
            f"rules[{names.index(unknown[0])}].segment_name",
            f"no user was ever in a segment {unknown[0]!r}",
            "VALUE_UNKNOWN",
        )


def _warn_of_unmet(policy: OfferPolicy, segments: Mapping[int, Sequence[str]]) -> list[str]:
    met = {name for names in segments.values() for name in names}
    return [
        f"No delivery looked at was to a user of the segment {rule.segment_name}; its rule decided nothing."
        for rule in policy.rules
        if rule.segment_name is not None and rule.segment_name not in met
    ]


async def _load(
    connection: Connection, campaign_ids: Sequence[str], first_day: date, last_day: date, zone: ZoneInfo
) -> DecisionTable:
    table = await decisions.list_logged_decisions(
        connection,
        campaign_ids,
        datetime.combine(first_day, time(), tzinfo=zone),
        datetime.combine(last_day + timedelta(days=1), time(), tzinfo=zone),
        timedelta(hours=OUTCOME_HOURS),
        zone.key,
        decisions.MOST_DECISIONS + 1,
    )
    if table is None:
        raise FailedPreconditionError(
            f"no delivery of these campaigns from {first_day} to {last_day} has a logged propensity; draw the"
            " offer with known probabilities and send them along as propensity",
            reason="PROPENSITY_UNKNOWN",
        )
    return table
