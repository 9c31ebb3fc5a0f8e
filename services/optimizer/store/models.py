"""Statements of the versions of the conversion model."""

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from services.optimizer.domain.model_version import (
    CONVERSION_MODEL,
    Importance,
    ModelStatus,
    ModelVersion,
    Scores,
    TrainingData,
)
from services.optimizer.domain.serving_parameters import from_document, to_document
from services.optimizer.store.statements import STATEMENTS, Connection, Record, fetch_required


async def fetch_newest_version(connection: Connection) -> int:
    """Return the highest version the conversion model ever had, 0 for none."""
    row = await fetch_required(connection, "fetch_newest_version", CONVERSION_MODEL)
    return int(row["version"])


async def fetch_live_version(connection: Connection) -> int | None:
    """Return the live version's number."""
    row = await connection.fetchrow(STATEMENTS["fetch_live_version"].sql, CONVERSION_MODEL)
    return None if row is None else int(row["version"])


async def fetch_model(connection: Connection, version: int) -> ModelVersion | None:
    """Return one version of the conversion model."""
    row = await connection.fetchrow(STATEMENTS["fetch_model"].sql, CONVERSION_MODEL, version)
    if row is None:
        return None
    importances = await connection.fetch(
        STATEMENTS["list_feature_importances"].sql, CONVERSION_MODEL, version
    )
    return _model_version(row, importances)


async def insert_model(connection: Connection, model: ModelVersion) -> None:
    """Keep a trained version with its feature importances."""
    data, scores = model.data, model.scores
    await connection.execute(
        STATEMENTS["insert_model"].sql,
        CONVERSION_MODEL,
        model.version,
        model.status.value,
        model.status_reason,
        model.trained_at,
        model.code_version,
        model.training_seconds,
        data.first_day,
        data.split_day,
        data.end_day,
        data.fitted_rows,
        data.held_out_rows,
        data.views,
        data.conversions,
        scores.r2_score,
        scores.mae,
        scores.response_r2_score,
        scores.global_mean_r2_score,
        scores.global_mean_mae,
        scores.type_mean_r2_score,
        scores.type_mean_mae,
        scores.noise_ceiling,
        scores.live_r2_score,
        model.parity_error,
        json.dumps(to_document(model.parameters), allow_nan=False),
    )
    await connection.execute(
        STATEMENTS["insert_feature_importances"].sql,
        CONVERSION_MODEL,
        model.version,
        [importance.feature_name for importance in model.importances],
        [importance.permutation for importance in model.importances],
        [importance.impurity for importance in model.importances],
    )


async def reject_interrupted_models(connection: Connection, reason: str, now: datetime) -> None:
    """Reject every candidate."""
    await connection.execute(STATEMENTS["reject_interrupted_models"].sql, CONVERSION_MODEL, reason, now)


async def retire_live_model(connection: Connection, reason: str, now: datetime) -> None:
    """Take the live version out of service, if there is one."""
    await connection.execute(STATEMENTS["retire_live_model"].sql, CONVERSION_MODEL, reason, now)


async def update_model_status(
    connection: Connection, version: int, status: ModelStatus, reason: str, now: datetime
) -> None:
    """Set where a version stands."""
    await connection.execute(
        STATEMENTS["update_model_status"].sql, CONVERSION_MODEL, version, status.value, reason, now
    )


def _model_version(row: Record, importances: Sequence[Record]) -> ModelVersion:
    document: dict[str, Any] = json.loads(row["serving_parameters"])
    return ModelVersion(
        version=row["version"],
        status=ModelStatus(row["status"]),
        status_reason=row["status_reason"],
        code_version=row["code_version"],
        trained_at=row["trained_at"],
        training_seconds=row["training_seconds"],
        data=TrainingData(**{name: row[name] for name in TrainingData.__dataclass_fields__}),
        scores=Scores(**{name: row[name] for name in Scores.__dataclass_fields__}),
        parity_error=row["parity_error"],
        parameters=from_document(document),
        importances=tuple(
            Importance(
                feature_name=entry["feature_name"],
                permutation=entry["permutation_importance"],
                impurity=entry["impurity_importance"],
            )
            for entry in importances
        ),
    )
