"""Use case that answers what a campaign did period by period."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

from services.analytics.domain.metrics import DateRange
from services.analytics.domain.periods import (
    MAXIMUM_DAYS,
    MAXIMUM_HOURLY_DAYS,
    Interval,
    check_range,
    day_of,
    day_starts_at,
)
from services.analytics.domain.trends import (
    TrendPoint,
    Unusual,
    fill_days,
    fill_hours,
    find_unusual_points,
)
from services.analytics.operations.ranges import close_range, fetch_bounds
from services.analytics.store import trends as store
from services.common.database import Connection, Database

MAXIMUM_POINTS_AT_ONCE = 300
"""More points are worked out beside the event loop, which they would hold up."""
_DAY = timedelta(days=1)


@dataclass(frozen=True, kw_only=True)
class Trend:
    """A campaign's counts by period, in its currency (None before its first event), and what is unusual."""

    campaign_id: str
    currency_code: str | None
    interval: Interval
    points: Sequence[TrendPoint]
    unusual: Unusual


class TrendOperations:
    """Answers from rollups; the counts of an answer come from one statement, so from one snapshot.

    Args:
        database: where the rollups live.
        zone: the reporting time zone.
        clock: the present, aware.
    """

    def __init__(self, database: Database, *, zone: ZoneInfo, clock: Callable[[], datetime]) -> None:
        self._database = database
        self._zone = zone
        self._clock = clock

    async def get_campaign_trend(
        self, campaign_id: str, interval: Interval, start: date | None, end: date | None
    ) -> Trend:
        """Return a campaign's counts by period, without gaps.

        An open end is that of the campaign's events, or as far from the other end as the interval allows.

        Raises:
            NotFoundError: CAMPAIGN_UNKNOWN.
            InvalidArgumentError: the range is reversed, absurd, or too long for the interval.
        """
        check_range(start, end)
        async with self._database.acquire() as connection:
            bounds = await fetch_bounds(connection, campaign_id)
            points: Sequence[TrendPoint] = ()
            if bounds.first_day is not None or (start is not None and end is not None):
                maximum = MAXIMUM_HOURLY_DAYS if interval == "hourly" else MAXIMUM_DAYS
                check_range(start, end, maximum_days=maximum)
                days = _shorten(close_range(bounds, start, end), maximum, keep_start=start is not None)
                points = await self._fill(connection, campaign_id, interval, days)
        if len(points) > MAXIMUM_POINTS_AT_ONCE:
            unusual = await asyncio.to_thread(find_unusual_points, points, interval)
        else:
            unusual = find_unusual_points(points, interval)
        return Trend(
            campaign_id=campaign_id,
            currency_code=bounds.currency_code,
            interval=interval,
            points=points,
            unusual=unusual,
        )

    async def _fill(
        self, connection: Connection, campaign_id: str, interval: Interval, days: DateRange
    ) -> Sequence[TrendPoint]:
        if days.end < days.start:
            return ()
        now = self._clock()
        if interval != "hourly":
            counts = await store.list_campaign_periods(connection, campaign_id, days, interval)
            return fill_days(counts, days, interval, today=day_of(now, self._zone))
        start_at, end_at = day_starts_at(days.start, self._zone), day_starts_at(days.end + _DAY, self._zone)
        hours = await store.list_campaign_hours(connection, campaign_id, start_at, end_at)
        return await asyncio.to_thread(fill_hours, hours, days, self._zone, now=now)


def _shorten(days: DateRange, maximum_days: int, *, keep_start: bool) -> DateRange:
    """Return at most `maximum_days` of a range: the first where its start was asked for, else the last."""
    if (days.end - days.start).days < maximum_days:
        return days
    if keep_start:
        return replace(days, end=days.start + (maximum_days - 1) * _DAY)
    return replace(days, start=days.end - (maximum_days - 1) * _DAY)
