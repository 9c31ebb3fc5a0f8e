"""A training whose database is away: it goes on, ends as it would have, and claims nothing of its version."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import cast
from uuid import UUID

import pytest

from services.common.database import Connection, Database
from services.common.errors import InternalError, UnavailableError
from services.optimizer.domain.models.version import ModelVersion
from services.optimizer.model_client import ModelClient
from services.optimizer.operations import training_record
from services.optimizer.operations.publication import Publication
from services.optimizer.operations.training import Trainer, TrainingOperations
from services.optimizer.operations.training_record import TrainingRecord


class AwayDatabase:
    """A database that does not answer, and counts who asked."""

    def __init__(self) -> None:
        self.asked = 0

    @asynccontextmanager
    async def acquire(self) -> AsyncIterator[Connection]:
        self.asked += 1
        raise UnavailableError("the database does not answer", reason="DATABASE_UNAVAILABLE")
        yield

    transaction = acquire


def record_in(database: AwayDatabase) -> TrainingRecord:
    training_id = UUID("1f1c5a52-6c3e-4a0e-9d0a-6f3f0a0b0c0d")
    return TrainingRecord(cast("Database", database), training_id, lambda: datetime(2026, 3, 2, tzinfo=UTC))


async def test_a_lost_database_stops_no_training(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training_record, "HEARTBEAT_SECONDS", 0.0)
    database = AwayDatabase()

    async def work() -> int:
        while database.asked < 3:
            await asyncio.sleep(0)
        return 7

    assert await record_in(database).run(work()) == 7


async def test_a_failure_is_told_though_it_cannot_be_kept() -> None:
    async def work() -> int:
        raise InternalError("the training failed; nothing was published", reason="INTERNAL")

    with pytest.raises(InternalError, match="nothing was published"):
        await record_in(AwayDatabase()).run(work())


async def test_where_nobody_knows_what_was_committed_no_version_is_said_to_be_rejected() -> None:
    heard: list[str] = []

    async def publish() -> ModelVersion:
        raise UnavailableError("the database does not answer", reason="DATABASE_UNAVAILABLE")

    training = TrainingOperations(
        cast("Database", AwayDatabase()),
        models=cast("ModelClient", None),
        publication=cast("Publication", None),
        trainer=cast("Trainer", None),
        now=lambda: datetime(2026, 3, 2, tzinfo=UTC),
    )
    with pytest.raises(UnavailableError, match=r"^the database does not answer$"):
        await training._publish_patiently(lambda progress: heard.append(progress.stage), publish, 1)
    assert heard == ["load_model"]
