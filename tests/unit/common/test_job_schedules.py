"""When a job runs next; expected moments are from the zones' published rules (IANA tzdata)."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from services.common.jobs import DailyAt, Every, retry_after

NEW_YORK = ZoneInfo("America/New_York")


def moment(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


@pytest.mark.parametrize(
    ("now", "due"),
    [
        ("2026-01-10T07:29:00Z", "2026-01-10T07:30:00Z"),
        ("2026-01-10T07:30:00Z", "2026-01-11T07:30:00Z"),
        ("2026-01-10T23:00:00Z", "2026-01-11T07:30:00Z"),
        ("2026-07-10T03:00:00Z", "2026-07-10T06:30:00Z"),
        # 2026-03-08 has no 02:30 in New York: when it would have been, 03:30 of the new time.
        ("2026-03-08T05:00:00Z", "2026-03-08T07:30:00Z"),
        ("2026-03-08T07:30:00Z", "2026-03-09T06:30:00Z"),
        # 2026-11-01 is an hour longer, but 02:30 comes once (01:30 twice).
        ("2026-11-01T05:00:00Z", "2026-11-01T07:30:00Z"),
    ],
)
def test_a_daily_job_runs_once_a_day_on_the_wall(now: str, due: str) -> None:
    schedule = DailyAt(hour=2, minute=30, zone=NEW_YORK)
    assert schedule.next_after(moment(now)) == moment(due)
    assert schedule.first_after(moment(now)) == moment(due)


def test_an_hour_that_comes_twice_has_one_run() -> None:
    schedule = DailyAt(hour=1, minute=30, zone=NEW_YORK)
    first = schedule.next_after(moment("2026-11-01T05:00:00Z"))
    assert first == moment("2026-11-01T05:30:00Z")
    assert schedule.next_after(first) == moment("2026-11-02T06:30:00Z")


def test_a_regular_job_runs_first_at_once() -> None:
    now = moment("2026-01-10T07:29:00Z")
    schedule = Every(seconds=90)
    assert schedule.first_after(now) == now
    assert schedule.next_after(now) == now + timedelta(seconds=90)


def test_schedules_read_well() -> None:
    assert str(Every(seconds=60)) == "every 60 s"
    assert str(DailyAt(hour=3, zone=NEW_YORK)) == "daily at 03:00 America/New_York"


def test_waits_after_failures_grow_to_an_hour() -> None:
    waits = [retry_after(failures).total_seconds() for failures in (1, 2, 3, 9, 10, 1000)]
    assert waits == [10, 20, 40, 2560, 3600, 3600]
