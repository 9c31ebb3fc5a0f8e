"""The three services' schemas side by side, as an administrator, a reporter and each service see them."""

import subprocess

import asyncpg
import pytest

from deploy.local.bootstrap import DatabaseAddresses
from deploy.local.postgres import find_binaries

TWELVE_TABLES = {
    "campaign_analytics_daily",
    "campaign_segment_analytics",
    "campaign_trend_data",
    "ab_tests",
    "ab_test_assignments",
    "ab_test_results",
    "ml_models",
    "model_feature_importance",
    "campaign_optimizations",
    "offer_optimization_history",
    "user_optimal_send_times",
    "user_merchant_affinity",
}
SCHEMAS = ("analytics", "abtest", "optimizer")


def tables_by_backslash_dt(url: str) -> set[tuple[str, str]]:
    """Return (schema, table) of a plain `\\dt` in psql."""
    psql = find_binaries() / "psql"
    command = [str(psql), "--no-psqlrc", "--csv", "--command", r"\dt", url]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    rows = [line.split(",") for line in result.stdout.splitlines()[1:]]
    return {(row[0], row[1]) for row in rows}


@pytest.mark.parametrize("role", ["admin", "reporting"])
def test_a_plain_listing_shows_the_twelve_tables(database: DatabaseAddresses, role: str) -> None:
    listed = [table for _, table in tables_by_backslash_dt(getattr(database, role))]
    assert set(listed) >= TWELVE_TABLES
    assert len(listed) == len(set(listed))


@pytest.mark.parametrize("service", SCHEMAS)
def test_a_services_role_sees_its_own_schema(database: DatabaseAddresses, service: str) -> None:
    listed = tables_by_backslash_dt(getattr(database, service))
    assert listed
    assert {schema for schema, _ in listed} == {service}


@pytest.mark.parametrize("service", SCHEMAS)
async def test_a_services_role_may_not_touch_a_neighbours_tables(
    database: DatabaseAddresses, service: str
) -> None:
    admin = await asyncpg.connect(database.admin)
    own = await asyncpg.connect(getattr(database, service))
    try:
        tables = await admin.fetch(
            "select schemaname as schema, tablename as name from pg_tables where schemaname = any($1)",
            [schema for schema in SCHEMAS if schema != service],
        )
        assert tables
        for table in tables:
            for statement in ("select 1 from {} limit 1", "delete from {}"):
                with pytest.raises(asyncpg.InsufficientPrivilegeError):
                    await own.execute(statement.format(f"{table['schema']}.{table['name']}"))
    finally:
        await own.close()
        await admin.close()


async def test_the_reporting_role_reads_everything_and_writes_nothing(database: DatabaseAddresses) -> None:
    connection = await asyncpg.connect(database.reporting)
    try:
        for _, table in tables_by_backslash_dt(database.reporting):
            await connection.fetch(f"select * from {table} limit 1")
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await connection.execute(f"delete from {table}")
    finally:
        await connection.close()


async def test_there_are_two_performance_views_and_fifteen_named_indexes(database: DatabaseAddresses) -> None:
    connection = await asyncpg.connect(database.admin)
    try:
        views = await connection.fetch("select viewname from pg_views where schemaname = any($1)", SCHEMAS)
        indexes = await connection.fetch(
            "select indexname from pg_indexes where schemaname = any($1)", SCHEMAS
        )
    finally:
        await connection.close()
    assert {"campaign_performance", "portfolio_performance_daily"} <= {row["viewname"] for row in views}
    assert len(indexes) >= 15


async def test_scale_out_keys_are_in_every_unique_constraint(database: DatabaseAddresses) -> None:
    """Per-user tables are to be distributed by user_id, rollups by campaign_id: their keys must hold it."""
    distributed = {
        "events": "user_id",
        "ab_test_assignments": "user_id",
        "user_optimal_send_times": "user_id",
        "user_merchant_affinity": "user_id",
        "campaign_analytics_daily": "campaign_id",
        "campaign_trend_data": "campaign_id",
        "campaign_segment_analytics": "campaign_id",
    }
    connection = await asyncpg.connect(database.admin)
    try:
        rows = await connection.fetch(
            "select c.relname as name, array_agg(a.attname::text) as columns"
            " from pg_index i join pg_class c on c.oid = i.indrelid"
            " join pg_attribute a on a.attrelid = c.oid and a.attnum = any(i.indkey)"
            " where i.indisunique and c.relname = any($1) group by c.relname, i.indexrelid",
            list(distributed),
        )
        triggers = await connection.fetchval(
            "select count(*) from pg_trigger where not tgisinternal and tgrelid::regclass::text = any($1)",
            list(distributed),
        )
    finally:
        await connection.close()
    assert {row["name"] for row in rows} == set(distributed)
    for row in rows:
        assert distributed[row["name"]] in row["columns"], row["name"]
    assert triggers == 0
