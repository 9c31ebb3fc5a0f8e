"""Changes of tests over a real database: one after the other, whole in the log; tests from before the log."""

import asyncio
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import asyncpg
import grpc
import pytest

from deploy.local.bootstrap import DatabaseAddresses
from gen.campaigns.abtest.v1 import (
    assignments_pb2,
    audit_pb2,
    history_pb2,
    progress_pb2,
    results_pb2,
    tests_pb2,
)
from gen.campaigns.abtest.v1.abtest_service_pb2_grpc import ABTestServiceStub
from services.abtest.convert.creation import new_test_from_proto
from services.abtest.domain.changes import ChangeNote
from services.abtest.operations.analysis import AnalysisOperations
from services.abtest.operations.creation import CreationOperations
from services.abtest.operations.lifecycle import BY_SCHEDULE, LifecycleOperations, close_test
from services.common.database import Database
from services.common.errors import ConstraintViolation
from services.common.statements import load_statements
from services.common.wire import datetime_to_timestamp
from tests.abtest_factories import CONTROL_CAMPAIGN, VARIANT_CAMPAIGN, a_test, running_server

MIGRATIONS = Path(__file__).resolve().parents[3] / "services/abtest/sql/migrations"
STATEMENTS = load_statements("services.abtest")
WAITING = "select count(*) from pg_locks where locktype = 'advisory' and not granted"


async def migrate(admin: "asyncpg.Connection[asyncpg.Record]", *, down_to: str) -> None:
    """Take migrations back until `down_to` is the next one."""
    for path in sorted(MIGRATIONS.glob("*.sql"), reverse=True):
        if path.name >= down_to:
            await admin.execute(path.read_text(encoding="utf-8").split("-- migrate:down")[1])


async def migrate_again(admin: "asyncpg.Connection[asyncpg.Record]", *, start: str) -> None:
    for path in sorted(MIGRATIONS.glob("*.sql")):
        if path.name >= start:
            await admin.execute(path.read_text(encoding="utf-8").split("-- migrate:down")[0])


async def test_concurrent_changes_follow_one_another_without_a_gap(
    admin: "asyncpg.Connection[asyncpg.Record]", database: DatabaseAddresses
) -> None:
    """Two replicas change weights while users come: every epoch, change and propensity fits the next."""
    weights = [(0.05 + 0.01 * n, 1.0 - (0.05 + 0.01 * n)) for n in range(16)]
    async with running_server(database.abtest) as one, running_server(database.abtest) as other:
        test_id = (await one.CreateTest(a_test())).test_id
        await asyncio.gather(
            *(
                (one, other)[index % 2].UpdateTest(
                    tests_pb2.UpdateTestRequest(test_id=test_id, traffic_weights=pair)
                )
                for index, pair in enumerate(weights)
            ),
            *(
                (one, other)[index % 2].AssignUser(
                    assignments_pb2.AssignUserRequest(test_id=test_id, user_id=f"u{index}")
                )
                for index in range(40)
            ),
        )
        test = await one.GetTest(tests_pb2.GetTestRequest(test_id=test_id))
        log = await other.ListTestChanges(audit_pb2.ListTestChangesRequest(test_id=test_id))
    changes = list(reversed(log.changes))
    assert [change.change_number for change in changes] == list(range(1, 18))
    assert [epoch.weight_epoch for epoch in test.weight_epochs] == list(range(1, 18))
    last = [0.5, 0.5]
    for change, epoch in zip(changes[1:], test.weight_epochs[1:], strict=True):
        (difference,) = change.differences
        assert json.loads(difference.before) == last
        last = json.loads(difference.after)
        assert last == list(epoch.traffic_weights)
        assert change.change_time == epoch.start_time
    assert [group.traffic_weight for group in test.test.groups] == last
    kept = await admin.fetch(
        "select a.propensity, w.weights[a.group_index + 1] as weight from abtest.ab_test_assignments a"
        " join abtest.ab_test_weight_epochs w using (test_id, epoch)"
    )
    assert len(kept) == 40
    for row in kept:
        assert row["propensity"] == pytest.approx(row["weight"], abs=1e-3)


async def test_of_two_opposite_steps_at_once_one_is_refused_or_follows(
    admin: "asyncpg.Connection[asyncpg.Record]", database: DatabaseAddresses
) -> None:
    async with running_server(database.abtest) as one, running_server(database.abtest) as other:
        test_id = (await one.CreateTest(a_test())).test_id
        answers = await asyncio.gather(
            *(
                stub.PauseTest(tests_pb2.PauseTestRequest(test_id=test_id))
                for stub in (one, other, one, other)
            ),
            return_exceptions=True,
        )
        refused = [answer for answer in answers if isinstance(answer, grpc.aio.AioRpcError)]
        assert len(refused) == 3
        assert {error.code() for error in refused} == {grpc.StatusCode.FAILED_PRECONDITION}
        ends = await asyncio.gather(
            *(stub.EndTest(results_pb2.EndTestRequest(test_id=test_id)) for stub in (one, other, one, other))
        )
        assert len({answer.end_time.ToJsonString() for answer in ends}) == 1
    actions = await admin.fetch("select action from abtest.ab_test_changes order by change_number")
    assert [row["action"] for row in actions] == ["create", "pause", "end"]


async def test_replicas_that_find_the_same_test_due_start_it_once(
    admin: "asyncpg.Connection[asyncpg.Record]", database: DatabaseAddresses
) -> None:
    start = datetime.now(UTC) + timedelta(hours=1)
    async with running_server(database.abtest) as stub:
        test_id = (await stub.CreateTest(a_test(start_time=datetime_to_timestamp(start)))).test_id
    own = await Database.open(database.abtest, application_name="test")
    try:
        replicas = [LifecycleOperations(own, now=lambda: start) for _ in range(2)]
        async with admin.transaction():  # so that both have found the test before either can start it
            await admin.execute(STATEMENTS["lock_test"].sql, test_id)
            starting = asyncio.gather(*(replica.start_due() for replica in replicas))
            async with asyncio.timeout(60):
                while await admin.fetchval(WAITING) < len(replicas):
                    await asyncio.sleep(0.01)
        assert sorted(await starting) == [0, 1]
    finally:
        await own.close()
    actions = await admin.fetch("select action, actor from abtest.ab_test_changes order by change_number")
    assert [tuple(row) for row in actions] == [("create", ""), ("start", "schedule")]


async def test_an_end_that_was_cut_off_gets_its_result_by_the_schedule(
    admin: "asyncpg.Connection[asyncpg.Record]", database: DatabaseAddresses
) -> None:
    async with running_server(database.abtest) as stub:
        test_id = (await stub.CreateTest(a_test())).test_id
    own = await Database.open(database.abtest, application_name="test")
    ended_at = datetime.now(UTC)
    try:
        async with own.transaction() as connection:  # the process dies right after this
            await close_test(connection, test_id, note=ChangeNote(actor="ada"), now=ended_at)
        soon = LifecycleOperations(own, now=lambda: ended_at + timedelta(seconds=1))
        assert await soon.list_due_ends() == []
        later = LifecycleOperations(own, now=lambda: ended_at + timedelta(minutes=3))
        assert await later.list_due_ends() == [test_id]
        await AnalysisOperations(own, now=lambda: datetime.now(UTC)).end_test(test_id, BY_SCHEDULE)
        assert await later.list_due_ends() == []
    finally:
        await own.close()
    actions = await admin.fetch("select action, actor from abtest.ab_test_changes order by change_number")
    assert [tuple(row) for row in actions] == [("create", ""), ("end", "ada")]


async def test_a_violation_of_another_constraint_is_no_repeated_request(
    admin: "asyncpg.Connection[asyncpg.Record]", database: DatabaseAddresses
) -> None:
    own = await Database.open(database.abtest, application_name="test")
    creation = CreationOperations(own, now=lambda: datetime.now(UTC), new_test_id=lambda: "same")
    try:
        await creation.create_test(new_test_from_proto(a_test(request_id="one")))
        with pytest.raises(ConstraintViolation, match="ab_tests_pkey"):
            await creation.create_test(new_test_from_proto(a_test(request_id="two")))
    finally:
        await own.close()
    assert await admin.fetchval("select count(*) from abtest.ab_test_changes") == 1


async def test_the_log_cannot_be_altered_by_the_service(
    admin: "asyncpg.Connection[asyncpg.Record]", database: DatabaseAddresses
) -> None:
    own = await asyncpg.connect(database.abtest)
    try:
        for statement in ("update ab_test_changes set actor = 'x'", "delete from ab_test_changes"):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await own.execute(statement)
    finally:
        await own.close()


async def test_tests_from_before_the_log_go_on(
    admin: "asyncpg.Connection[asyncpg.Record]", database: DatabaseAddresses
) -> None:
    """What an earlier version kept, running and ended, is shown, changed and found by its request."""
    await migrate(admin, down_to="0004")
    january, february = datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 2, 1, tzinfo=UTC)
    for test_id, status, ended_at in (("old", 1, None), ("over", 2, february)):
        await admin.execute(
            "insert into abtest.ab_tests (test_id, test_name, status, decision_method, target_sample_size,"
            " confidence_level, hash_seed, current_epoch, request_id, created_at, ended_at)"
            " values ($1, $1, $2, 1, 1000, 0.95, $1, 1, $1, $3, $4)",
            test_id,
            status,
            january,
            ended_at,
        )
        await admin.execute(
            "insert into abtest.ab_test_groups (test_id, group_index, group_name, campaign_id)"
            " values ($1, 0, 'control', $2), ($1, 1, 'variant', $3)",
            test_id,
            CONTROL_CAMPAIGN,
            VARIANT_CAMPAIGN,
        )
        await admin.execute(
            "insert into abtest.ab_test_weight_epochs (test_id, epoch, weights, coverage, started_at)"
            " values ($1, 1, '{0.5,0.5}', 1, '2026-01-01T00:00:00+00')",
            test_id,
        )
    await migrate_again(admin, start="0004")
    async with running_server(database.abtest) as stub:
        await check_old_tests(stub)


async def check_old_tests(stub: ABTestServiceStub) -> None:
    history = await stub.ListTestHistory(history_pb2.ListTestHistoryRequest())
    assert [(test.test_id, test.status) for test in history.tests] == [("over", "ended"), ("old", "running")]
    definition = (await stub.GetTest(tests_pb2.GetTestRequest(test_id="old"))).test
    assert definition.start_time.ToJsonString() == "2026-01-01T00:00:00Z"
    assert definition.primary_metric.metric_name == "conversion_rate"
    again = await stub.CreateTest(a_test(request_id="old", test_name="old"))
    assert again.test_id == "old"
    user = await stub.AssignUser(assignments_pb2.AssignUserRequest(test_id="old", user_id="u"))
    assert user.assigned_group in {"control", "variant"}
    paused = await stub.PauseTest(tests_pb2.PauseTestRequest(test_id="old"))
    assert paused.test.status == "paused"
    log = await stub.ListTestChanges(audit_pb2.ListTestChangesRequest(test_id="old"))
    assert [(change.change_number, change.action) for change in log.changes] == [(1, "pause")]
    over = await stub.GetTestStatus(progress_pb2.GetTestStatusRequest(test_id="over"))
    assert (over.status, over.can_end) == ("ended", True)
