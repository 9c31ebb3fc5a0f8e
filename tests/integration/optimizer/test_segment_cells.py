"""Users of tests by segment: what a statement over many users reads, and how often."""

import json

import asyncpg
import pytest

from deploy.local.bootstrap import DatabaseAddresses
from services.common.database import Database
from services.common.statements import load_statements
from services.optimizer.store.segments import MOST_TESTS, list_test_cells
from tests.plans import rows_thrown_away, walk_plan

STATEMENTS = load_statements("services.optimizer")
TESTS, USERS = 3, 400
LOAD = (
    "insert into analytics.campaigns (campaign_id, campaign_type) values ('c1', 1), ('plain', 2)",
    (
        "insert into abtest.ab_tests (test_id, test_name, status, decision_method, target_sample_size,"
        " confidence_level, hash_seed, current_epoch, created_at, started_at)"
        " select 't' || i, 't', 1, 1, 1000, 0.95, 's', 1, now() - interval '9 days',"
        " now() - interval '9 days' - i * interval '1 minute' from generate_series(1, $1) i"
    ),
    (
        "insert into abtest.ab_test_groups (test_id, group_index, group_name, campaign_id)"
        " select 't' || i, g, 'g' || g, case g when 0 then 'plain' else 'c1' end"
        " from generate_series(1, $1) i, generate_series(0, 1) g"
    ),
    (
        "insert into abtest.ab_test_assignments (user_id, test_id, assigned_at, propensity, epoch,"
        " group_index) select 'u' || u, 't' || i, now() - interval '5 days', 0.5, 1, u % 2"
        " from generate_series(1, $1) i, generate_series(1, $2) u"
    ),
    # Every fourth user buys in both campaigns before the assignment, and but for every eighth after it too.
    (
        "insert into analytics.events (user_id, event_id, campaign_id, event_at, counted_at, event_type,"
        " stamped_fields, is_machine_open, received_at, currency_code)"
        " select 'u' || u, c || days, c, at, at, 4, 0, false, at, 'USD'"
        " from generate_series(4, $1, 4) u, unnest(array['c1', 'plain']) c, unnest(array[6, 2]) days,"
        " lateral (select now() - days * interval '1 day') as moment (at)"
        " where days = 6 or u % 8 <> 0"
    ),
)


async def load(admin: str) -> None:
    connection = await asyncpg.connect(admin)
    try:
        for statement, arguments in zip(
            LOAD, ((), (TESTS,), (TESTS,), (TESTS, USERS), (USERS,)), strict=True
        ):
            await connection.execute(statement, *arguments)
        await connection.execute("analyze")
    finally:
        await connection.close()


@pytest.mark.parametrize("analyzed", [True, False], ids=["analyzed", "never-analyzed"])
async def test_events_are_read_once_a_campaign_however_many_users(
    database: DatabaseAddresses, analyzed: bool
) -> None:
    await load(database.admin)
    connection = await asyncpg.connect(database.admin)
    try:
        if not analyzed:
            await connection.execute("delete from pg_statistic")
        await connection.execute("set search_path = optimizer; set plan_cache_mode = force_generic_plan")
        await connection.execute(f"prepare cells as {STATEMENTS['list_test_cells'].sql}")
        plan = await connection.fetchval("explain (analyze, format json) execute cells ('c1', 20)")
    finally:
        await connection.close()
    root = json.loads(plan)[0]["Plan"]
    events = [node for node in walk_plan(root) if node.get("Relation Name") == "events"]
    assert events
    assert all(node["Actual Loops"] <= 2 for node in events)
    # Nothing is compared pair by pair: what conditions throw away grows with the rows, not their product.
    assert rows_thrown_away(root) <= 2 * TESTS * USERS


async def test_only_what_came_after_the_assignment_is_a_conversion(database: DatabaseAddresses) -> None:
    await load(database.admin)
    opened = await Database.open(database.optimizer, application_name="test")
    try:
        async with opened.transaction(readonly=True) as connection:
            cells = await list_test_cells(connection, "c1")
            others = await list_test_cells(connection, "plain")
    finally:
        await opened.close()
    assert [
        (f"{cell.variant.test_id}/{cell.variant.name}", cell.is_control, cell.users, cell.converting)
        for cell in cells
    ] == [
        (f"t{number}/g1", is_control, USERS // 2, USERS // 8 if is_control else 0)
        for number in range(1, TESTS + 1)
        for is_control in (False, True)
    ]
    assert {(cell.variant.control_campaign_id, cell.variant.ended_at) for cell in cells} == {("plain", None)}
    assert others == []


async def test_the_latest_tests_are_looked_at(
    database: DatabaseAddresses, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert MOST_TESTS >= TESTS
    await load(database.admin)
    monkeypatch.setattr("services.optimizer.store.segments.MOST_TESTS", 1)
    opened = await Database.open(database.optimizer, application_name="test")
    try:
        async with opened.transaction(readonly=True) as connection:
            cells = await list_test_cells(connection, "c1")
    finally:
        await opened.close()
    assert {cell.variant.test_id for cell in cells} == {"t1"}
