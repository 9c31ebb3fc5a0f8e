"""Days, hours and periods of a zone, clock changes included."""

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from services.analytics.domain.metrics import DateRange
from services.analytics.domain.periods import (
    check_range,
    day_of,
    day_starts_at,
    parse_interval,
    period_before,
    same_time_before,
)
from services.common.errors import InvalidArgumentError

NEW_YORK = ZoneInfo("America/New_York")


def days(start: str, end: str) -> DateRange:
    return DateRange(start=date.fromisoformat(start), end=date.fromisoformat(end))


def test_a_day_whose_midnight_is_skipped_begins_after_the_gap() -> None:
    """In Beirut the clock went from 00:00 to 01:00 on 2022-03-27."""
    zone = ZoneInfo("Asia/Beirut")
    start = day_starts_at(date(2022, 3, 27), zone)
    assert start.astimezone(zone).isoformat() == "2022-03-27T01:00:00+03:00"


def test_a_moment_lies_in_its_zones_day() -> None:
    assert day_of(datetime(2017, 7, 5, 3, 59, tzinfo=UTC), NEW_YORK) == date(2017, 7, 4)


@pytest.mark.parametrize(
    ("moment", "days", "before"),
    [
        (datetime(2026, 3, 31, 9, tzinfo=UTC), 1, datetime(2026, 3, 30, 9, tzinfo=UTC)),
        (datetime(2026, 3, 31, 9, tzinfo=UTC), 30, datetime(2026, 3, 1, 9, tzinfo=UTC)),
        (datetime(2026, 3, 30, 9, tzinfo=UTC), 1, None),
    ],
)
def test_a_moment_of_the_last_day_has_its_like_in_the_range_before(
    moment: datetime, days: int, before: datetime | None
) -> None:
    end = date(2026, 3, 31)
    period = DateRange(start=end - timedelta(days=days - 1), end=end)
    assert same_time_before(moment, period, ZoneInfo("UTC")) == before


def test_the_same_time_is_that_of_the_clock_on_the_wall() -> None:
    monday = DateRange(start=date(2026, 3, 9), end=date(2026, 3, 9))
    nine_in_summer = datetime(2026, 3, 9, 13, tzinfo=UTC)
    nine_before_spring_forward = datetime(2026, 3, 8, 13, tzinfo=UTC)
    zone = ZoneInfo("America/New_York")
    assert same_time_before(nine_in_summer, monday, zone) == nine_before_spring_forward
    sunday = DateRange(start=date(2026, 3, 8), end=date(2026, 3, 8))
    assert same_time_before(nine_before_spring_forward, sunday, zone) == datetime(2026, 3, 7, 14, tzinfo=UTC)


def test_the_range_before_has_as_many_days() -> None:
    assert period_before(days("2026-03-01", "2026-03-31")) == days("2026-01-29", "2026-02-28")
    assert period_before(days("2026-03-01", "2026-03-01")) == days("2026-02-28", "2026-02-28")


@pytest.mark.parametrize(
    ("start", "end", "field", "reason"),
    [
        (date(2026, 3, 2), date(2026, 3, 1), "end_date", "RANGE_REVERSED"),
        (date(1969, 1, 1), None, "start_date", "VALUE_OUT_OF_RANGE"),
        (None, date(9000, 1, 1), "end_date", "VALUE_OUT_OF_RANGE"),
        (date(2000, 1, 1), date(2020, 1, 1), "end_date", "VALUE_OUT_OF_RANGE"),
    ],
)
def test_an_absurd_range_is_refused(start: date | None, end: date | None, field: str, reason: str) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        check_range(start, end)
    assert [(v.field, v.reason) for v in caught.value.violations] == [(field, reason)]


def test_a_range_of_exactly_the_longest_length_is_taken() -> None:
    check_range(date(2026, 1, 1), date(2026, 1, 10), maximum_days=10)
    with pytest.raises(InvalidArgumentError):
        check_range(date(2026, 1, 1), date(2026, 1, 11), maximum_days=10)


def test_intervals_have_names() -> None:
    assert parse_interval("") == "daily"
    assert parse_interval("hourly") == "hourly"
    with pytest.raises(InvalidArgumentError, match="hourly, daily, weekly, monthly"):
        parse_interval("fortnightly")
