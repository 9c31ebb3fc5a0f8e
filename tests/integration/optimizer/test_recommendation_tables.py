"""Tables of recommendations: what they refuse, which indexes their statements use, and the way back."""

import re

import asyncpg
import pytest

from deploy.local.bootstrap import DatabaseAddresses
from services.common.statements import load_statements
from tests.plans import explain

STATEMENTS = load_statements("services.optimizer")
ID = "'7d1c5a52-6c3e-4a0e-9d0a-6f3f0a0b0c0d'::uuid"
COLUMNS = (
    "optimization_id, campaign_id, optimization_type, status, recommendation, evidence, created_at,"
    " expires_at"
)


async def insert(connection: asyncpg.Connection, status: str, kind: str = "channel") -> None:
    await connection.execute(
        f"insert into campaign_optimizations ({COLUMNS})"
        " values (gen_random_uuid(), 'c', $1, $2, '{}', '{}', now(), now() + interval '1 day')",
        kind,
        status,
    )


@pytest.mark.parametrize(
    ("name", "arguments", "index"),
    [
        ("list_current_optimizations", ["'c'"], "campaign_optimizations_current_key"),
        ("list_closed_optimizations", ["'c'", "now()"], "campaign_optimizations_campaign_idx"),
        ("list_expired_optimizations", ["now()", "10"], "campaign_optimizations_expiry_idx"),
        ("lock_current_optimizations", ["'c'"], "campaign_optimizations_current_key"),
        ("lock_optimization", [ID], "campaign_optimizations_pkey"),
        ("list_optimization_decisions", [ID], "campaign_optimization_decisions_pkey"),
        ("list_unmeasured_optimizations", ["10", "now()"], "campaign_optimizations_unmeasured_idx"),
        ("note_measured_optimization", [ID, "now()", "true"], "campaign_optimizations_pkey"),
        ("delete_closed_optimizations", ["now()", "now()", "10"], "campaign_optimizations_closed_idx"),
        ("delete_outdated_verdicts", ["now()", "10"], "campaign_optimization_verdicts_judged_idx"),
        ("list_verdicts", ["'c'", "'k'"], "campaign_optimization_verdicts_pkey"),
        ("delete_ended_trainings", ["now()", "10"], "trainings_started_idx"),
        ("list_offer_outcomes", ["now()", ID, "10"], "offer_optimization_history_applied_idx"),
        (
            "list_campaign_offer_outcomes",
            ["'c'", "now()", ID, "10"],
            "offer_optimization_history_campaign_idx",
        ),
        ("list_reached_users", ["'c'", "1", "now()", "now()", "10"], "events_campaign_time_idx"),
        (
            "list_campaign_days",
            ["'c'", "'2026-01-01'", "'2026-02-01'", "null"],
            "campaign_delivery_daily_pkey",
        ),
        (
            "list_logged_decisions",
            ["array['c']", "now()", "now()", "interval '1 day'", "'UTC'", "10"],
            "events_campaign_time_idx",
        ),
        ("list_test_cells", ["'c'", "20"], "ab_test_assignments_pkey"),
        ("list_drawn_cells", ["'c'", "now()", "now()", "'UTC'"], "events_campaign_time_idx"),
        (
            "list_offer_moments",
            [
                *("'c'", "now()", "now()", "interval '1 day'", "'UTC'", "array['v']"),
                *("array['2026-01-01'::date]", "array[5000000]", "array[true]"),
            ],
            "events_campaign_time_idx",
        ),
    ],
)
async def test_statements_use_their_index(
    database: DatabaseAddresses, name: str, arguments: list[str], index: str
) -> None:
    assert index in await explain(database.optimizer, STATEMENTS[name].sql, ", ".join(arguments))


@pytest.mark.parametrize(
    "name",
    [
        *("list_earning_moments", "list_offer_viewers", "list_segment_sums"),
        *("list_merchant_revenue", "fetch_typical_history", "list_campaign_revenue"),
    ],
)
async def test_days_are_read_of_the_campaigns_that_are_asked_about(
    database: DatabaseAddresses, name: str
) -> None:
    """Joined, the view of days is added up whole: nine seconds for 5,000 campaigns of 90 days."""
    plan = await explain(database.optimizer, STATEMENTS[name].sql)
    assert re.search(r"campaign_delivery_daily_pkey.*\n\s+Index Cond: \(+campaign_id = ", plan), plan


async def test_no_campaign_has_two_of_a_type_that_wait(database: DatabaseAddresses) -> None:
    connection = await asyncpg.connect(database.optimizer)
    try:
        await insert(connection, "accepted")
        await insert(connection, "open", "segment")
        await insert(connection, "dismissed")
        with pytest.raises(asyncpg.UniqueViolationError, match="campaign_optimizations_current_key"):
            await insert(connection, "open")
        with pytest.raises(asyncpg.CheckViolationError, match="campaign_optimizations_applied_has_time"):
            await insert(connection, "applied")
    finally:
        await connection.close()


async def test_the_log_of_decisions_is_only_added_to(database: DatabaseAddresses) -> None:
    connection = await asyncpg.connect(database.optimizer)
    try:
        for statement in (
            "update campaign_optimization_decisions set actor = 'x'",
            "delete from campaign_optimization_decisions",
        ):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await connection.execute(statement)
    finally:
        await connection.close()


async def test_neighbours_read_outcomes_through_the_published_view(database: DatabaseAddresses) -> None:
    connection = await asyncpg.connect(database.abtest)
    try:
        statement = await connection.prepare("select * from optimizer_v1.offer_outcomes")
        assert "relative_lift" in [column.name for column in statement.get_attributes()]
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.execute("select from optimizer.offer_optimization_history")
    finally:
        await connection.close()
