"""Statements of trainings."""

from collections.abc import Sequence
from datetime import date, datetime
from typing import Final
from uuid import UUID

from asyncpg import LockNotAvailableError

from services.common.errors import AbortedError
from services.optimizer.domain.models.training_progress import TrainingProgress
from services.optimizer.domain.models.trainings import (
    Ending,
    Heartbeat,
    Note,
    Training,
    TrainingCause,
    TrainingOrder,
    TrainingState,
)
from services.optimizer.domain.models.version import CONVERSION_MODEL
from services.optimizer.store.statements import STATEMENTS, Connection, Record, fetch_required

PUBLICATION_SECONDS: Final = 5.0
"""How long a request waits for the right to publish: longer than a version takes to load, mostly."""


async def try_lock_training(connection: Connection) -> bool:
    """Return whether this transaction may train; the right ends with it."""
    row = await fetch_required(connection, "try_lock_training")
    return bool(row["locked"])


async def lock_publication(connection: Connection, seconds: float | None = None) -> None:
    """Wait until this transaction may change which version is live; the right ends with it.

    It waits for `seconds`, None for those of a request (`PUBLICATION_SECONDS`), and for as long at most for
    any other lock from then on.

    Raises:
        AbortedError: CONCURRENT_UPDATE; somebody else had the right for all these seconds.
    """
    milliseconds = int((PUBLICATION_SECONDS if seconds is None else seconds) * 1000)
    await connection.execute(STATEMENTS["limit_lock_waits"].sql, str(milliseconds))
    try:
        await connection.execute(STATEMENTS["lock_publication"].sql)
    except LockNotAvailableError as error:
        raise AbortedError(
            "the model server is being told of another version just now, by another request, job or replica;"
            " see which version is live then (ListModels), and ask again if need be",
            reason="CONCURRENT_UPDATE",
        ) from error


async def insert_training(
    connection: Connection, training_id: UUID, order: TrainingOrder, end_day: date, now: datetime
) -> None:
    """Keep that a training begins."""
    await connection.execute(
        STATEMENTS["insert_training"].sql,
        training_id,
        order.cause.value,
        order.note.actor,
        order.note.comment,
        end_day,
        now,
    )


async def fail_lost_trainings(connection: Connection, now: datetime, message: str) -> None:
    """End what seems to run; only for who holds the right to train."""
    await connection.execute(STATEMENTS["fail_lost_trainings"].sql, now, message)


async def keep_training(
    connection: Connection, training_id: UUID, progress: TrainingProgress, now: datetime
) -> Heartbeat | None:
    """Keep how far a running training is; None where it does not run (any more)."""
    row = await connection.fetchrow(
        STATEMENTS["keep_training"].sql, training_id, progress.stage, progress.fraction, now
    )
    if row is None:
        return None
    if row["cancel_requested_at"] is None:
        return Heartbeat()
    return Heartbeat(cancelled=Note(actor=row["cancel_actor"], comment=row["cancel_comment"]))


async def lock_running_training(connection: Connection, training_id: UUID) -> bool:
    """Return whether a training runs; if so, nobody ends it before this transaction does."""
    return await connection.fetchrow(STATEMENTS["lock_running_training"].sql, training_id) is not None


async def end_training(connection: Connection, training_id: UUID, ending: Ending, now: datetime) -> bool:
    """Keep what came of a training; one that has ended stays as it is, and False is returned."""
    row = await connection.fetchrow(
        STATEMENTS["end_training"].sql,
        training_id,
        ending.state.value,
        now,
        None if ending.version is None else CONVERSION_MODEL,
        ending.version,
        ending.reason,
        ending.message,
    )
    return row is not None


async def cancel_training(connection: Connection, training_id: UUID, note: Note, now: datetime) -> None:
    """Ask a training to stop, if it runs."""
    await connection.execute(STATEMENTS["cancel_training"].sql, training_id, now, note.actor, note.comment)


async def fetch_training(connection: Connection, training_id: UUID) -> Training | None:
    """Return a training."""
    row = await connection.fetchrow(STATEMENTS["fetch_training"].sql, training_id)
    return None if row is None else _training(row)


async def list_trainings(
    connection: Connection, before: datetime, before_id: UUID, limit: int
) -> Sequence[Training]:
    """Return at most `limit` trainings that began before one, newest first."""
    rows = await connection.fetch(STATEMENTS["list_trainings"].sql, before, before_id, limit)
    return [_training(row) for row in rows]


async def fetch_last_judged_day(connection: Connection) -> date | None:
    """Return the latest end day of a training that made a version."""
    row = await fetch_required(connection, "fetch_last_judged_day")
    day: date | None = row["end_day"]
    return day


def _training(row: Record) -> Training:
    return Training(
        training_id=UUID(str(row["training_id"])),
        state=TrainingState(row["state"]),
        cause=TrainingCause(row["cause"]),
        note=Note(actor=row["actor"], comment=row["comment"]),
        end_day=row["end_day"],
        stage=row["stage"],
        progress=row["progress"],
        started_at=row["started_at"],
        heartbeat_at=row["heartbeat_at"],
        ended_at=row["ended_at"],
        cancel_requested_at=row["cancel_requested_at"],
        version=row["model_version"],
        reason=row["reason"],
        message=row["message"],
    )
