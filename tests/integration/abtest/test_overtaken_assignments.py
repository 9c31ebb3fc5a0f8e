"""Assignments that were decided by what a test was, and written when it is something else already."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime

import asyncpg
import pytest

from deploy.local.bootstrap import DatabaseAddresses
from gen.campaigns.abtest.v1 import assignments_pb2
from gen.campaigns.abtest.v1.abtest_service_pb2_grpc import ABTestServiceStub
from services.abtest.domain.model import Assignment, Group
from services.abtest.operations.assignment import AssignmentOperations, AssignmentOutcome
from services.abtest.store import assignments
from services.common.database import Connection, Database
from services.common.errors import AbortedError
from tests.abtest_factories import a_test

LOCK = "select pg_advisory_xact_lock(hashtextextended('abtest.ab_tests/' || $1::text, 0))"
WAITING = "select count(*) from pg_locks where locktype = 'advisory' and not granted"
CHANGES = {
    "ended": ["update abtest.ab_tests set status = 2, ended_at = now() where test_id = $1"],
    "paused": ["update abtest.ab_tests set status = 5 where test_id = $1"],
    "": [
        "update abtest.ab_tests set current_epoch = 2 where test_id = $1",
        "insert into abtest.ab_test_weight_epochs values ($1, 2, '{0.1, 0.9}', 1, now())",
    ],
}


async def somebody_waits(database: DatabaseAddresses) -> None:
    observer = await asyncpg.connect(database.admin)
    try:
        while not await observer.fetchval(WAITING):
            await asyncio.sleep(0.005)
    finally:
        await observer.close()


@pytest.mark.parametrize("reason", CHANGES)
async def test_what_waited_for_a_change_is_decided_anew(
    abtest: ABTestServiceStub,
    admin: "asyncpg.Connection[asyncpg.Record]",
    database: DatabaseAddresses,
    reason: str,
) -> None:
    test_id = (await abtest.CreateTest(a_test())).test_id
    async with admin.transaction():
        await admin.execute(LOCK, test_id)
        for statement in CHANGES[reason]:
            await admin.execute(statement, test_id)
        assigning = asyncio.ensure_future(
            abtest.AssignUsers(
                assignments_pb2.AssignUsersRequest(
                    test_id=test_id, user_ids=[f"user-{number}" for number in range(20)]
                )
            )
        )
        await asyncio.wait_for(somebody_waits(database), timeout=60)
    answer = await assigning
    assert {each.reason for each in answer.assignments} == {reason}
    rows = await admin.fetch("select epoch, propensity from abtest.ab_test_assignments")
    if reason:
        assert rows == []
    else:
        assert len(rows) == 20
        assert {row["epoch"] for row in rows} == {2}
        assert {row["propensity"] for row in rows} <= {0.1, 0.9}
    counted = await admin.fetchval("select coalesce(sum(users), 0) from abtest.ab_test_group_counters")
    assert counted == len(rows)


async def test_an_assignment_by_another_epoch_is_not_written(
    abtest: ABTestServiceStub, admin: "asyncpg.Connection[asyncpg.Record]", database: DatabaseAddresses
) -> None:
    test_id = (await abtest.CreateTest(a_test())).test_id
    now = datetime.now(UTC)
    good = Assignment(
        test_id=test_id,
        user_id="a",
        group_index=0,
        group=Group(name="control", campaign_id="c"),
        epoch=1,
        propensity=0.5,
        assigned_at=now,
    )
    offered = [good, replace(good, user_id="b", epoch=2), replace(good, user_id="c", test_id="nobody")]
    opened = await Database.open(database.abtest, application_name="test", max_size=1)
    try:
        async with opened.acquire() as connection:
            added = await assignments.insert_assignments(connection, offered, assigned_at=now, slot=0)
            again = await assignments.insert_assignments(connection, offered, assigned_at=now, slot=0)
    finally:
        await opened.close()
    assert (added, again) == ({(test_id, "a")}, set())


async def test_endless_changes_are_given_up_on_for_their_own_test_alone(
    abtest: ABTestServiceStub, database: DatabaseAddresses, monkeypatch: pytest.MonkeyPatch
) -> None:
    changing, calm = [(await abtest.CreateTest(a_test())).test_id for _ in range(2)]
    insert = assignments.insert_assignments

    async def overtaken(
        connection: Connection, offered: Sequence[Assignment], *, assigned_at: datetime, slot: int
    ) -> set[tuple[str, str]]:
        passing = [each for each in offered if each.test_id == calm]
        return await insert(connection, passing, assigned_at=assigned_at, slot=slot)

    monkeypatch.setattr(assignments, "insert_assignments", overtaken)
    opened = await Database.open(database.abtest, application_name="test", max_size=1)
    try:
        assigning = AssignmentOperations(opened, now=lambda: datetime.now(UTC), slot=0)
        given_up, assigned = await assigning.assign_users([(changing, "a"), (calm, "a")])
    finally:
        await opened.close()
    assert isinstance(given_up, AbortedError)
    assert given_up.reason == "CONCURRENT_UPDATE"
    assert isinstance(assigned, AssignmentOutcome)
    assert assigned.assignment is not None
