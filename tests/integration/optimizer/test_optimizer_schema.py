"""The optimizer's schema: the readable whole equals the migrations, and statements use their indexes."""

import asyncpg
import pytest

from deploy.local.bootstrap import DatabaseAddresses
from deploy.local.postgres import Cluster
from services.common.statements import load_statements
from tests.plans import explain
from tests.schema_files import dump_schema_file, dump_schemas

STATEMENTS = load_statements("services.optimizer")


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
