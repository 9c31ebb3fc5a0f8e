"""Statements of the versions of the conversion model."""

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from services.optimizer.domain.models.documents import (
    calibration_from_document,
    calibration_to_document,
    drift_from_document,
    drift_to_document,
    reference_from_document,
    reference_to_document,
)
from services.optimizer.domain.models.drift import Drift, Reference
from services.optimizer.domain.models.registry import ModelDetails, ModelSummary
from services.optimizer.domain.models.serving_parameters import from_document, to_document
from services.optimizer.domain.models.version import (
    CONVERSION_MODEL,
    Importance,
    ModelStatus,
    ModelVersion,
    Scores,
    TrainingData,
)
from services.optimizer.domain.response.calibration import Calibration
from services.optimizer.store.statements import STATEMENTS, Connection, Record, fetch_required


async def fetch_newest_version(connection: Connection) -> int:
    """Return the highest version the conversion model ever had, 0 for none."""
    row = await fetch_required(connection, "fetch_newest_version", CONVERSION_MODEL)
    return int(row["version"])


async def list_known_versions(connection: Connection) -> set[int]:
    """Return every version that the conversion model ever had."""
    return {
        row["version"]
        for row in await connection.fetch(STATEMENTS["list_known_versions"].sql, CONVERSION_MODEL)
    }


async def fetch_live_version(connection: Connection) -> int | None:
    """Return the live version's number."""
    row = await connection.fetchrow(STATEMENTS["fetch_live_version"].sql, CONVERSION_MODEL)
    return None if row is None else int(row["version"])


async def fetch_model(connection: Connection, version: int) -> ModelVersion | None:
    """Return one version of the conversion model."""
    row = await connection.fetchrow(STATEMENTS["fetch_model"].sql, CONVERSION_MODEL, version)
    if row is None:
        return None
    return _model_version(row, await _list_importances(connection, version))


async def fetch_model_details(connection: Connection, version: int) -> ModelDetails | None:
    """Return one version with all that was measured of it."""
    row = await connection.fetchrow(STATEMENTS["fetch_model_summary"].sql, CONVERSION_MODEL, version)
    if row is None:
        return None
    return ModelDetails(
        summary=_summary(row),
        calibration=_calibration(row),
        importances=await _list_importances(connection, version),
    )


async def list_models(
    connection: Connection, *, before: int, statuses: Sequence[ModelStatus], limit: int
) -> list[ModelSummary]:
    """Return at most `limit` versions before one, newest first; of any status where none is named."""
    words = [status.value for status in statuses]
    rows = await connection.fetch(STATEMENTS["list_models"].sql, CONVERSION_MODEL, before, words, limit)
    return [_summary(row) for row in rows]


async def fetch_last_retired_version(connection: Connection, other_than: int) -> int | None:
    """Return the version, but for one, that was live last before the one that is."""
    return await _fetch_retired(connection, other_than, restorable=False)


async def fetch_restorable_version(connection: Connection) -> int | None:
    """Return the version to go back to: the one live last, of those with files that nobody went back from."""
    return await _fetch_retired(connection, None, restorable=True)


async def fetch_model_reference(connection: Connection, version: int) -> Reference | None:
    """Return what the drift of a version is measured against; None for one from before it was kept."""
    row = await fetch_required(connection, "fetch_model_reference", CONVERSION_MODEL, version)
    return None if row["reference"] is None else reference_from_document(json.loads(row["reference"]))


async def note_removed_files(connection: Connection, versions: Sequence[int], now: datetime) -> None:
    """Keep that the files of some versions are gone."""
    await connection.execute(STATEMENTS["note_removed_files"].sql, CONVERSION_MODEL, versions, now)


async def upsert_model_drift(connection: Connection, drift: Drift) -> None:
    """Keep what the days before `drift.end_day` say of a version."""
    await connection.execute(
        STATEMENTS["upsert_model_drift"].sql,
        CONVERSION_MODEL,
        drift.version,
        drift.end_day,
        drift.measured_at,
        drift.verdict.value,
        json.dumps(drift_to_document(drift), allow_nan=False),
    )


async def fetch_model_drift(connection: Connection, version: int) -> Drift | None:
    """Return what was measured last of a version."""
    row = await connection.fetchrow(STATEMENTS["fetch_model_drift"].sql, CONVERSION_MODEL, version)
    return None if row is None else drift_from_document(json.loads(row["report"]))


async def insert_model(
    connection: Connection,
    model: ModelVersion,
    reference: Reference | None = None,
    *,
    training_id: UUID | None = None,
) -> None:
    """Keep a trained version with its feature importances, and what its drift is measured against.

    `training_id` is the training that made it, None where it was made by hand.
    """
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
        None if model.calibration is None else json.dumps(calibration_to_document(model.calibration)),
        None if reference is None else json.dumps(reference_to_document(reference), allow_nan=False),
        training_id,
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
    """Reject every candidate whose training does not run."""
    await connection.execute(STATEMENTS["reject_interrupted_models"].sql, CONVERSION_MODEL, reason, now)


async def reject_candidate_of(connection: Connection, training_id: UUID, reason: str, now: datetime) -> None:
    """Reject the candidate that a training made, if there is one."""
    await connection.execute(
        STATEMENTS["reject_candidate_of"].sql, CONVERSION_MODEL, reason, now, training_id
    )


async def retire_live_model(
    connection: Connection, reason: str, now: datetime, *, is_rolled_back: bool
) -> None:
    """Take the live version out of service, if there is one; `is_rolled_back`: for an earlier one."""
    await connection.execute(
        STATEMENTS["retire_live_model"].sql, CONVERSION_MODEL, reason, now, is_rolled_back
    )


async def put_model_live(
    connection: Connection, version: int, before: ModelStatus, reason: str, now: datetime
) -> bool:
    """Call a version live, if it still is in status `before`; return whether it was."""
    row = await connection.fetchrow(
        STATEMENTS["put_model_live"].sql, CONVERSION_MODEL, version, before.value, reason, now
    )
    return row is not None


async def update_model_status(
    connection: Connection, version: int, status: ModelStatus, reason: str, now: datetime
) -> None:
    """Set where a version stands."""
    await connection.execute(
        STATEMENTS["update_model_status"].sql, CONVERSION_MODEL, version, status.value, reason, now
    )


async def _fetch_retired(connection: Connection, other_than: int | None, *, restorable: bool) -> int | None:
    row = await connection.fetchrow(
        STATEMENTS["fetch_last_retired_version"].sql, CONVERSION_MODEL, other_than, restorable
    )
    return None if row is None else int(row["version"])


def _model_version(row: Record, importances: tuple[Importance, ...]) -> ModelVersion:
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
        importances=importances,
        calibration=_calibration(row),
    )


def _summary(row: Record) -> ModelSummary:
    return ModelSummary(
        version=row["version"],
        status=ModelStatus(row["status"]),
        status_reason=row["status_reason"],
        status_changed_at=row["status_changed_at"],
        code_version=row["code_version"],
        trained_at=row["trained_at"],
        training_seconds=row["training_seconds"],
        data=TrainingData(**{name: row[name] for name in TrainingData.__dataclass_fields__}),
        scores=Scores(**{name: row[name] for name in Scores.__dataclass_fields__}),
        parity_error=row["parity_error"],
        files_removed_at=row["files_removed_at"],
        is_rolled_back=row["is_rolled_back"],
    )


def _calibration(row: Record) -> Calibration | None:
    document = row["calibration"]
    return None if document is None else calibration_from_document(json.loads(document))


async def _list_importances(connection: Connection, version: int) -> tuple[Importance, ...]:
    rows = await connection.fetch(STATEMENTS["list_feature_importances"].sql, CONVERSION_MODEL, version)
    return tuple(
        Importance(
            feature_name=row["feature_name"],
            permutation=row["permutation_importance"],
            impurity=row["impurity_importance"],
        )
        for row in rows
    )
