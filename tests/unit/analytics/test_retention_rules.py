"""How far back raw events are kept, and what is said of days before."""

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from services.analytics.domain.retention import (
    check_unsealed,
    first_open_moment,
    group_hours,
    is_sealed,
    last_expired_day,
    later_day,
)
from services.common.errors import FailedPreconditionError

HAVANA = ZoneInfo("America/Havana")  # midnight comes twice on 2025-11-02 and is skipped on 2026-03-08
NOON = datetime(2026, 3, 31, 12, tzinfo=UTC)


def test_today_and_the_days_before_it_are_kept() -> None:
    assert last_expired_day(NOON, ZoneInfo("UTC"), 1) == date(2026, 3, 29)
    assert last_expired_day(NOON, ZoneInfo("Pacific/Auckland"), 1) == date(2026, 3, 30)
    assert last_expired_day(NOON, ZoneInfo("UTC"), None) is None


@pytest.mark.parametrize(
    ("closed", "expected"),
    [
        (date(2025, 11, 1), datetime(2025, 11, 2, 4, tzinfo=UTC)),
        (date(2026, 3, 7), datetime(2026, 3, 8, 5, tzinfo=UTC)),
        (date(2026, 3, 8), datetime(2026, 3, 9, 4, tzinfo=UTC)),
    ],
)
def test_a_day_ends_where_the_next_begins_on_the_wall(closed: date, expected: datetime) -> None:
    """The instants from the IANA database: the first of two midnights, and the end of a gap."""
    opening = first_open_moment(closed, HAVANA)
    assert opening == expected
    assert expected.astimezone(HAVANA).date() == closed + timedelta(days=1)
    assert (expected - timedelta(microseconds=1)).astimezone(HAVANA).date() == closed


def test_nothing_closed_is_open_from_the_beginning() -> None:
    assert first_open_moment(None, HAVANA) is None


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        (None, None, None),
        (date(2026, 1, 1), None, date(2026, 1, 1)),
        (None, date(2026, 1, 1), date(2026, 1, 1)),
        (date(2026, 1, 1), date(2025, 1, 1), date(2026, 1, 1)),
    ],
)
def test_the_later_day_counts(one: date | None, other: date | None, expected: date | None) -> None:
    assert later_day(one, other) == expected


def test_what_needs_sealed_events_is_refused_by_field() -> None:
    sealed = date(2026, 3, 23)
    assert is_sealed(sealed, sealed)
    assert not is_sealed(date(2026, 3, 24), sealed)
    assert not is_sealed(sealed, None)
    check_unsealed(date(2026, 3, 24), sealed, "start_date")
    check_unsealed(sealed, None, "start_date")
    with pytest.raises(FailedPreconditionError, match="through 2026-03-23") as refused:
        check_unsealed(sealed, sealed, "start_date")
    error = refused.value
    assert (error.reason, error.metadata) == ("EVENTS_SEALED", {"sealed_through": "2026-03-23"})
    assert [(v.field, v.reason) for v in error.violations] == [("start_date", "EVENTS_SEALED")]


def test_hours_are_taken_together_while_they_are_few() -> None:
    hours = [(NOON + timedelta(hours=n), events) for n, events in enumerate([3, 4, 3, 12, 1, 9, 1])]
    assert group_hours(hours, 10) == [hours[n][0] for n in (0, 3, 4, 6)]
    assert group_hours([], 10) == []
