"""Where a test can go from where it stands: every step from every status."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from services.abtest.domain.lifecycle import (
    archive_test,
    check_times,
    end_test,
    pause_test,
    require_not_over,
    require_started,
    resume_test,
    start_test,
)
from services.abtest.domain.model import ABTest, Status, WeightEpoch
from services.common.errors import FailedPreconditionError, InvalidArgumentError
from tests.abtest_factories import design

NOW = datetime(2026, 5, 4, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
STARTED = (Status.RUNNING, Status.PAUSED, Status.ENDED)


def a_test(status: Status, *, starts_at: datetime | None = None, ends_at: datetime | None = None) -> ABTest:
    return ABTest(
        test_id="t",
        design=design(),
        status=status,
        epoch=WeightEpoch(number=1, weights=(0.5, 0.5), coverage=1.0),
        created_at=NOW - HOUR,
        ended_at=NOW - HOUR / 2 if status is Status.ENDED else None,
        starts_at=starts_at,
        started_at=NOW - HOUR if status in STARTED else None,
        ends_at=ends_at,
    )


STEPS: dict[str, tuple[Callable[[ABTest], ABTest], dict[Status, Status]]] = {
    "start": (
        lambda test: start_test(test, NOW),
        {Status.DRAFT: Status.RUNNING, Status.SCHEDULED: Status.RUNNING},
    ),
    "pause": (pause_test, {Status.RUNNING: Status.PAUSED}),
    "resume": (resume_test, {Status.PAUSED: Status.RUNNING}),
    "end": (
        lambda test: end_test(test, NOW),
        {Status.RUNNING: Status.ENDED, Status.PAUSED: Status.ENDED},
    ),
    "archive": (
        archive_test,
        {
            Status.DRAFT: Status.ARCHIVED,
            Status.SCHEDULED: Status.ARCHIVED,
            Status.ENDED: Status.ARCHIVED,
        },
    ),
}


@pytest.mark.parametrize("status", list(Status))
@pytest.mark.parametrize("name", STEPS)
def test_a_step_is_taken_or_refused_with_the_status(name: str, status: Status) -> None:
    step, allowed = STEPS[name]
    if status in allowed:
        assert step(a_test(status)).status is allowed[status]
        return
    with pytest.raises(FailedPreconditionError) as refused:
        step(a_test(status))
    assert refused.value.reason == "TEST_STATUS_CONFLICT"
    assert refused.value.metadata["status"] == status.label
    assert [violation.field for violation in refused.value.violations] == ["test_id"]


def test_a_draft_whose_start_is_to_come_is_scheduled() -> None:
    scheduled = start_test(a_test(Status.DRAFT, starts_at=NOW + HOUR), NOW)
    assert (scheduled.status, scheduled.started_at) == (Status.SCHEDULED, None)
    started = start_test(scheduled, NOW)
    assert (started.status, started.started_at) == (Status.RUNNING, NOW)


def test_a_draft_whose_start_has_gone_by_starts_now() -> None:
    started = start_test(a_test(Status.DRAFT, starts_at=NOW - HOUR), NOW)
    assert (started.status, started.started_at) == (Status.RUNNING, NOW)


@pytest.mark.parametrize(
    ("ends_at", "ended_at"), [(None, NOW), (NOW + HOUR, NOW), (NOW - HOUR / 4, NOW - HOUR / 4)]
)
def test_a_test_ends_when_its_time_was_over(ends_at: datetime | None, ended_at: datetime) -> None:
    assert end_test(a_test(Status.RUNNING, ends_at=ends_at), NOW).ended_at == ended_at


@pytest.mark.parametrize(
    ("status", "starts_at", "ends_at", "reason"),
    [
        (Status.DRAFT, NOW + HOUR, NOW + HOUR, "RANGE_REVERSED"),
        (Status.SCHEDULED, NOW + 2 * HOUR, NOW + HOUR, "RANGE_REVERSED"),
        (Status.DRAFT, None, NOW, "TIME_OUT_OF_RANGE"),
        (Status.RUNNING, None, NOW - HOUR, "TIME_OUT_OF_RANGE"),
    ],
)
def test_an_end_before_the_start_or_now_is_refused(
    status: Status, starts_at: datetime | None, ends_at: datetime, reason: str
) -> None:
    with pytest.raises(InvalidArgumentError) as refused:
        check_times(a_test(status, starts_at=starts_at, ends_at=ends_at), NOW)
    assert refused.value.reason == reason
    assert [violation.field for violation in refused.value.violations] == ["end_time"]


@pytest.mark.parametrize(
    ("status", "starts_at", "ends_at"),
    [
        (Status.DRAFT, None, None),
        (Status.DRAFT, NOW + HOUR, None),
        (Status.DRAFT, NOW + HOUR, NOW + 2 * HOUR),
        (Status.RUNNING, NOW + 2 * HOUR, NOW + HOUR),  # it was started before its time
    ],
)
def test_other_times_are_fine(status: Status, starts_at: datetime | None, ends_at: datetime | None) -> None:
    check_times(a_test(status, starts_at=starts_at, ends_at=ends_at), NOW)


def test_what_never_began_has_nothing_to_see() -> None:
    for status in (Status.DRAFT, Status.SCHEDULED, Status.ARCHIVED):
        with pytest.raises(FailedPreconditionError, match="has shown nothing"):
            require_started(a_test(status))
    for status in STARTED:
        require_started(a_test(status))
    require_started(replace(a_test(Status.ENDED), status=Status.ARCHIVED))


def test_what_is_over_does_not_change() -> None:
    for status in (Status.ENDED, Status.ARCHIVED):
        with pytest.raises(FailedPreconditionError):
            require_not_over(a_test(status))
    for status in (Status.DRAFT, Status.SCHEDULED, Status.RUNNING, Status.PAUSED):
        require_not_over(a_test(status))
