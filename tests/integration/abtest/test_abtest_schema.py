"""abtest's schema: the readable whole equals the migrations, and statements use their indexes."""

from pathlib import Path

import asyncpg
import pytest

from deploy.local.bootstrap import DatabaseAddresses
from deploy.local.postgres import Cluster
from services.common.statements import load_statements
from tests.plans import explain
from tests.schema_files import dump_schema_file, dump_schemas

SQL = Path(__file__).resolve().parents[3] / "services/abtest/sql"
STATEMENTS = load_statements("services.abtest")


async def run_sql(url: str, text: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(text)
    finally:
        await connection.close()


async def test_the_schema_file_equals_the_migrations(
    database: DatabaseAddresses, postgres_server: Cluster
) -> None:
    from_file = await dump_schema_file(postgres_server, "abtest")
    assert "CREATE TABLE abtest.ab_test_assignments" in from_file
    assert from_file == dump_schemas(database.admin, "abtest")


async def test_migrations_can_be_taken_back(database: DatabaseAddresses) -> None:
    for path in sorted((SQL / "migrations").glob("*.sql"), reverse=True):
        await run_sql(database.admin, path.read_text(encoding="utf-8").split("-- migrate:down")[1])
    left = dump_schemas(database.admin, "abtest")
    assert "CREATE TABLE" not in left
    assert "CREATE VIEW" not in left


@pytest.mark.parametrize("name", sorted(STATEMENTS))
async def test_every_statement_is_valid_for_the_services_role(database: DatabaseAddresses, name: str) -> None:
    connection = await asyncpg.connect(database.abtest)
    try:
        await connection.prepare(STATEMENTS[name].sql)
    finally:
        await connection.close()


@pytest.mark.parametrize(
    ("name", "arguments", "index"),
    [
        ("list_assignments", "array['t'], array['u']", "ab_test_assignments_pkey"),
        ("list_group_users", "'t'", "ab_test_group_counters_pkey"),
        ("list_tests", "now(), 't', 10, '{1,2}', null, null, null, null, null, null", "ab_tests_created_idx"),
        ("fetch_request", "'r'", "ab_tests_request_id_key"),
        ("list_final_results", "array['t']", "ab_test_results_final_key"),
        ("list_epoch_users", "'t'", "ab_test_group_counters_pkey"),
        (
            "list_converting_users",
            "'t', array['c'], now(), null, null, false, 4::smallint",
            "events_campaign_time_idx",
        ),
        (
            "list_converting_users",
            "'t', array['c'], now(), null, null, false, 4::smallint",
            "ab_test_assignments_pkey",
        ),
        (
            "list_amounts",
            "'t', array['c'], now(), null, null, false, 100::smallint, null, null, null, null, null, null",
            "events_refund_counted_idx",
        ),
        ("list_results", "'t', 5, 10", "ab_test_results_pkey"),
        ("list_looks", "'t'", "ab_test_looks_pkey"),
    ],
)
async def test_hot_statements_use_their_index(
    database: DatabaseAddresses, name: str, arguments: str, index: str
) -> None:
    assert index in await explain(database.abtest, STATEMENTS[name].sql, arguments)


async def test_a_test_keeps_one_final_result(database: DatabaseAddresses) -> None:
    connection = await asyncpg.connect(database.abtest)
    result = (
        "insert into ab_test_results (test_id, result_number, is_final, analyzed_at, verdict, recommendation,"
        " reasons, warnings) values ('t', $1, true, now(), 2, '', '{}', '{}')"
    )
    try:
        await connection.execute(
            "insert into ab_tests (test_id, test_name, status, decision_method, target_sample_size,"
            " confidence_level, hash_seed, current_epoch, created_at, started_at)"
            " values ('t', 't', 1, 1, 10, 0.95, 's', 1, now(), now())"
        )
        await connection.execute(result, 1)
        with pytest.raises(asyncpg.UniqueViolationError, match="ab_test_results_final_key"):
            await connection.execute(result, 2)
    finally:
        await connection.close()
