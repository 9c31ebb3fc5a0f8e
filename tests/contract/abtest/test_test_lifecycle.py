"""How tests live: drafts, starts, pauses, ends, the archive, and the log of it all."""

import grpc
import pytest

from deploy.local.bootstrap import DatabaseAddresses
from gen.campaigns.abtest.v1 import (
    progress_pb2,
    results_pb2,
    tests_pb2,
)
from gen.campaigns.abtest.v1.abtest_service_pb2_grpc import ABTestServiceStub
from services.abtest.operations.analysis import AnalysisOperations
from services.abtest.operations.lifecycle import BY_SCHEDULE, LifecycleOperations
from services.common.database import Database
from services.common.wire import datetime_to_timestamp
from tests.abtest_factories import refusal
from tests.contract.abtest.change_log import changes_of, differences, reason_for
from tests.contract.abtest.lifecycle_stand import HOUR, NOW, STEPS, Clock, create


async def status_of(stub: ABTestServiceStub, test_id: str) -> str:
    return (await stub.GetTest(tests_pb2.GetTestRequest(test_id=test_id))).test.status


async def test_a_test_goes_its_way_and_the_log_tells_of_it(stub: ABTestServiceStub, clock: Clock) -> None:
    test_id = await create(stub, is_draft=True, actor="ada")
    assert await reason_for(stub, test_id) == "not_started"
    clock.now += HOUR
    started = await stub.StartTest(
        tests_pb2.StartTestRequest(test_id=test_id, actor="ben", comment="legal agreed")
    )
    assert (started.test.status, started.test.is_active) == ("running", True)
    assert started.test.start_time == datetime_to_timestamp(NOW + HOUR)
    assert not await reason_for(stub, test_id)
    paused = await stub.PauseTest(tests_pb2.PauseTestRequest(test_id=test_id, actor="cy"))
    assert (paused.test.status, paused.test.is_active) == ("paused", False)
    assert not await reason_for(stub, test_id, "u")  # who has a group keeps it
    assert await reason_for(stub, test_id, "late") == "paused"
    resumed = await stub.ResumeTest(tests_pb2.ResumeTestRequest(test_id=test_id))
    assert resumed.test.status == "running"
    assert not await reason_for(stub, test_id, "late")
    ended = await stub.EndTest(results_pb2.EndTestRequest(test_id=test_id, actor="ada"))
    assert not ended.is_active
    archived = await stub.ArchiveTest(tests_pb2.ArchiveTestRequest(test_id=test_id))
    assert archived.test.status == "archived"
    assert await reason_for(stub, test_id, "later") == "ended"
    log = await changes_of(stub, test_id)
    assert [(change.change_number, change.action, change.actor) for change in log] == [
        (1, "create", "ada"),
        (2, "start", "ben"),
        (3, "pause", "cy"),
        (4, "resume", ""),
        (5, "end", "ada"),
        (6, "archive", ""),
    ]
    assert log[1].comment == "legal agreed"
    assert log[1].change_time == datetime_to_timestamp(NOW + HOUR)
    assert differences(log[1]) == {
        "status": ("draft", "running"),
        "start_time": (None, (NOW + HOUR).isoformat()),
    }
    assert differences(log[0])["test_name"] == (None, "Offer Amount A/B Test")
    assert differences(log[0])["target_sample_size"] == (None, 1000)


WAYS = {
    "draft": (),
    "scheduled": ("start",),
    "running": ("start", "start"),
    "paused": ("start", "start", "pause"),
    "ended": ("start", "start", "end"),
    "archived": ("archive",),
}
REFUSED = {
    "draft": {"pause", "resume", "end", "analyze"},
    "scheduled": {"pause", "resume", "end", "analyze"},
    "running": {"start", "resume", "archive"},
    "paused": {"start", "pause", "archive"},
    "ended": {"start", "pause", "resume", "update"},
    "archived": {"start", "pause", "resume", "end", "archive", "update", "analyze"},
}


@pytest.mark.parametrize("status", WAYS)
async def test_an_illegal_step_is_refused_with_the_status_and_changes_nothing(
    stub: ABTestServiceStub, status: str
) -> None:
    test_id = await create(stub, is_draft=True, start_time=datetime_to_timestamp(NOW + HOUR))
    for step in WAYS[status]:
        await STEPS[step](stub, test_id)
    assert await status_of(stub, test_id) == status
    log = await changes_of(stub, test_id)
    for step in sorted(REFUSED[status]):
        code, reason, fields = await refusal(STEPS[step](stub, test_id))
        assert (code, reason) == (grpc.StatusCode.FAILED_PRECONDITION, "TEST_STATUS_CONFLICT"), step
        assert fields == {"test_id": f"the test is {status}"}
    assert await status_of(stub, test_id) == status
    assert await changes_of(stub, test_id) == log


async def test_a_step_needs_a_test_that_is_known(stub: ABTestServiceStub) -> None:
    for step in STEPS.values():
        code, reason, fields = await refusal(step(stub, "none"))
        assert (code, reason, set(fields)) == (grpc.StatusCode.NOT_FOUND, "TEST_UNKNOWN", {"test_id"})
        code, _, fields = await refusal(step(stub, ""))
        assert (code, set(fields)) == (grpc.StatusCode.INVALID_ARGUMENT, {"test_id"})


async def test_who_asks_and_why_have_their_lengths(stub: ABTestServiceStub) -> None:
    request = tests_pb2.PauseTestRequest(test_id="t", actor="x" * 129, comment="y" * 501)
    code, _, fields = await refusal(stub.PauseTest(request))
    assert (code, set(fields)) == (grpc.StatusCode.INVALID_ARGUMENT, {"actor", "comment"})


async def test_times_start_and_end_tests_by_themselves(
    stub: ABTestServiceStub, clock: Clock, database: DatabaseAddresses
) -> None:
    test_id = await create(
        stub, start_time=datetime_to_timestamp(NOW + HOUR), end_time=datetime_to_timestamp(NOW + 3 * HOUR)
    )
    by_request = await create(stub, is_draft=True)
    own = await Database.open(database.abtest, application_name="test")
    try:
        lifecycle = LifecycleOperations(own, now=clock)
        analysis = AnalysisOperations(own, now=clock)
        assert (await lifecycle.start_due(), await lifecycle.list_due_ends()) == (0, [])
        assert await status_of(stub, test_id) == "scheduled"
        clock.now = NOW + 2 * HOUR
        assert (await lifecycle.start_due(), await lifecycle.list_due_ends()) == (1, [])
        assert await status_of(stub, test_id) == "running"
        assert not await reason_for(stub, test_id)
        clock.now = NOW + 4 * HOUR
        assert await reason_for(stub, test_id, "late") == "ended"  # before any job has come by
        assert await lifecycle.list_due_ends() == [test_id]
        await analysis.end_test(test_id, BY_SCHEDULE)
        assert (await lifecycle.start_due(), await lifecycle.list_due_ends()) == (0, [])
    finally:
        await own.close()
    status = await stub.GetTestStatus(progress_pb2.GetTestStatusRequest(test_id=test_id))
    assert (status.status, status.end_time) == ("ended", datetime_to_timestamp(NOW + 3 * HOUR))
    log = await changes_of(stub, test_id)
    assert [(change.action, change.actor) for change in log] == [
        ("create", ""),
        ("start", "schedule"),
        ("end", "schedule"),
    ]
    assert await status_of(stub, by_request) == "draft"


async def test_the_status_of_a_test_says_where_it_stands(stub: ABTestServiceStub) -> None:
    test_id = await create(
        stub, is_draft=True, decision_method="group_sequential", end_time=datetime_to_timestamp(NOW + HOUR)
    )
    request = progress_pb2.GetTestStatusRequest(test_id=test_id)
    draft = await stub.GetTestStatus(request)
    assert (draft.status, draft.can_end, draft.weight_epoch) == ("draft", False, 1)
    assert draft.can_end_reason == "the test is draft and has not started"
    assert not draft.HasField("start_time")
    await STEPS["start"](stub, test_id)
    running = await stub.GetTestStatus(request)
    assert (running.status, running.can_end) == ("running", False)
    assert "planned looks" in running.can_end_reason
    assert running.planned_end_time == datetime_to_timestamp(NOW + HOUR)
    await STEPS["end"](stub, test_id)
    ended = await stub.GetTestStatus(request)
    assert (ended.status, ended.can_end, ended.can_end_reason) == ("ended", True, "the test has ended")
    assert not ended.HasField("planned_end_time")
    assert ended.end_time == datetime_to_timestamp(NOW)


async def test_a_draft_waits_for_its_start_and_a_second_start_does_not(stub: ABTestServiceStub) -> None:
    test_id = await create(stub, is_draft=True, start_time=datetime_to_timestamp(NOW + HOUR))
    scheduled = await stub.StartTest(tests_pb2.StartTestRequest(test_id=test_id))
    assert scheduled.test.status == "scheduled"
    started = await stub.StartTest(tests_pb2.StartTestRequest(test_id=test_id))
    assert (started.test.status, started.test.start_time) == ("running", datetime_to_timestamp(NOW))
    assert [change.action for change in await changes_of(stub, test_id)] == ["create", "schedule", "start"]


async def test_a_draft_whose_end_has_gone_by_cannot_start_until_it_is_moved(
    stub: ABTestServiceStub, clock: Clock
) -> None:
    test_id = await create(stub, is_draft=True, end_time=datetime_to_timestamp(NOW + HOUR))
    clock.now += 2 * HOUR
    start = tests_pb2.StartTestRequest(test_id=test_id)
    code, _, fields = await refusal(stub.StartTest(start))
    assert (code, set(fields)) == (grpc.StatusCode.INVALID_ARGUMENT, {"end_time"})
    await stub.UpdateTest(tests_pb2.UpdateTestRequest(test_id=test_id, clear_end_time=True))
    started = await stub.StartTest(start)
    assert not started.test.HasField("end_time")
