"""Statements of which version was live when."""

from datetime import datetime
from uuid import UUID

from services.optimizer.domain.models.changes import ChangeKind, Going, ModelChange
from services.optimizer.domain.models.trainings import Note, TrainingCause
from services.optimizer.domain.models.version import CONVERSION_MODEL
from services.optimizer.store.statements import STATEMENTS, Connection, Record


async def insert_model_change(
    connection: Connection, going: Going, *, previous: int | None, version: int, now: datetime
) -> None:
    """Keep that a version went live; only for who holds the right to publish."""
    await connection.execute(
        STATEMENTS["insert_model_change"].sql,
        CONVERSION_MODEL,
        previous,
        version,
        going.kind.value,
        going.cause.value,
        going.note.actor,
        going.note.comment,
        going.reason,
        now,
        going.training_id,
    )


async def list_model_changes(connection: Connection, *, before: int, limit: int) -> list[ModelChange]:
    """Return at most `limit` changes with a number below `before`, the latest first."""
    rows = await connection.fetch(STATEMENTS["list_model_changes"].sql, CONVERSION_MODEL, before, limit)
    return [_change(row) for row in rows]


def _change(row: Record) -> ModelChange:
    training_id = row["training_id"]
    return ModelChange(
        number=row["change_number"],
        kind=ChangeKind(row["kind"]),
        cause=None if row["cause"] is None else TrainingCause(row["cause"]),
        note=Note(actor=row["actor"], comment=row["comment"]),
        reason=row["reason"],
        previous=row["from_version"],
        version=row["to_version"],
        changed_at=row["changed_at"],
        ended_at=row["ended_at"],
        training_id=None if training_id is None else UUID(str(training_id)),
        is_reconstructed=row["is_reconstructed"],
    )
