"""The optimizer's schema: the readable whole equals the migrations, and statements use their indexes."""

from pathlib import Path

import asyncpg
import pytest

from deploy.local.bootstrap import DatabaseAddresses
from deploy.local.postgres import Cluster
from services.common.statements import load_statements
from tests.plans import explain
from tests.schema_files import dump_schema_file, dump_schemas

STATEMENTS = load_statements("services.optimizer")
MIGRATIONS = Path(__file__).resolve().parents[3] / "services" / "optimizer" / "sql" / "migrations"


async def test_the_schema_file_equals_the_migrations(
    database: DatabaseAddresses, postgres_server: Cluster
) -> None:
    from_file = await dump_schema_file(postgres_server, "optimizer")
    assert "CREATE TABLE optimizer.ml_models" in from_file
    assert from_file == dump_schemas(database.admin, "optimizer")


@pytest.mark.parametrize("name", sorted(STATEMENTS))
async def test_every_statement_is_valid_for_the_services_role(database: DatabaseAddresses, name: str) -> None:
    connection = await asyncpg.connect(database.optimizer)
    try:
        await connection.prepare(STATEMENTS[name].sql)
    finally:
        await connection.close()


@pytest.mark.parametrize(
    ("name", "index"),
    [
        ("fetch_live_version", "ml_models_one_live_idx"),
        ("reject_interrupted_models", "ml_models_candidate_idx"),
        ("fetch_model", "ml_models_pkey"),
        ("list_feature_importances", "model_feature_importance_pkey"),
        ("reject_candidate_of", "ml_models_candidate_idx"),
        ("list_campaign_audiences", "campaign_audiences_pkey"),
        ("lock_running_training", "trainings_"),
    ],
)
async def test_hot_statements_use_their_index(database: DatabaseAddresses, name: str, index: str) -> None:
    assert index in await explain(database.optimizer, STATEMENTS[name].sql)


async def test_two_versions_are_never_live(database: DatabaseAddresses) -> None:
    connection = await asyncpg.connect(database.optimizer)
    columns = (
        "model_name, version, status, status_reason, status_changed_at, code_version, trained_at,"
        " training_seconds, first_day, split_day, end_day, fitted_rows, held_out_rows, views, conversions,"
        " mae, global_mean_mae, type_mean_mae, parity_error, serving_parameters"
    )
    values = (
        "'conversion', $1, 'live', '', now(), 'c', now(), 1, '2026-01-01', '2026-02-01', '2026-03-01',"
        " 1, 1, 1, 1, 0, 0, 0, 0, '{}'"
    )
    try:
        await connection.execute(f"insert into ml_models ({columns}) values ({values})", 1)
        with pytest.raises(asyncpg.UniqueViolationError, match="ml_models_one_live_idx"):
            await connection.execute(f"insert into ml_models ({columns}) values ({values})", 2)
    finally:
        await connection.close()


async def test_migrations_can_be_taken_back(database: DatabaseAddresses) -> None:
    connection = await asyncpg.connect(database.admin)
    try:
        for path in sorted(MIGRATIONS.glob("*.sql"), reverse=True):
            await connection.execute(path.read_text(encoding="utf-8").split("-- migrate:down")[1])
    finally:
        await connection.close()
    left = dump_schemas(database.admin, "optimizer")
    assert "CREATE TABLE" not in left
    assert "CREATE VIEW" not in left


async def test_outcomes_that_were_final_stay_so(database: DatabaseAddresses) -> None:
    """What was applied before outcomes were told apart is measured on, or not, as its outcome says."""
    (path,) = MIGRATIONS.glob("0014_*.sql")
    up, down = path.read_text(encoding="utf-8").split("-- migrate:down")
    connection = await asyncpg.connect(database.admin)
    try:
        await connection.execute(down)
        await connection.execute("set search_path = optimizer")
        for campaign, is_final in (("final", True), ("under way", False), ("new", None)):
            made = await connection.fetchval(
                "insert into campaign_optimizations (optimization_id, campaign_id, optimization_type, status,"
                " recommendation, evidence, created_at, expires_at, decided_at, applied_at) values"
                " (gen_random_uuid(), $1, 'channel', 'applied', '{}', '{}', now(), 'infinity', now(), now())"
                " returning optimization_id",
                campaign,
            )
            if is_final is not None:
                await connection.execute(
                    "insert into offer_optimization_history (history_id, campaign_id, optimization_id,"
                    " source, source_id, observed_views, observed_conversions, applied_at, measured_at,"
                    " is_final) values (gen_random_uuid(), $1, $2::uuid, 'recommendation', $2::uuid::text, 1,"
                    " 0, now(), now(), $3)",
                    campaign,
                    made,
                    is_final,
                )
        await connection.execute(up)
        rows = await connection.fetch(
            "select campaign_id, is_outcome_final, outcome_measured_at is null as is_unseen"
            " from campaign_optimizations"
        )
    finally:
        await connection.close()
    assert {tuple(row) for row in rows} == {
        ("final", True, False),
        ("under way", False, False),
        ("new", False, True),
    }
