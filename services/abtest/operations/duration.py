"""How long a test would take on the campaigns' own traffic."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from services.abtest.domain.duration import DurationEstimate, DurationQuestion, estimate_duration
from services.abtest.domain.model import GroupCounts
from services.abtest.operations.campaigns import require_campaigns
from services.abtest.store import durations
from services.common.database import Database


@dataclass(frozen=True, kw_only=True)
class PlannedDuration:
    """An estimate with what it was made from: the days from `start` to before `end`, and who came on them."""

    question: DurationQuestion
    estimate: DurationEstimate
    reached: GroupCounts
    start: date
    end: date


class DurationOperations:
    """Estimates durations.

    Args:
        database: the service's own.
        now: the clock; aware times.
    """

    def __init__(self, database: Database, *, now: Callable[[], datetime]) -> None:
        self._database = database
        self._now = now

    async def estimate_duration(
        self, campaign_ids: tuple[str, ...], question: DurationQuestion, lookback_days: int
    ) -> PlannedDuration:
        """Return how long it takes until enough users of the campaigns have come.

        Raises:
            NotFoundError: the catalog lacks a campaign.
        """
        async with self._database.transaction(isolation="repeatable_read", readonly=True) as connection:
            await require_campaigns(
                connection, {f"campaign_ids[{index}]": each for index, each in enumerate(campaign_ids)}
            )
            end = await durations.fetch_reporting_day(connection, self._now())
            start = end - timedelta(days=lookback_days)
            traffic = await durations.fetch_traffic(connection, campaign_ids, start, end)
        return PlannedDuration(
            question=question,
            estimate=estimate_duration(question, traffic),
            reached=traffic.reached,
            start=start,
            end=end,
        )
