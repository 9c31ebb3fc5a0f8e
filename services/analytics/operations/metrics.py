"""Use cases that answer what campaigns did."""

from datetime import date, timedelta
from zoneinfo import ZoneInfo

from services.analytics.domain.metrics import CampaignMetrics, DateRange, measure_campaign
from services.analytics.domain.periods import check_range, day_starts_at
from services.analytics.operations.ranges import close_range, fetch_bounds, unknown_campaign
from services.analytics.store import metrics as store
from services.common.database import Database

_DAY = timedelta(days=1)


class MetricsOperations:
    """Answers from rollups; every answer comes from one snapshot of the database.

    Args:
        database: where the rollups live.
        zone: the reporting time zone.
    """

    def __init__(self, database: Database, *, zone: ZoneInfo) -> None:
        self._database = database
        self._zone = zone

    async def get_campaign_metrics(
        self, campaign_id: str, start: date | None, end: date | None
    ) -> CampaignMetrics:
        """Return what a campaign did over its life, or over days (an open end is that of its events).

        Raises:
            NotFoundError: CAMPAIGN_UNKNOWN.
            InvalidArgumentError: the range is reversed or absurd.
        """
        check_range(start, end)
        if start is None and end is None:
            return await self._measure_life(campaign_id)
        async with self._database.transaction(isolation="repeatable_read", readonly=True) as connection:
            bounds = await fetch_bounds(connection, campaign_id)
            days = close_range(bounds, start, end)
            if days.end < days.start:  # the campaign's events lie all on the other side of the end given
                known = start or days.end
                days = DateRange(start=known, end=known)
            counts, moments = await store.fetch_range_user_moments(
                connection,
                campaign_id,
                day_starts_at(days.start, self._zone),
                day_starts_at(days.end + _DAY, self._zone),
            )
        return measure_campaign(
            campaign_id=campaign_id,
            currency_code=bounds.currency_code,
            date_range=days,
            counts=counts,
            moments=moments,
        )

    async def _measure_life(self, campaign_id: str) -> CampaignMetrics:
        async with self._database.acquire() as connection:
            life = await store.fetch_campaign_life(connection, campaign_id)
        if life is None:
            raise unknown_campaign(campaign_id)
        return measure_campaign(
            campaign_id=campaign_id,
            currency_code=life.currency_code,
            date_range=None,
            counts=life.counts,
            moments=life.moments,
        )
