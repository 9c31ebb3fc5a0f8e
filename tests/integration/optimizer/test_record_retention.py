"""What is forgotten after a while, in bounded batches, and what never is."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import nullcontext
from datetime import datetime, timedelta

import asyncpg
import pytest
from pydantic import ValidationError

from deploy.local.bootstrap import DatabaseAddresses
from services.common.database import Database
from services.optimizer.domain.recommendations.recommendations import RecommendationType, Withheld
from services.optimizer.operations import retention
from services.optimizer.operations.retention import RecordKeeper
from services.optimizer.settings import OptimizerSettings
from services.optimizer.store import retention as store
from services.optimizer.store.training import fetch_last_judged_day
from services.optimizer.store.verdicts import upsert_verdict
from tests.contract.optimizer.harness import NOON

DAY = timedelta(days=1)
KEPT = 400 * DAY
LONG_AGO = NOON - KEPT - DAY
LATELY = NOON - KEPT + DAY


@pytest.fixture
async def pool(database: DatabaseAddresses) -> AsyncIterator[Database]:
    opened = await Database.open(database.optimizer, application_name="test", max_size=4)
    try:
        yield opened
    finally:
        await opened.close()


@pytest.fixture
async def admin(database: DatabaseAddresses) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(database.admin)
    await connection.execute("set search_path = optimizer")
    try:
        yield connection
    finally:
        await connection.close()


async def insert_recommendation(  # noqa: PLR0917 (what decides whether it is forgotten)
    admin: asyncpg.Connection,
    campaign_id: str,
    status: str,
    closed_at: datetime | None,
    expires_at: datetime | None = None,
    outcome: bool | None = None,
) -> None:
    """A recommendation with one decision; `outcome` is whether the one kept is final (None: none is kept)."""
    closing = closed_at or LONG_AGO
    made = await admin.fetchval(
        "insert into campaign_optimizations (optimization_id, campaign_id, optimization_type, status,"
        " recommendation, evidence, created_at, expires_at, decided_at, applied_at, is_outcome_final)"
        " values (gen_random_uuid(), $1, 'channel', $2, '{}', '{}', $3, $4, $5, $5, $6)"
        " returning optimization_id",
        campaign_id,
        status,
        closing - 14 * DAY,
        expires_at or closing + 14 * DAY,
        closed_at,
        status == "applied" and outcome is not False,
    )
    await admin.execute(
        "insert into campaign_optimization_decisions values ($1, 1, 'create', 'ann', '', $2)", made, closing
    )
    if outcome is not None:
        await admin.execute(
            "insert into offer_optimization_history (history_id, campaign_id, optimization_id, source,"
            " source_id, observed_views, observed_conversions, applied_at, measured_at, is_final)"
            " values (gen_random_uuid(), $1, $2::uuid, 'recommendation', $2::uuid::text, 10, 1, $3, $3, $4)",
            campaign_id,
            made,
            closing,
            outcome,
        )


async def campaigns(admin: asyncpg.Connection) -> set[str]:
    rows = await admin.fetch("select campaign_id from campaign_optimizations")
    return {row["campaign_id"] for row in rows}


async def test_nothing_open_or_unmeasured_is_forgotten(pool: Database, admin: asyncpg.Connection) -> None:
    for status in ("dismissed", "expired", "superseded"):
        await insert_recommendation(admin, f"old {status}", status, LONG_AGO)
        await insert_recommendation(admin, f"young {status}", status, LATELY)
    await insert_recommendation(admin, "still keeps away", "dismissed", LONG_AGO, NOON + DAY)
    await insert_recommendation(admin, "old open", "open", None)
    await insert_recommendation(admin, "old accepted", "accepted", LONG_AGO)
    await insert_recommendation(admin, "old measured", "applied", LONG_AGO, outcome=True)
    await insert_recommendation(admin, "young measured", "applied", LATELY, outcome=True)
    await insert_recommendation(admin, "being measured", "applied", LONG_AGO, outcome=False)
    await insert_recommendation(admin, "outcome lost", "applied", LONG_AGO)
    said = await RecordKeeper(pool, kept=KEPT, now=lambda: NOON).forget()
    assert said == "4 recommendations forgotten"
    assert await campaigns(admin) == {
        *("young dismissed", "young expired", "young superseded", "still keeps away"),
        *("old open", "old accepted", "young measured", "being measured", "outcome lost"),
    }
    assert await admin.fetchval("select count(*) from campaign_optimization_decisions") == 9
    outcomes = await admin.fetch(
        "select campaign_id, optimization_id is null as is_alone, source_id, observed_views"
        " from offer_optimization_history"
    )
    assert {row["campaign_id"]: row["is_alone"] for row in outcomes} == {
        "old measured": True,
        "young measured": False,
        "being measured": False,
    }
    assert all(row["source_id"] and row["observed_views"] == 10 for row in outcomes)


async def test_much_is_forgotten_a_little_at_a_time_and_once(
    pool: Database, admin: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "AT_ONCE", 3)
    for place in range(20):
        await insert_recommendation(admin, f"c{place}", "expired", LONG_AGO - place * DAY)
    keeper = RecordKeeper(pool, kept=KEPT, now=lambda: NOON)
    said = await asyncio.gather(keeper.forget(), keeper.forget())
    counts = [int(each.split()[0]) if each[0].isdigit() else 0 for each in said]
    assert sum(counts) == 20
    assert await campaigns(admin) == set()


async def insert_trainings(admin: asyncpg.Connection) -> None:
    for state, began, end_day in (
        ("promoted", LONG_AGO, "2025-10-01"),
        ("rejected", LONG_AGO - DAY, "2025-09-30"),
        ("failed", LONG_AGO, "2025-10-02"),
        ("running", LONG_AGO, "2025-10-02"),
        ("refused", LATELY, "2025-10-03"),
    ):
        await admin.execute(
            "insert into trainings (training_id, state, cause, actor, comment, end_day, stage, progress,"
            " started_at, heartbeat_at, ended_at) values"
            " (gen_random_uuid(), $1, 'daily', '', '', $2::text::date, 'start', 0, $3::timestamptz,"
            " $3::timestamptz, case when $1 = 'running' then null else $3::timestamptz end)",
            state,
            end_day,
            began,
        )


async def insert_version(admin: asyncpg.Connection, version: int) -> None:
    await admin.execute(
        "insert into ml_models (model_name, version, status, status_reason, status_changed_at, code_version,"
        " trained_at, training_seconds, first_day, split_day, end_day, fitted_rows, held_out_rows, views,"
        " conversions, mae, global_mean_mae, type_mean_mae, parity_error, serving_parameters) values"
        " ('conversion', $2, 'rejected', '', $1, 'c', $1, 1, '2025-01-01', '2025-02-01', '2025-03-01', 1, 1,"
        " 1, 1, 0, 0, 0, 0, '{}')",
        LONG_AGO,
        version,
    )


async def insert_drift(admin: asyncpg.Connection, version: int, end_day: str, measured_at: datetime) -> None:
    await admin.execute(
        "insert into model_drift values ('conversion', $1, $2::text::date, $3, 'stable', '{}')",
        version,
        end_day,
        measured_at,
    )


async def insert_fits(admin: asyncpg.Connection) -> None:
    for version, status in enumerate(("retired", "live", "rejected", "rejected"), start=1):
        await admin.execute(
            "insert into affinity_models (version, status, status_reason, fitted_at, end_day, users, visits,"
            " log_loss, frequency_log_loss, calibration_error, parameters) values"
            " ($1, $2, '', $3, '2025-10-01', 1, 1, 0, 0, 0, '{}')",
            version,
            status,
            LONG_AGO,
        )


async def insert_verdicts(admin: asyncpg.Connection) -> None:
    await admin.execute(
        "insert into campaign_optimization_verdicts select 'c' || d, 'channel', 'k', 'NO_BETTER_CHOICE', '',"
        " $1::timestamptz - d * interval '1 day' from generate_series(0, 4) d",
        NOON,
    )


async def test_the_last_training_that_learned_is_kept(pool: Database, admin: asyncpg.Connection) -> None:
    await insert_trainings(admin)
    assert await RecordKeeper(pool, kept=KEPT, now=lambda: NOON).forget() == "2 trainings forgotten"
    rows = await admin.fetch("select state from trainings")
    assert {row["state"] for row in rows} == {"promoted", "running", "refused"}
    async with pool.acquire() as connection:
        assert str(await fetch_last_judged_day(connection)) == "2025-10-01"


async def test_what_was_measured_of_old_versions_goes_and_the_last_of_each_stays(
    pool: Database, admin: asyncpg.Connection
) -> None:
    for version in (1, 2):
        await insert_version(admin, version)
    for version, end_day, measured_at in (
        (1, "2025-10-01", LONG_AGO - DAY),
        (1, "2025-10-02", LONG_AGO),
        (2, "2025-10-02", LONG_AGO),
        (2, "2025-10-20", LATELY),
    ):
        await insert_drift(admin, version, end_day, measured_at)
    assert await RecordKeeper(pool, kept=KEPT, now=lambda: NOON).forget() == "2 measures of drift forgotten"
    rows = await admin.fetch("select version, end_day::text from model_drift order by version")
    assert [tuple(row) for row in rows] == [(1, "2025-10-02"), (2, "2025-10-20")]


async def test_no_number_of_a_fit_comes_again(pool: Database, admin: asyncpg.Connection) -> None:
    await insert_fits(admin)
    assert await RecordKeeper(pool, kept=KEPT, now=lambda: NOON).forget() == "2 fits of affinities forgotten"
    rows = await admin.fetch("select version from affinity_models order by version")
    assert [row["version"] for row in rows] == [2, 4]


async def test_verdicts_of_past_days_are_forgotten(pool: Database, admin: asyncpg.Connection) -> None:
    await insert_verdicts(admin)
    assert await RecordKeeper(pool, kept=KEPT, now=lambda: NOON).forget() == "2 verdicts forgotten"
    rows = await admin.fetch("select campaign_id from campaign_optimization_verdicts")
    assert {row["campaign_id"] for row in rows} == {"c0", "c1", "c2"}


async def test_a_run_skips_what_another_is_at(pool: Database, admin: asyncpg.Connection) -> None:
    """The other has deleted a row of each table and not committed: a run that waited would never end."""
    await insert_recommendation(admin, "c", "expired", LONG_AGO)
    await insert_trainings(admin)
    await insert_version(admin, 1)
    for end_day in ("2025-10-01", "2025-10-02", "2025-10-03"):
        await insert_drift(admin, 1, end_day, LONG_AGO)
    await insert_fits(admin)
    await insert_verdicts(admin)
    async with pool.transaction() as other:
        held = [
            await store.delete_closed_recommendations(other, NOON - KEPT, NOON, 1),
            await store.delete_verdicts(other, NOON - 2 * DAY, 1),
            await store.delete_trainings(other, NOON - KEPT, 1),
            await store.delete_drift(other, NOON - KEPT, 1),
            await store.delete_affinity_models(other, NOON - KEPT, 1),
        ]
        said = await asyncio.wait_for(RecordKeeper(pool, kept=KEPT, now=lambda: NOON).forget(), 60)
    assert held == [1, 1, 1, 1, 1]
    assert said == ("1 verdicts, 1 trainings, 1 measures of drift, 1 fits of affinities forgotten")


async def test_forgetting_verdicts_collides_with_no_recommending(
    pool: Database, admin: asyncpg.Connection
) -> None:
    """A request judges again two types of a campaign whose verdicts are to go, and is between them."""
    kinds = (RecommendationType.CHANNEL, RecommendationType.OFFER_AMOUNT)
    for kind in kinds:
        await admin.execute(
            "insert into campaign_optimization_verdicts values ('c', $1, 'k', 'NO_BETTER_CHOICE', '', $2)",
            kind.value,
            NOON - 5 * DAY,
        )
    keeper = RecordKeeper(pool, kept=KEPT, now=lambda: NOON)
    first, second = (Withheld(type=kind, reason="NO_BETTER_CHOICE", message="") for kind in reversed(kinds))
    async with pool.transaction() as request:
        await upsert_verdict(request, "c", "new", first, NOON)
        said = await asyncio.wait_for(keeper.forget(), 60)
        await upsert_verdict(request, "c", "new", second, NOON)
    assert said == "1 verdicts forgotten"
    assert await admin.fetchval("select count(*) from campaign_optimization_verdicts") == 2
    assert await keeper.forget() == "nothing to forget"


@pytest.mark.parametrize(("days", "is_allowed"), [(59, False), (60, True), (36_500, True), (36_501, False)])
def test_records_are_kept_for_as_long_as_their_outcomes_take(days: float, is_allowed: bool) -> None:
    with nullcontext() if is_allowed else pytest.raises(ValidationError, match="record_retention_days"):
        assert OptimizerSettings(database_url="x", record_retention_days=days).record_retention_days == days
