"""Days, weeks and months of the reporting time zone."""

from datetime import UTC, date, datetime, time, timedelta
from typing import Literal, get_args
from zoneinfo import ZoneInfo

from services.analytics.domain.metrics import DateRange
from services.common.errors import FailedPreconditionError, invalid_field

Interval = Literal["hourly", "daily", "weekly", "monthly"]
INTERVALS: tuple[Interval, ...] = get_args(Interval)
MAXIMUM_DAYS = 3660
MAXIMUM_HOURLY_DAYS = 366
EARLIEST_DAY = date(1970, 1, 1)
LATEST_DAY = date(2199, 12, 31)
_DAY = timedelta(days=1)


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


def check_counted_zone(counted: str | None, zone: ZoneInfo) -> None:
    """Refuse to keep what was counted in the days of another zone (None: none is fixed yet).

    Raises:
        FailedPreconditionError: TIME_ZONE_CONFLICT, the zone was changed while this process ran.
    """
    if counted not in {None, zone.key}:
        raise FailedPreconditionError(
            f"days are counted in {counted} now, and this process runs in {zone.key}; restart it",
            reason="TIME_ZONE_CONFLICT",
            metadata={"fixed": str(counted), "asked": zone.key},
        )
