"""Use case that answers what a campaign did by delivery channel."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from zoneinfo import ZoneInfo

from services.analytics.domain.channels import (
    ChannelPerformance,
    ChannelTotals,
    count_channel_events,
    measure_channels,
)
from services.analytics.domain.metrics import DateRange, IntervalMethod, UserMoments
from services.analytics.domain.periods import check_range, day_starts_at
from services.analytics.domain.retention import is_sealed
from services.analytics.operations.ranges import close_range, fetch_bounds, unknown_campaign
from services.analytics.store import channels as store
from services.analytics.store import metrics as metrics_store
from services.analytics.store import retention as retention_store
from services.common.database import Connection, Database

MAXIMUM_EXACT_EVENTS = 20_000
"""Up to this many events of a range are read to add up its users by channel: about 0.02 seconds."""
_DAY = timedelta(days=1)


@dataclass(frozen=True, kw_only=True)
class CampaignChannels:
    """A campaign's channels, the one that is not known first; `date_range` None is the whole life."""

    campaign_id: str
    currency_code: str | None
    date_range: DateRange | None
    channels: Sequence[ChannelPerformance]
    interval_method: IntervalMethod


class ChannelOperations:
    """Answers from rollups; every answer comes from one snapshot of the database.

    Args:
        database: where the rollups live.
        zone: the reporting time zone.
    """

    def __init__(self, database: Database, *, zone: ZoneInfo) -> None:
        self._database = database
        self._zone = zone

    async def get_campaign_channels(
        self, campaign_id: str, start: date | None, end: date | None
    ) -> CampaignChannels:
        """Return a campaign by channel, over its life or over days (an open end is that of its events).

        Raises:
            NotFoundError: CAMPAIGN_UNKNOWN.
            InvalidArgumentError: the range is reversed or absurd.
        """
        check_range(start, end)
        async with self._database.transaction(isolation="repeatable_read", readonly=True) as connection:
            life = await metrics_store.fetch_campaign_life(connection, campaign_id)
            if life is None:
                raise unknown_campaign(campaign_id)
            bounds = await fetch_bounds(connection, campaign_id)
            days: DateRange | None = None
            if start is not None or end is not None:
                days = close_range(bounds, start, end)
                if days.end < days.start:  # the campaign's events lie all on the other side of the end given
                    days = DateRange(start=start or days.end, end=start or days.end)
            channels = await store.list_campaign_channels(
                connection, campaign_id, days.start if days else None, days.end if days else None
            )
            exact = await self._add_up(connection, campaign_id, channels, _overlap(bounds, days))
        return CampaignChannels(
            campaign_id=campaign_id,
            currency_code=life.currency_code,
            date_range=days,
            channels=measure_channels(channels, life.totals) if exact is None else measure_channels(exact),
            interval_method="design_effect" if exact is None else "user_delta_method",
        )

    async def _add_up(
        self,
        connection: Connection,
        campaign_id: str,
        channels: Sequence[ChannelTotals],
        days: DateRange | None,
    ) -> Sequence[ChannelTotals] | None:
        """Return the channels with the sums over their users; None where events are sealed or too many."""
        if days is None:
            return channels
        sealed_through = await retention_store.fetch_sealed_through(connection)
        if count_channel_events(channels) > MAXIMUM_EXACT_EVENTS or is_sealed(days.start, sealed_through):
            return None
        moments = await store.list_channel_user_moments(
            connection,
            campaign_id,
            day_starts_at(days.start, self._zone),
            day_starts_at(days.end + _DAY, self._zone),
        )
        return [
            replace(c, totals=replace(c.totals, moments=moments.get(c.channel, UserMoments())))
            for c in channels
        ]


def _overlap(bounds: metrics_store.CampaignDays, days: DateRange | None) -> DateRange | None:
    """Return the days asked for (None: all) that can have events; None where there are none."""
    if bounds.first_day is None or bounds.last_day is None:
        return None
    if days is None:
        return DateRange(start=bounds.first_day, end=bounds.last_day)
    start, end = max(days.start, bounds.first_day), min(days.end, bounds.last_day)
    return DateRange(start=start, end=end) if start <= end else None
