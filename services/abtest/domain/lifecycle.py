"""Where a test can go from where it stands."""

from dataclasses import replace
from datetime import datetime
from enum import StrEnum

from services.abtest.domain.model import ABTest, Status
from services.common.errors import FailedPreconditionError, FieldViolation, invalid_field


class Action(StrEnum):
    """What is done to a test, as the audit log names it."""

    CREATE = "create"
    START = "start"
    SCHEDULE = "schedule"
    PAUSE = "pause"
    RESUME = "resume"
    END = "end"
    ARCHIVE = "archive"
    UPDATE = "update"


BEFORE_START = frozenset({Status.DRAFT, Status.SCHEDULED})
OPEN = frozenset({Status.RUNNING, Status.PAUSED})
_REMEDIES = {
    Status.DRAFT: "start it, or archive it",
    Status.SCHEDULED: "start it now, wait for its start_time, or archive it",
    Status.RUNNING: "pause it, or end it",
    Status.PAUSED: "resume it, or end it",
    Status.ENDED: "archive it, or create another test",
    Status.ARCHIVED: "create another test",
}


def start_test(test: ABTest, now: datetime) -> ABTest:
    """Return a draft or scheduled test as it runs from now on; a draft waits for a start time to come.

    Raises:
        FailedPreconditionError: it has started.
    """
    _require(test, Action.START, BEFORE_START)
    waits = test.status is Status.DRAFT and test.starts_at is not None and test.starts_at > now
    if waits:
        return replace(test, status=Status.SCHEDULED)
    return replace(test, status=Status.RUNNING, started_at=now)


def pause_test(test: ABTest) -> ABTest:
    """Return a running test paused."""
    _require(test, Action.PAUSE, {Status.RUNNING})
    return replace(test, status=Status.PAUSED)


def resume_test(test: ABTest) -> ABTest:
    """Return a paused test running."""
    _require(test, Action.RESUME, {Status.PAUSED})
    return replace(test, status=Status.RUNNING)


def end_test(test: ABTest, now: datetime) -> ABTest:
    """Return an open test ended: now, or when its time was over, if that was before."""
    _require(test, Action.END, OPEN)
    ended_at = now if test.ends_at is None else min(now, test.ends_at)
    return replace(test, status=Status.ENDED, ended_at=ended_at)


def archive_test(test: ABTest) -> ABTest:
    """Return a test that is over, or never began, archived."""
    _require(test, Action.ARCHIVE, BEFORE_START | {Status.ENDED})
    return replace(test, status=Status.ARCHIVED)


def check_times(test: ABTest, now: datetime) -> None:
    """Raise InvalidArgumentError where a test that is not over would end before it starts, or by now."""
    if test.ends_at is None:
        return
    if test.started_at is None and test.starts_at is not None and test.ends_at <= test.starts_at:
        raise invalid_field("end_time", "must be after start_time", "RANGE_REVERSED")
    if test.ends_at <= now:
        raise invalid_field("end_time", "must be later than now", "TIME_OUT_OF_RANGE")


def require_started(test: ABTest) -> None:
    """Raise where a test has never begun, so that there is nothing to see."""
    if test.started_at is None:
        raise _conflict(test, "has shown nothing to anybody")


def require_not_over(test: ABTest) -> None:
    """Raise where a test is over, so that nothing of it may change."""
    _require(test, Action.UPDATE, BEFORE_START | OPEN)


def _require(test: ABTest, action: Action, allowed: frozenset[Status] | set[Status]) -> None:
    if test.status not in allowed:
        raise _conflict(test, f"cannot be taken through `{action}`")


def _conflict(test: ABTest, what: str) -> FailedPreconditionError:
    status = test.status.label
    return FailedPreconditionError(
        f"test_id: the test is {status} and {what}; {_REMEDIES[test.status]}",
        reason="TEST_STATUS_CONFLICT",
        violations=[FieldViolation(field="test_id", description=f"the test is {status}")],
        metadata={"test_id": test.test_id, "status": status},
    )
