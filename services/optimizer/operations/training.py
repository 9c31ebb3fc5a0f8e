"""Training: one at a time across replicas, in a process of its own, then live if it deserves it."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from datetime import date, datetime
from typing import Protocol

from services.common.database import Database
from services.common.errors import AbortedError, DomainError, UnavailableError
from services.common.telemetry import get_logger
from services.optimizer.domain.model_version import CONVERSION_MODEL, ModelStatus, ModelVersion
from services.optimizer.domain.training_progress import TrainingProgress
from services.optimizer.model_client import ModelClient
from services.optimizer.operations.days import fetch_reporting_day
from services.optimizer.operations.lookup import require_model
from services.optimizer.store import models as store_models
from services.optimizer.store.training import try_lock_training

_log = get_logger("optimizer")


class Trainer(Protocol):
    """What trains on the days before `end_day` and returns the version that is then in ml_models."""

    async def run(self, end_day: date, on_progress: Callable[[TrainingProgress], None]) -> int:
        """Train; cancelling stops the training and waits for its end."""
        ...


class TrainingOperations:
    """The use cases of training over one database, one model server and one way of training."""

    def __init__(
        self, database: Database, *, models: ModelClient, trainer: Trainer, now: Callable[[], datetime]
    ) -> None:
        self._database = database
        self._models = models
        self._trainer = trainer
        self._now = now

    async def train(
        self, as_of: datetime | None, on_progress: Callable[[TrainingProgress], None]
    ) -> ModelVersion:
        """Train on the 90 days before `as_of` (default: now), and put the version live if it deserves it.

        Only whole days of the reporting zone that are over at `as_of` are read.

        Raises:
            AbortedError: another training runs (TRAINING_RUNNING), or this one was killed.
            FailedPreconditionError: too little data (DATA_INSUFFICIENT), or the model server refuses the
                version, which is then rejected.
            UnavailableError: the database or the model server does not answer.
        """
        await self._models.require_server()
        async with self._database.transaction() as connection:
            if not await try_lock_training(connection):
                raise AbortedError(
                    "another training runs; wait for it to end, then ask again", reason="TRAINING_RUNNING"
                )
            end_day = await fetch_reporting_day(connection, as_of or self._now())
            version = await self._train_by_process(end_day, on_progress)
            trained = await self._fetch_model(version)
            if trained.status is ModelStatus.CANDIDATE:
                on_progress(TrainingProgress(stage="load_model", fraction=0.97))
                trained = await self._publish(trained)
        _log.info("trained", version=version, status=trained.status.value, why=trained.status_reason)
        return trained

    async def stream_training(
        self, as_of: datetime | None
    ) -> AsyncGenerator[TrainingProgress | ModelVersion]:
        """Do what `train` does; yields progress, and last the version. Closing it stops the training."""
        heard: asyncio.Queue[TrainingProgress | None] = asyncio.Queue()
        training = asyncio.create_task(self.train(as_of, heard.put_nowait))
        training.add_done_callback(lambda _: heard.put_nowait(None))
        try:
            while (progress := await heard.get()) is not None:
                yield progress
            yield await training
        finally:
            training.cancel()
            await asyncio.wait({training})

    async def _train_by_process(self, end_day: date, on_progress: Callable[[TrainingProgress], None]) -> int:
        try:
            return await self._trainer.run(end_day, on_progress)
        except OSError as error:  # must not look like a lost database to the transaction around
            raise UnavailableError(
                "the training process cannot be started now", reason="TRAINING_STOPPED"
            ) from error

    async def _publish(self, trained: ModelVersion) -> ModelVersion:
        """Have the model server serve a candidate, and only then call it live.

        What was live stays so until this commits, and the server keeps serving it beside the new one.
        """
        try:
            await self._models.load(CONVERSION_MODEL, trained.version)
        except DomainError as error:
            await self._reject(trained.version, f"the model server did not take it: {error.message}")
            raise
        now = self._now()
        async with self._database.transaction() as connection:
            await store_models.retire_live_model(connection, f"replaced by version {trained.version}", now)
            await store_models.update_model_status(
                connection, trained.version, ModelStatus.LIVE, trained.status_reason, now
            )
        return await self._fetch_model(trained.version)

    async def _reject(self, version: int, reason: str) -> None:
        async with self._database.transaction() as connection:
            await store_models.update_model_status(
                connection, version, ModelStatus.REJECTED, reason, self._now()
            )

    async def _fetch_model(self, version: int) -> ModelVersion:
        async with self._database.transaction(readonly=True) as connection:
            return await require_model(connection, version)
