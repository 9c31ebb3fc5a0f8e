"""How tests change: drafts, starts, pauses, ends, the archive, updates, and the log of it all."""

import json
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import grpc
import pytest

from deploy.local.bootstrap import DatabaseAddresses
from gen.campaigns.abtest.v1 import (
    assignments_pb2,
    audit_pb2,
    bandit_pb2,
    history_pb2,
    progress_pb2,
    results_pb2,
    tests_pb2,
)
from gen.campaigns.abtest.v1.abtest_service_pb2_grpc import ABTestServiceStub
from services.abtest.operations.analysis import AnalysisOperations
from services.abtest.operations.lifecycle import BY_SCHEDULE, LifecycleOperations
from services.common.database import Database
from services.common.paging import encode_page_token
from services.common.wire import datetime_to_timestamp
from tests.abtest_factories import a_test, add_campaigns, refusal, running_server

NOW = datetime(2026, 5, 4, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


class Clock:
    """A clock that stands until it is moved."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def stub(database: DatabaseAddresses, clock: Clock) -> AsyncIterator[ABTestServiceStub]:
    await add_campaigns(database.admin)
    async with running_server(database.abtest, now=clock) as stub:
        yield stub


async def create(stub: ABTestServiceStub, **fields: Any) -> str:  # noqa: ANN401 (a request's fields)
    return (await stub.CreateTest(a_test(**fields))).test_id


async def status_of(stub: ABTestServiceStub, test_id: str) -> str:
    return (await stub.GetTest(tests_pb2.GetTestRequest(test_id=test_id))).test.status


async def reason_for(stub: ABTestServiceStub, test_id: str, user_id: str = "u") -> str:
    request = assignments_pb2.AssignUserRequest(test_id=test_id, user_id=user_id)
    return (await stub.AssignUser(request)).reason


async def changes_of(stub: ABTestServiceStub, test_id: str) -> list[audit_pb2.TestChange]:
    """Return the whole log, the oldest change first."""
    answer = await stub.ListTestChanges(audit_pb2.ListTestChangesRequest(test_id=test_id))
    return list(reversed(answer.changes))


def differences(change: audit_pb2.TestChange) -> dict[str, tuple[object, object]]:
    return {
        each.field: (
            json.loads(each.before) if each.HasField("before") else None,
            json.loads(each.after) if each.HasField("after") else None,
        )
        for each in change.differences
    }


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


Step = Callable[[ABTestServiceStub, str], Any]
STEPS: dict[str, Step] = {
    "start": lambda stub, test_id: stub.StartTest(tests_pb2.StartTestRequest(test_id=test_id)),
    "pause": lambda stub, test_id: stub.PauseTest(tests_pb2.PauseTestRequest(test_id=test_id)),
    "resume": lambda stub, test_id: stub.ResumeTest(tests_pb2.ResumeTestRequest(test_id=test_id)),
    "end": lambda stub, test_id: stub.EndTest(results_pb2.EndTestRequest(test_id=test_id)),
    "archive": lambda stub, test_id: stub.ArchiveTest(tests_pb2.ArchiveTestRequest(test_id=test_id)),
    "update": lambda stub, test_id: stub.UpdateTest(
        tests_pb2.UpdateTestRequest(test_id=test_id, coverage=0.5)
    ),
    "analyze": lambda stub, test_id: stub.AnalyzeTest(results_pb2.AnalyzeTestRequest(test_id=test_id)),
}
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


async def test_new_weights_open_an_epoch_and_keep_the_old_one(stub: ABTestServiceStub, clock: Clock) -> None:
    test_id = await create(stub)
    clock.now += HOUR
    updated = await stub.UpdateTest(
        tests_pb2.UpdateTestRequest(
            test_id=test_id, traffic_weights=[0.1, 0.9], actor="ada", comment="ramp up"
        )
    )
    assert updated.test.weight_epoch == 2
    assert [group.traffic_weight for group in updated.test.groups] == [0.1, 0.9]
    same = await stub.UpdateTest(tests_pb2.UpdateTestRequest(test_id=test_id, traffic_weights=[0.1, 0.9]))
    assert same.test.weight_epoch == 2
    answer = await stub.GetTest(tests_pb2.GetTestRequest(test_id=test_id))
    assert [
        (epoch.weight_epoch, list(epoch.traffic_weights), epoch.start_time) for epoch in answer.weight_epochs
    ] == [
        (1, [0.5, 0.5], datetime_to_timestamp(NOW)),
        (2, [0.1, 0.9], datetime_to_timestamp(NOW + HOUR)),
    ]
    user = await stub.AssignUser(assignments_pb2.AssignUserRequest(test_id=test_id, user_id="u"))
    assert user.weight_epoch == 2
    assert user.propensity == pytest.approx({"control": 0.1, "variant": 0.9}[user.assigned_group])
    log = await changes_of(stub, test_id)
    assert [change.action for change in log] == ["create", "update"]  # the same weights again are no change
    assert differences(log[1]) == {"traffic_weights": ([0.5, 0.5], [0.1, 0.9])}
    assert (log[1].actor, log[1].comment) == ("ada", "ramp up")


async def test_a_running_test_keeps_what_its_verdict_rests_on(stub: ABTestServiceStub) -> None:
    fixed: dict[str, Any] = {
        "start_time": datetime_to_timestamp(NOW + HOUR),
        "target_sample_size": 500,
        "minimum_detectable_effect": 0.3,
        "confidence_level": 0.9,
    }
    test_id = await create(stub)
    before = await stub.GetTest(tests_pb2.GetTestRequest(test_id=test_id))
    request = tests_pb2.UpdateTestRequest(test_id=test_id, test_name="other", **fixed)
    code, reason, fields = await refusal(stub.UpdateTest(request))
    assert (code, reason) == (grpc.StatusCode.FAILED_PRECONDITION, "TEST_FIELD_FIXED")
    assert set(fields) == set(fixed)
    assert await stub.GetTest(tests_pb2.GetTestRequest(test_id=test_id)) == before
    draft = await create(stub, is_draft=True)
    changed = (await stub.UpdateTest(tests_pb2.UpdateTestRequest(test_id=draft, **fixed))).test
    assert (changed.target_sample_size, changed.minimum_detectable_effect) == (500, 0.3)
    assert (changed.confidence_level, changed.start_time) == (0.9, datetime_to_timestamp(NOW + HOUR))


async def test_settings_of_a_running_test_change_with_their_differences(stub: ABTestServiceStub) -> None:
    test_id = await create(stub, hypothesis="first")
    changed = (
        await stub.UpdateTest(
            tests_pb2.UpdateTestRequest(
                test_id=test_id,
                test_name="renamed",
                hypothesis="",
                coverage=0.5,
                targeting=tests_pb2.Targeting(include_segments=["gold", "silver"]),
                end_time=datetime_to_timestamp(NOW + HOUR),
                planned_duration_days=7,
            )
        )
    ).test
    assert (changed.test_name, changed.hypothesis, changed.coverage) == ("renamed", "", 0.5)
    assert list(changed.targeting.include_segments) == ["gold", "silver"]
    assert await reason_for(stub, test_id) == "targeting"
    everybody = tests_pb2.UpdateTestRequest(
        test_id=test_id, targeting=tests_pb2.Targeting(), clear_end_time=True, coverage=1.0
    )
    cleared = (await stub.UpdateTest(everybody)).test
    assert not cleared.HasField("targeting")
    assert not cleared.HasField("end_time")
    assert not await reason_for(stub, test_id)
    log = await changes_of(stub, test_id)
    assert differences(log[1]) == {
        "test_name": ("Offer Amount A/B Test", "renamed"),
        "hypothesis": ("first", ""),
        "coverage": (1.0, 0.5),
        "include_segments": ([], ["gold", "silver"]),
        "end_time": (None, (NOW + HOUR).isoformat()),
        "planned_duration_days": (None, 7),
    }
    assert set(differences(log[2])) == {"coverage", "include_segments", "end_time"}


async def change_weights(
    stub: ABTestServiceStub,
    test_id: str,
    weights: tuple[float, ...] = (0.8, 0.2),
    coverage: float | None = None,
) -> tests_pb2.TestDefinition:
    request = tests_pb2.UpdateTestRequest(test_id=test_id, traffic_weights=weights, coverage=coverage)
    return (await stub.UpdateTest(request)).test


async def test_weights_stay_where_coverage_has_kept_users_out(stub: ABTestServiceStub, clock: Clock) -> None:
    """Those who were kept out and ask again would all land in the group that grew."""
    test_id = await create(stub, coverage=0.5)
    code, reason, fields = await refusal(change_weights(stub, test_id))
    assert (code, reason) == (grpc.StatusCode.FAILED_PRECONDITION, "TEST_FIELD_FIXED")
    assert set(fields) == {"traffic_weights"}
    clock.now += HOUR
    await stub.UpdateTest(tests_pb2.UpdateTestRequest(test_id=test_id, coverage=1.0))
    assert (await refusal(change_weights(stub, test_id)))[1] == "TEST_FIELD_FIXED"

    # Before anybody could ask, anything may change; and once, where everybody was covered until then.
    draft = await create(stub, is_draft=True, coverage=0.5)
    assert (await change_weights(stub, draft, coverage=1.0)).coverage == 1
    await stub.StartTest(tests_pb2.StartTestRequest(test_id=draft))
    clock.now += HOUR
    assert (await change_weights(stub, draft, (0.5, 0.5), 0.5)).coverage == 0.5
    assert (await refusal(change_weights(stub, draft)))[1] == "TEST_FIELD_FIXED"


WRONG_CHANGES: list[tuple[dict[str, Any], set[str]]] = [
    ({"test_name": " "}, {"test_name"}),
    ({"hypothesis": "x" * 2001}, {"hypothesis"}),
    ({"traffic_weights": [0.5, 0.6]}, {"traffic_weights"}),
    ({"traffic_weights": [0.2, 0.3, 0.5]}, {"traffic_weights"}),
    ({"traffic_weights": [0.99985, 0.00015], "coverage": 0.1}, {"traffic_weights"}),
    ({"coverage": 0.0}, {"coverage"}),
    ({"target_sample_size": 1}, {"target_sample_size"}),
    ({"minimum_detectable_effect": 0.0}, {"minimum_detectable_effect"}),
    ({"confidence_level": 0.5}, {"confidence_level"}),
    ({"planned_duration_days": 367}, {"planned_duration_days"}),
    ({"end_time": datetime_to_timestamp(NOW)}, {"end_time"}),
    ({"end_time": datetime_to_timestamp(NOW + HOUR), "clear_end_time": True}, {"clear_end_time"}),
    ({"targeting": tests_pb2.Targeting(include_segments=[""])}, {"targeting.include_segments[0]"}),
]


async def test_a_wrong_change_is_named_and_nothing_changes(stub: ABTestServiceStub) -> None:
    test_id = await create(stub)
    before = await stub.GetTest(tests_pb2.GetTestRequest(test_id=test_id))
    for fields, violated in WRONG_CHANGES:
        request = tests_pb2.UpdateTestRequest(test_id=test_id, **fields)
        code, _, found = await refusal(stub.UpdateTest(request))
        assert (code, set(found)) == (grpc.StatusCode.INVALID_ARGUMENT, violated), fields
    assert await stub.GetTest(tests_pb2.GetTestRequest(test_id=test_id)) == before


async def test_a_bandits_weights_are_not_moved_by_hand(stub: ABTestServiceStub) -> None:
    test_id = await create(stub, bandit=bandit_pb2.BanditSettings())
    request = tests_pb2.UpdateTestRequest(test_id=test_id, traffic_weights=[0.4, 0.6])
    code, reason, fields = await refusal(stub.UpdateTest(request))
    assert (code, reason) == (grpc.StatusCode.FAILED_PRECONDITION, "BANDIT_OWNS_WEIGHTS")
    assert set(fields) == {"traffic_weights"}
    renamed = await stub.UpdateTest(tests_pb2.UpdateTestRequest(test_id=test_id, test_name="b"))
    assert renamed.test.test_name == "b"


async def test_the_log_has_pages(stub: ABTestServiceStub) -> None:
    test_id = await create(stub)
    for number in range(4):
        await stub.UpdateTest(tests_pb2.UpdateTestRequest(test_id=test_id, test_name=f"n{number}"))
    seen: list[int] = []
    token = ""
    while True:
        page = await stub.ListTestChanges(
            audit_pb2.ListTestChangesRequest(test_id=test_id, page_size=2, page_token=token)
        )
        seen += [change.change_number for change in page.changes]
        token = page.next_page_token
        if not token:
            break
    assert seen == [5, 4, 3, 2, 1]
    first = await stub.ListTestChanges(audit_pb2.ListTestChangesRequest(test_id=test_id, page_size=2))
    other = await create(stub)
    for wrong in (
        audit_pb2.ListTestChangesRequest(test_id=other, page_token=first.next_page_token),
        audit_pb2.ListTestChangesRequest(test_id=test_id, page_token="x"),
        audit_pb2.ListTestChangesRequest(
            test_id=test_id, page_token=encode_page_token({"test_id": test_id, "before": 0})
        ),
    ):
        code, _, fields = await refusal(stub.ListTestChanges(wrong))
        assert (code, set(fields)) == (grpc.StatusCode.INVALID_ARGUMENT, {"page_token"})
    code, reason, _ = await refusal(stub.ListTestChanges(audit_pb2.ListTestChangesRequest(test_id="none")))
    assert (code, reason) == (grpc.StatusCode.NOT_FOUND, "TEST_UNKNOWN")


async def list_names(stub: ABTestServiceStub, **filters: Any) -> list[str]:  # noqa: ANN401
    answer = await stub.ListTestHistory(history_pb2.ListTestHistoryRequest(**filters))
    return [test.test_name for test in answer.tests]


async def test_the_history_is_filtered(
    stub: ABTestServiceStub, clock: Clock, database: DatabaseAddresses
) -> None:
    await add_campaigns(database.admin, ["third"])
    made: dict[str, str] = {}
    wanted: dict[str, dict[str, Any]] = {
        "draft one": {"is_draft": True},
        "running": {"variant_campaign_id": "third"},
        "paused": {"decision_method": "fixed_horizon"},
        "ended": {},
        "old 100% draft": {"is_draft": True},
    }
    for name, fields in wanted.items():
        made[name] = await create(stub, test_name=name, **fields)
        clock.now += HOUR
    await STEPS["pause"](stub, made["paused"])
    await STEPS["end"](stub, made["ended"])
    await STEPS["archive"](stub, made["old 100% draft"])
    assert await list_names(stub) == ["ended", "paused", "running", "draft one"]
    assert await list_names(stub, statuses=["archived"]) == ["old 100% draft"]
    assert await list_names(stub, statuses=["draft", "paused"]) == ["paused", "draft one"]
    assert await list_names(stub, campaign_id="third") == ["running"]
    assert await list_names(stub, decision_method="fixed_horizon") == ["paused"]
    assert await list_names(stub, verdict="stop") == ["ended"]
    assert await list_names(stub, verdict="ship") == []
    assert await list_names(stub, name_contains="DRAFT") == ["draft one"]
    assert await list_names(stub, name_contains="0% d", statuses=["archived"]) == ["old 100% draft"]
    assert await list_names(
        stub,
        created_from=datetime_to_timestamp(NOW + HOUR),
        created_until=datetime_to_timestamp(NOW + 3 * HOUR),
    ) == ["paused", "running"]
    summary = (await stub.ListTestHistory(history_pb2.ListTestHistoryRequest(campaign_id="third"))).tests[0]
    assert (summary.status, summary.is_active) == ("running", True)
    assert list(summary.campaign_ids) == ["camp_control", "third"]
    assert summary.create_time == datetime_to_timestamp(NOW + HOUR)


async def test_a_page_goes_on_under_its_own_filters_only(stub: ABTestServiceStub, clock: Clock) -> None:
    for name in ("a1", "a2", "b", "a3"):
        await create(stub, test_name=name)
        clock.now += HOUR
    first = await stub.ListTestHistory(history_pb2.ListTestHistoryRequest(limit=2, name_contains="a"))
    assert [test.test_name for test in first.tests] == ["a3", "a2"]
    token = first.next_page_token
    second = await stub.ListTestHistory(
        history_pb2.ListTestHistoryRequest(limit=2, name_contains="a", page_token=token)
    )
    assert [test.test_name for test in second.tests] == ["a1"]
    assert not second.next_page_token
    code, _, fields = await refusal(
        stub.ListTestHistory(history_pb2.ListTestHistoryRequest(limit=2, page_token=token))
    )
    assert (code, set(fields)) == (grpc.StatusCode.INVALID_ARGUMENT, {"page_token"})


WRONG_FILTERS: list[tuple[dict[str, Any], set[str]]] = [
    ({"statuses": ["draft", "gone"]}, {"statuses[1]"}),
    ({"decision_method": "peek"}, {"decision_method"}),
    ({"verdict": "continue"}, {"verdict"}),
    ({"name_contains": "x" * 257}, {"name_contains"}),
    ({"campaign_id": "x" * 129}, {"campaign_id"}),
    (
        {"created_from": datetime_to_timestamp(NOW), "created_until": datetime_to_timestamp(NOW)},
        {"created_until"},
    ),
]


async def test_a_wrong_filter_is_named(stub: ABTestServiceStub) -> None:
    for filters, violated in WRONG_FILTERS:
        request = history_pb2.ListTestHistoryRequest(**filters)
        code, _, fields = await refusal(stub.ListTestHistory(request))
        assert (code, set(fields)) == (grpc.StatusCode.INVALID_ARGUMENT, violated), filters
