"""Days, weeks, months and hours of the reporting time zone, and trends without gaps."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Literal, get_args
from zoneinfo import ZoneInfo

from services.analytics.domain.metrics import Counts, DateRange
from services.common.errors import invalid_field

Interval = Literal["hourly", "daily", "weekly", "monthly"]
INTERVALS: tuple[Interval, ...] = get_args(Interval)
MAXIMUM_DAYS = 3660
MAXIMUM_HOURLY_DAYS = 366
EARLIEST_DAY = date(1970, 1, 1)
LATEST_DAY = date(2199, 12, 31)
_DAY = timedelta(days=1)
_HOUR = timedelta(hours=1)


@dataclass(frozen=True, kw_only=True)
class TrendPoint:
    """The counts of one period, named as the contract names it."""

    period: str
    counts: Counts


def parse_interval(text: str) -> Interval:
    """Return the interval of that name, `daily` for the empty one; refused by field otherwise."""
    if not text:
        return "daily"
    for interval in INTERVALS:
        if interval == text:
            return interval
    raise invalid_field("interval", f"must be one of {', '.join(INTERVALS)}", "VALUE_UNKNOWN")


def check_range(start: date | None, end: date | None, *, maximum_days: int = MAXIMUM_DAYS) -> None:
    """Refuse a range that is reversed, absurd or longer than `maximum_days`; either end may be open."""
    for field, day in (("start_date", start), ("end_date", end)):
        if day is not None and not EARLIEST_DAY <= day <= LATEST_DAY:
            raise invalid_field(field, f"must be from {EARLIEST_DAY} to {LATEST_DAY}", "VALUE_OUT_OF_RANGE")
    if start is None or end is None:
        return
    if end < start:
        raise invalid_field("end_date", "must not be before start_date", "RANGE_REVERSED")
    if (end - start).days >= maximum_days:
        raise invalid_field("end_date", f"must be within {maximum_days} days", "VALUE_OUT_OF_RANGE")


def day_starts_at(day: date, zone: ZoneInfo) -> datetime:
    """Return the first moment of a day in UTC; where midnight is skipped, the moment after the gap."""
    return datetime.combine(day, time.min, tzinfo=zone).astimezone(UTC)


def day_of(moment: datetime, zone: ZoneInfo) -> date:
    """Return the day of the zone in which a moment lies."""
    return moment.astimezone(zone).date()


def period_before(period: DateRange) -> DateRange:
    """Return the range of the same number of days that ends on the day before."""
    days = (period.end - period.start).days + 1
    return DateRange(start=period.start - days * _DAY, end=period.start - _DAY)


def same_time_before(moment: datetime, period: DateRange, zone: ZoneInfo) -> datetime | None:
    """Return the moment as far into the period before as `moment` is into this one, on the clock on the wall.

    None where `moment` does not lie in the period's last day: then whole days are compared with whole days.
    """
    if day_of(moment, zone) != period.end:
        return None
    time_of_day = moment.astimezone(zone).time()
    return datetime.combine(period_before(period).end, time_of_day, tzinfo=zone).astimezone(UTC)


def period_start(day: date, interval: Interval) -> date:
    """Return the first day of the period of a day: itself, its Monday, or the first of its month."""
    if interval == "weekly":
        return day - day.weekday() * _DAY
    return day.replace(day=1) if interval == "monthly" else day


def fill_days(counts: Mapping[date, Counts], period: DateRange, interval: Interval) -> Sequence[TrendPoint]:
    """Return one point per day, week or month that the range touches; only its days are counted."""
    points: dict[date, Counts] = {}
    day = period.start
    while day <= period.end:
        start = period_start(day, interval)
        points[start] = points.get(start, Counts()) + counts.get(day, Counts())
        day += _DAY
    return [TrendPoint(period=day.isoformat(), counts=sums) for day, sums in points.items()]


def fill_hours(counts: Mapping[datetime, Counts], period: DateRange, zone: ZoneInfo) -> Sequence[TrendPoint]:
    """Return one point per hour of the range's days in the zone, 23 or 25 of them where the clock changes.

    Hours go by the clock on the wall, so that where the clock changes by half an hour a point may be half as
    long; `counts` is keyed by the beginning of such hours, in UTC.
    """
    moment, end = day_starts_at(period.start, zone), day_starts_at(period.end + _DAY, zone)
    hours = {hour: sums for hour, sums in counts.items() if moment <= hour < end}
    while moment < end:
        hours.setdefault(moment, Counts())
        moment += _HOUR
    return [
        TrendPoint(period=hour.astimezone(zone).isoformat(timespec="seconds"), counts=hours[hour])
        for hour in sorted(hours)
    ]
