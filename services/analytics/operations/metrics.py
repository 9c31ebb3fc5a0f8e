"""Use cases that answer what campaigns did."""

from dataclasses import replace
from datetime import date, timedelta
from zoneinfo import ZoneInfo

from services.analytics.domain.metrics import CampaignMetrics, CampaignTotals, DateRange, measure_campaign
from services.analytics.domain.periods import check_range, day_starts_at
from services.analytics.domain.retention import is_sealed
from services.analytics.domain.roi import CampaignRoi, measure_roi
from services.analytics.operations.ranges import close_range, fetch_bounds, unknown_campaign
from services.analytics.store import metrics as store
from services.common.database import Connection, Database

MAXIMUM_EXACT_EVENTS = 500_000
"""Up to this many events of a range are read to add up its users: about 0.15 seconds (55,000: 0.016)."""
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
            life = await self._fetch_life(campaign_id)
            return measure_campaign(
                campaign_id=campaign_id, currency_code=life.currency_code, date_range=None, totals=life.totals
            )
        async with self._database.transaction(isolation="repeatable_read", readonly=True) as connection:
            bounds = await fetch_bounds(connection, campaign_id)
            days = close_range(bounds, start, end)
            if days.end < days.start:  # the campaign's events lie all on the other side of the end given
                known = start or days.end
                days = DateRange(start=known, end=known)
            totals, life_totals = await self._add_up(connection, campaign_id, bounds, days)
        return measure_campaign(
            campaign_id=campaign_id,
            currency_code=bounds.currency_code,
            date_range=days,
            totals=totals,
            life=life_totals,
        )

    async def get_campaign_roi(self, campaign_id: str) -> CampaignRoi:
        """Return what a campaign cost and brought over its life; NotFoundError (CAMPAIGN_UNKNOWN)."""
        life = await self._fetch_life(campaign_id)
        return measure_roi(campaign_id=campaign_id, currency_code=life.currency_code, totals=life.totals)

    async def _fetch_life(self, campaign_id: str) -> store.CampaignLife:
        async with self._database.acquire() as connection:
            life = await store.fetch_campaign_life(connection, campaign_id)
        if life is None:
            raise unknown_campaign(campaign_id)
        return life

    async def _add_up(
        self, connection: Connection, campaign_id: str, bounds: store.CampaignDays, days: DateRange
    ) -> tuple[CampaignTotals, CampaignTotals | None]:
        """Return a range's totals, and the life whose design effect its intervals need (None: they do not).

        A range that holds every day of the campaign is its life. Otherwise the users of a range are added up
        from its events, unless those are sealed or too many.
        """
        if bounds.first_day is None or bounds.last_day is None:
            return CampaignTotals(), None
        if days.start <= bounds.first_day and bounds.last_day <= days.end:
            return await self._fetch_totals(connection, campaign_id), None
        window = await store.fetch_window(connection, campaign_id, days.start, days.end)
        counts, signals = window.totals.counts, window.totals.signals
        events = counts.impressions + counts.views + counts.clicks + counts.conversions
        events += signals.notification_deliveries + signals.notification_opens
        events += signals.geofence_entries + signals.unsubscribes
        is_kept = not is_sealed(max(days.start, bounds.first_day), window.sealed_through)
        if events > MAXIMUM_EXACT_EVENTS or not is_kept:
            return window.totals, await self._fetch_totals(connection, campaign_id)
        moments = await store.fetch_range_user_moments(
            connection,
            campaign_id,
            day_starts_at(days.start, self._zone),
            day_starts_at(days.end + _DAY, self._zone),
        )
        return replace(window.totals, moments=moments), None

    async def _fetch_totals(self, connection: Connection, campaign_id: str) -> CampaignTotals:
        life = await store.fetch_campaign_life(connection, campaign_id)
        return CampaignTotals() if life is None else life.totals
