"""Assignments over a real database: one group per user, whatever happens at the same time or in between."""

import asyncio
import sys
from collections.abc import Sequence
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta

import asyncpg
import pytest

from deploy.local.bootstrap import DatabaseAddresses
from gen.campaigns.abtest.v1 import assignments_pb2, history_pb2, progress_pb2, results_pb2, tests_pb2
from gen.campaigns.abtest.v1.abtest_service_pb2_grpc import ABTestServiceStub
from services.abtest.domain.hashing import hash_bucket
from tests.abtest_factories import CONTROL_CAMPAIGN, VARIANT_CAMPAIGN, running_server

ASSIGNER = """
import asyncio, sys
from datetime import UTC, datetime
from services.abtest.operations.assignment import AssignmentOperations
from services.common.database import Database

async def main(url, test_id, slot, users):
    database = await Database.open(url, application_name="test")
    operations = AssignmentOperations(database, now=lambda: datetime.now(UTC), slot=slot)
    for start in range(0, users, 7):
        keys = [(test_id, f"user-{n}") for n in range(start, min(users, start + 7))]
        outcomes = await operations.assign_users(keys if slot % 2 else keys[::-1])
        for outcome in outcomes:
            print(outcome.assignment.user_id, outcome.assignment.group.name, outcome.assignment.assigned_at)
    await database.close()

asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])))
"""


async def create(stub: ABTestServiceStub, *, seed: str = "seed", coverage: float = 1.0) -> str:
    created = await stub.CreateTest(
        tests_pb2.CreateTestRequest(
            test_name="t",
            control_campaign_id=CONTROL_CAMPAIGN,
            variant_campaign_id=VARIANT_CAMPAIGN,
            target_sample_size=1000,
            hash_seed=seed,
            coverage=coverage,
        )
    )
    return created.test_id


async def assign(stub: ABTestServiceStub, test_id: str, users: Sequence[str]) -> list[str]:
    answers = await asyncio.gather(
        *(stub.AssignUser(assignments_pb2.AssignUserRequest(test_id=test_id, user_id=user)) for user in users)
    )
    return [answer.assigned_group for answer in answers]


async def change_weights(
    admin: "asyncpg.Connection[asyncpg.Record]", test_id: str, *, weights: list[float], coverage: float
) -> None:
    async with admin.transaction():
        epoch = await admin.fetchval(
            "update abtest.ab_tests set current_epoch = current_epoch + 1 where test_id = $1"
            " returning current_epoch",
            test_id,
        )
        await admin.execute(
            "insert into abtest.ab_test_weight_epochs (test_id, epoch, weights, coverage, started_at)"
            " values ($1, $2, $3, $4, now())",
            test_id,
            epoch,
            weights,
            coverage,
        )


async def counters_equal_a_recount(admin: "asyncpg.Connection[asyncpg.Record]") -> bool:
    """Whether the slotted counters say exactly what the assignments do."""
    differences = await admin.fetch(
        "select coalesce(c.users, 0) - coalesce(a.users, 0) as difference from"
        " (select test_id, epoch, group_index, sum(users) as users from abtest.ab_test_group_counters"
        "  group by 1, 2, 3) c"
        " full join (select test_id, epoch, group_index, count(*) as users from abtest.ab_test_assignments"
        "  group by 1, 2, 3) a using (test_id, epoch, group_index)"
    )
    return len(differences) > 0 and all(row["difference"] == 0 for row in differences)


async def test_concurrent_processes_give_a_user_one_group(
    admin: "asyncpg.Connection[asyncpg.Record]", database: DatabaseAddresses
) -> None:
    async with running_server(database.abtest) as stub:
        test_id = await create(stub)
    processes = [
        await asyncio.create_subprocess_exec(
            sys.executable, "-c", ASSIGNER, database.abtest, test_id, str(slot), "100",
            stdout=asyncio.subprocess.PIPE,
        )
        for slot in range(3)
    ]  # fmt: skip
    outputs = [(await process.communicate())[0].decode().split("\n") for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0]
    # Every process was told the same group and the same time of assignment for each of the 100 users.
    assert {len(lines) for lines in outputs} == {101}
    assert len({frozenset(lines) for lines in outputs}) == 1
    assert await admin.fetchval("select count(*) from abtest.ab_test_assignments") == 100
    assert await counters_equal_a_recount(admin)


async def test_concurrent_calls_share_commits_and_agree(
    admin: "asyncpg.Connection[asyncpg.Record]", database: DatabaseAddresses
) -> None:
    async with AsyncExitStack() as stack:
        first = await stack.enter_async_context(running_server(database.abtest))
        second = await stack.enter_async_context(running_server(database.abtest))
        test_id = await create(first)
        users = [f"user-{number}" for number in range(200)]
        answers = await asyncio.gather(
            assign(first, test_id, users), assign(second, test_id, users[::-1]), assign(first, test_id, users)
        )
        assert answers[0] == answers[1][::-1] == answers[2]
        status = await first.GetTestStatus(progress_pb2.GetTestStatusRequest(test_id=test_id))
    assert [group.users for group in status.groups] == [
        answers[0].count("control"),
        answers[0].count("variant"),
    ]
    assert await counters_equal_a_recount(admin)
    commits = await admin.fetchval("select count(distinct assigned_at) from abtest.ab_test_assignments")
    assert commits < 200


async def test_a_group_survives_restart_and_weight_changes(
    admin: "asyncpg.Connection[asyncpg.Record]", database: DatabaseAddresses
) -> None:
    users = [f"user-{number}" for number in range(60)]
    async with running_server(database.abtest) as stub:
        test_id = await create(stub)
        before = await assign(stub, test_id, users)
    assert {"control", "variant"} == set(before)
    await change_weights(admin, test_id, weights=[0.01, 0.99], coverage=0.0001)
    async with running_server(database.abtest) as stub:
        # Only "variant" fits the new weights, and nobody the new coverage: who was assigned stays.
        assert await assign(stub, test_id, users) == before
        assert set(await assign(stub, test_id, [f"new-{number}" for number in range(20)])) == {""}
    await change_weights(admin, test_id, weights=[0.01, 0.99], coverage=1.0)
    async with running_server(database.abtest) as stub:
        after = await assign(stub, test_id, [f"new-{number}" for number in range(40)])
        assert after.count("variant") >= 35
        assert await assign(stub, test_id, users) == before
    rows = await admin.fetch(
        "select distinct epoch, group_index, propensity from abtest.ab_test_assignments order by 1, 2"
    )
    assert {(row["epoch"], row["propensity"]) for row in rows} >= {(1, 0.5), (3, 0.99)}
    assert await counters_equal_a_recount(admin)


async def test_an_acknowledged_assignment_is_committed(
    admin: "asyncpg.Connection[asyncpg.Record]", database: DatabaseAddresses
) -> None:
    async with running_server(database.abtest) as stub:
        test_id = await create(stub, seed="seed")
        await assign(stub, test_id, ["a"])
        row = await admin.fetchrow("select * from abtest.ab_test_assignments")
    assert row is not None
    assert (row["test_id"], row["user_id"], row["group_index"]) == (test_id, "a", 0)
    assert (row["epoch"], row["propensity"]) == (1, 0.5)
    assert hash_bucket("seed", "a") == 505


async def test_no_assignment_slips_past_the_end(
    admin: "asyncpg.Connection[asyncpg.Record]", database: DatabaseAddresses
) -> None:
    async with AsyncExitStack() as stack:
        first = await stack.enter_async_context(running_server(database.abtest))
        second = await stack.enter_async_context(running_server(database.abtest))
        test_id = await create(first)
        assigning = asyncio.create_task(assign(first, test_id, [f"user-{number}" for number in range(300)]))
        await asyncio.sleep(0)
        ended, again = await asyncio.gather(
            second.EndTest(results_pb2.EndTestRequest(test_id=test_id)),
            first.EndTest(results_pb2.EndTestRequest(test_id=test_id)),
        )
        answers = await assigning
    assert ended == again
    enrolled = sum(1 for answer in answers if answer)
    assert sum(group.users for group in ended.groups) == enrolled
    assert await admin.fetchval("select count(*) from abtest.ab_test_assignments") == enrolled
    assert await admin.fetchval("select count(*) from abtest.ab_test_results") == 1


async def test_a_stream_of_assignments_does_not_keep_a_test_from_ending(
    admin: "asyncpg.Connection[asyncpg.Record]", database: DatabaseAddresses
) -> None:
    async with AsyncExitStack() as stack:
        servers = [await stack.enter_async_context(running_server(database.abtest)) for _ in range(3)]
        test_id = await create(servers[0])
        ended = asyncio.Event()

        async def keep_assigning(stub: ABTestServiceStub, name: str) -> int:
            number = 0
            while not ended.is_set():
                await assign(stub, test_id, [f"{name}-{number}-{user}" for user in range(8)])
                number += 1
            return number

        streams = [
            asyncio.create_task(keep_assigning(stub, str(index))) for index, stub in enumerate(servers[:2])
        ]
        await assign(servers[2], test_id, ["someone"])
        await asyncio.wait_for(servers[2].EndTest(results_pb2.EndTestRequest(test_id=test_id)), timeout=60)
        ended.set()
        assert min(await asyncio.gather(*streams)) > 0
    assert await counters_equal_a_recount(admin)


async def test_emoji_and_other_alphabets_are_users_too(
    admin: "asyncpg.Connection[asyncpg.Record]", database: DatabaseAddresses
) -> None:
    users = ["😀", "Zoë", "用户", "a b", "ü😀" * 60]
    async with running_server(database.abtest) as stub:
        test_id = await create(stub, seed="s")
        groups = await assign(stub, test_id, users)
        assert groups == ["control" if hash_bucket("s", user) < 5000 else "variant" for user in users]
        kept = await stub.GetUserTestGroup(
            assignments_pb2.GetUserTestGroupRequest(test_id=test_id, user_id="😀")
        )
    assert kept.assigned_group == groups[0]
    assert await admin.fetchval("select count(*) from abtest.ab_test_assignments") == 5


async def test_a_crash_between_end_and_result_is_made_good(
    admin: "asyncpg.Connection[asyncpg.Record]", database: DatabaseAddresses
) -> None:
    async with running_server(database.abtest) as stub:
        test_id = await create(stub)
        await assign(stub, test_id, ["a", "b", "c"])
        ended_at = datetime.now(UTC) - timedelta(minutes=1)
        await admin.execute("update abtest.ab_tests set status = 2, ended_at = $1", ended_at)
        history = await stub.ListTestHistory(history_pb2.ListTestHistoryRequest())
        assert not history.tests[0].HasField("result")
        ended = await stub.EndTest(results_pb2.EndTestRequest(test_id=test_id))
        assert ended.end_time.ToDatetime(UTC) == ended_at
        assert sum(group.users for group in ended.groups) == 3
        assert await stub.EndTest(results_pb2.EndTestRequest(test_id=test_id)) == ended
        history = await stub.ListTestHistory(history_pb2.ListTestHistoryRequest())
        assert history.tests[0].HasField("result")


async def test_two_simultaneous_creations_make_one_test(
    admin: "asyncpg.Connection[asyncpg.Record]", database: DatabaseAddresses
) -> None:
    request = tests_pb2.CreateTestRequest(
        test_name="t",
        control_campaign_id=CONTROL_CAMPAIGN,
        variant_campaign_id=VARIANT_CAMPAIGN,
        target_sample_size=10,
        request_id="once",
    )
    async with AsyncExitStack() as stack:
        first = await stack.enter_async_context(running_server(database.abtest))
        second = await stack.enter_async_context(running_server(database.abtest))
        answers = await asyncio.gather(*(stub.CreateTest(request) for stub in (first, second) * 8))
    assert len({answer.test_id for answer in answers}) == 1
    assert await admin.fetchval("select count(*) from abtest.ab_tests") == 1
    assert await admin.fetchval("select count(*) from abtest.ab_test_groups") == 2


async def test_the_status_costs_the_same_at_any_size(
    admin: "asyncpg.Connection[asyncpg.Record]", database: DatabaseAddresses
) -> None:
    async with running_server(database.abtest) as stub:
        test_id = await create(stub)
        await assign(stub, test_id, [f"user-{number}" for number in range(50)])
        await admin.execute("analyze abtest.ab_test_group_counters")
        rows = await admin.fetchval(
            "select count(*) from abtest.ab_test_group_counters where test_id = $1", test_id
        )
        # One process counts in one slot: a row per group, however many users.
        assert rows == 2
        await admin.execute("revoke select on abtest.ab_test_assignments from abtest")
        status = await stub.GetTestStatus(progress_pb2.GetTestStatusRequest(test_id=test_id))
    assert sum(group.users for group in status.groups) == 50


async def test_neighbours_read_the_results_of_ended_tests(
    admin: "asyncpg.Connection[asyncpg.Record]", database: DatabaseAddresses
) -> None:
    async with running_server(database.abtest) as stub:
        test_id = await create(stub)
        await create(stub)
        await assign(stub, test_id, [f"user-{number}" for number in range(30)])
        await stub.EndTest(results_pb2.EndTestRequest(test_id=test_id))
    neighbour = await asyncpg.connect(database.optimizer)
    try:
        tests = await neighbour.fetch("select * from abtest_v1.ended_tests")
        groups = await neighbour.fetch("select * from abtest_v1.ended_test_groups order by is_control desc")
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await neighbour.fetch("select * from abtest.ab_tests")
    finally:
        await neighbour.close()
    assert [(row["test_id"], row["verdict"], row["winner_campaign_id"]) for row in tests] == [
        (test_id, 2, None)
    ]
    assert [(row["campaign_id"], row["is_control"]) for row in groups] == [
        (CONTROL_CAMPAIGN, True),
        (VARIANT_CAMPAIGN, False),
    ]
    assert sum(row["users"] for row in groups) == 30


async def test_the_services_role_can_rewrite_no_assignment(
    admin: "asyncpg.Connection[asyncpg.Record]", database: DatabaseAddresses
) -> None:
    async with running_server(database.abtest) as stub:
        await assign(stub, await create(stub), ["a"])
    service = await asyncpg.connect(database.abtest)
    try:
        for statement in (
            "update abtest.ab_test_assignments set group_index = 1 - group_index",
            "delete from abtest.ab_test_assignments",
            "delete from abtest.ab_tests",
        ):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await service.execute(statement)
    finally:
        await service.close()
