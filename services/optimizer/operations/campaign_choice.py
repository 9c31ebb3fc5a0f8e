"""Which campaigns to show to a user: loads the active ones and their rates, and ranks."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from services.common.database import Database
from services.optimizer.domain.affinity.answer import UserScores
from services.optimizer.domain.affinity.response import AffinityResponse
from services.optimizer.domain.recommendations.campaign_choice import (
    MOST_CANDIDATES,
    Choice,
    choose_candidates,
    nearest_merchants,
    rank_choices,
)
from services.optimizer.operations.campaign_rates import CampaignRates
from services.optimizer.operations.days import Days, fetch_reporting_day
from services.optimizer.operations.lookup import LiveModel
from services.optimizer.store import campaigns


class Affinities(Protocol):
    """What tells how near users are to merchants."""

    async def scores_of(self, user_id: str, merchant_ids: Sequence[int]) -> UserScores:
        """Return a user's scores of those of the merchants that are known of."""
        ...


@dataclass(frozen=True, kw_only=True)
class Choices:
    """The campaigns to show, how many active ones cannot be compared, and which version predicted.

    `response` is how affinities moved the order; None where nothing was compared.
    """

    choices: Sequence[Choice]
    left_out: int
    model_version: int | None
    response: AffinityResponse | None = None


class CampaignChoiceOperations:
    """The use case of showing campaigns over one database, its campaigns' rates and the affinities."""

    def __init__(
        self,
        database: Database,
        *,
        affinities: Affinities,
        rates: CampaignRates,
        live: LiveModel,
        now: Callable[[], datetime],
    ) -> None:
        self._database = database
        self._affinities = affinities
        self._rates = rates
        self._live = live
        self._now = now

    async def recommend_campaigns(self, user_id: str, limit: int) -> Choices:
        """Return the active campaigns to show to a user.

        Raises:
            NotFoundError: USER_UNKNOWN.
            FailedPreconditionError: MODEL_NOT_TRAINED, AFFINITY_NOT_FITTED.
            UnavailableError: the database or the model server does not answer.
        """
        now = self._now()
        async with self._database.transaction(readonly=True) as connection:
            model = await self._live.require(connection)
            days = Days(today=await fetch_reporting_day(connection, now))
            counts = await campaigns.count_active_campaigns(connection, now)
        merchants = sorted(merchant_id for merchant_id in counts if merchant_id is not None)
        scores = await self._affinities.scores_of(user_id, merchants)
        nearest = nearest_merchants(counts, scores.scores)
        async with self._database.transaction(readonly=True) as connection:
            active = await campaigns.list_active_campaigns(
                connection, now, *days.history, merchant_ids=nearest, most=MOST_CANDIDATES
            )
        candidates = choose_candidates(active, scores.scores)
        if not candidates:
            return Choices(choices=(), left_out=sum(counts.values()), model_version=None)
        rates = await self._rates.fetch([candidate.campaign for candidate in candidates], model, days.today)
        candidates = candidates[: len(rates)]
        return Choices(
            choices=rank_choices(candidates, rates, scores, limit=limit),
            left_out=max(sum(counts.values()) - len(candidates), 0),
            model_version=model.version,
            response=scores.response,
        )
