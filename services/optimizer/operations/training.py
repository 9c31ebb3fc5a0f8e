"""Training: one at a time across replicas, in a process of its own, then live if it deserves it."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Final, Protocol
from uuid import UUID

from services.common.database import Connection, Database, is_lost
from services.common.errors import (
    AbortedError,
    DomainError,
    NotFoundError,
    UnavailableError,
    invalid_field,
)
from services.common.telemetry import get_logger
from services.optimizer.domain.models.changes import ChangeKind, Going
from services.optimizer.domain.models.training_progress import OnProgress, TrainingProgress
from services.optimizer.domain.models.trainings import Ending, Note, Training, TrainingOrder, TrainingState
from services.optimizer.domain.models.version import ModelStatus, ModelVersion
from services.optimizer.model_client import ModelClient
from services.optimizer.operations.days import fetch_reporting_day
from services.optimizer.operations.lookup import require_model
from services.optimizer.operations.publication import Publication
from services.optimizer.operations.training_record import TrainingRecord
from services.optimizer.store import models as store_models
from services.optimizer.store import training as store

CANCEL_SECONDS: Final = 10.0
"""How long CancelTraining waits for the training to end."""
CLOCK_TOLERANCE: Final = timedelta(minutes=5)
"""How far a caller's clock may be ahead."""
STOP_SECONDS: Final = 10.0
"""How long a stop of the service waits for trainings to end that were cut off."""
PUBLISH_SECONDS: Final = 60.0
"""How long a training whose version deserves to be live waits for a model server that is away."""
_AGAIN_SECONDS: Final = 1.0
_PASSING: Final = frozenset({"PEER_UNAVAILABLE", "PEER_DEADLINE_EXCEEDED", "CONCURRENT_UPDATE"})
"""What keeps a version from going live, and may be over in a moment."""
_PUBLISHING: Final = 0.97
_LOOK_SECONDS: Final = 0.1
_log = get_logger("optimizer")


class Trainer(Protocol):
    """What trains on the days before `end_day` and returns the version that is then in ml_models."""

    async def run(self, end_day: date, on_progress: OnProgress, *, training_id: UUID | None = None) -> int:
        """Train, as the record `training_id` says; cancelling stops the training and waits for its end."""
        ...


@dataclass(frozen=True, kw_only=True)
class TrainingResult:
    """What a training made."""

    training_id: UUID
    model: ModelVersion


class TrainingOperations:
    """The use cases of training over one database, one model server and one way of training.

    `is_stopping` says whether the service is being stopped, which the record of a training then says.
    """

    def __init__(
        self,
        database: Database,
        *,
        models: ModelClient,
        publication: Publication,
        trainer: Trainer,
        now: Callable[[], datetime],
        is_stopping: Callable[[], bool] = lambda: False,
    ) -> None:
        self._database = database
        self._models = models
        self._publication = publication
        self._trainer = trainer
        self.now = now
        self._is_stopping = is_stopping
        self._under_way: set[asyncio.Task[object]] = set()

    async def train(self, order: TrainingOrder, on_progress: OnProgress) -> TrainingResult:
        """Train on the 90 days before `order.as_of`, and put the version live if it deserves it.

        Only whole days of the reporting zone that are over by then are read.

        Raises:
            InvalidArgumentError: `as_of` lies in the future.
            AbortedError: another training runs (TRAINING_RUNNING), or this one was killed, cancelled, or lost
                its right to train with its connection.
            FailedPreconditionError: too little data (DATA_INSUFFICIENT), or the model server refuses the
                version, which is then rejected.
            UnavailableError: the database or the model server does not answer. Once trained, the version
                waits for the server, for a minute; then it is rejected, and the message says so.
        """
        if order.as_of is not None and order.as_of > self.now() + CLOCK_TOLERANCE:
            raise invalid_field("as_of", "must not lie in the future", "TIME_OUT_OF_RANGE")
        await self._models.require_server()
        with self._counted_in():
            return await self._train(order, on_progress)

    async def wait_until_cut_off(self) -> None:
        """Wait, if not for long, until trainings whose callers were cut off have kept how they ended."""
        if self._under_way:
            await asyncio.wait(set(self._under_way), timeout=STOP_SECONDS)

    async def stream_training(
        self, order: TrainingOrder
    ) -> AsyncGenerator[TrainingProgress | TrainingResult]:
        """Do what `train` does; yields progress, and last the result. Closing it stops the training."""
        heard: asyncio.Queue[TrainingProgress | None] = asyncio.Queue()
        training = asyncio.create_task(self.train(order, heard.put_nowait))
        training.add_done_callback(lambda _: heard.put_nowait(None))
        try:
            while (progress := await heard.get()) is not None:
                yield progress
            yield await training
        finally:
            training.cancel()
            await asyncio.wait({training})

    async def cancel(self, training_id: UUID, note: Note) -> Training:
        """Stop a training on whichever replica it runs, and wait for its end, for seconds at most.

        Raises:
            NotFoundError: TRAINING_UNKNOWN.
        """
        async with self._database.transaction() as connection:
            await store.cancel_training(connection, training_id, note, self.now())
        loop = asyncio.get_running_loop()
        deadline = loop.time() + CANCEL_SECONDS
        while True:
            training = await self._fetch(training_id)
            running = training.state_at(self.now()) is TrainingState.RUNNING
            if not running or loop.time() >= deadline:
                return training
            await asyncio.sleep(_LOOK_SECONDS)

    async def list_trainings(self, before: datetime, before_id: UUID, limit: int) -> list[Training]:
        """Return at most `limit` trainings that began before one, newest first."""
        async with self._database.transaction(readonly=True) as connection:
            return list(await store.list_trainings(connection, before, before_id, limit))

    async def is_due(self) -> bool:
        """Return whether there are days that no training has learned from yet."""
        async with self._database.transaction(readonly=True) as connection:
            last = await store.fetch_last_judged_day(connection)
            return last is None or last < await fetch_reporting_day(connection, self.now())

    @contextmanager
    def _counted_in(self) -> Iterator[None]:
        """Count the present task among those that a stop waits for."""
        task = asyncio.current_task()
        assert task is not None
        self._under_way.add(task)
        try:
            yield
        finally:
            self._under_way.discard(task)

    async def _train(self, order: TrainingOrder, on_progress: OnProgress) -> TrainingResult:
        """Train, holding the right to it in a transaction that reads and writes nothing.

        What a transaction reads cannot be altered before it ends, and this one lasts as long as the training.
        """
        end_day = await self._fetch_end_day(order)
        made: list[TrainingResult] = []
        try:
            async with self._database.transaction() as right:
                if not await store.try_lock_training(right):
                    raise AbortedError(
                        "another training runs; wait for it to end, or cancel it, then ask again",
                        reason="TRAINING_RUNNING",
                    )
                made.append(await self._run(right, order, end_day, on_progress))
        except UnavailableError:
            if not made:  # else the right was lost after all was kept
                raise
        result = made[0]
        model = result.model
        _log.info("trained", version=model.version, status=model.status.value, why=model.status_reason)
        return result

    async def _run(
        self, right: Connection, order: TrainingOrder, end_day: date, on_progress: OnProgress
    ) -> TrainingResult:
        """Train while the right to it is held, with a record that says how it goes."""
        record = await TrainingRecord.begin(
            self._database, order, end_day, self.now, is_stopping=self._is_stopping
        )

        def hear(progress: TrainingProgress) -> None:
            record.hear(progress)
            on_progress(progress)

        model = await record.run(
            self._work(record.training_id, order, end_day, hear), may_train=lambda: not is_lost(right)
        )
        return TrainingResult(training_id=record.training_id, model=model)

    async def _fetch_end_day(self, order: TrainingOrder) -> date:
        async with self._database.transaction(readonly=True) as connection:
            return await fetch_reporting_day(connection, order.as_of or self.now())

    async def _fetch(self, training_id: UUID) -> Training:
        async with self._database.transaction(readonly=True) as connection:
            training = await store.fetch_training(connection, training_id)
        if training is None:
            raise NotFoundError(
                f"no training {training_id}",
                reason="TRAINING_UNKNOWN",
                metadata={"training_id": str(training_id)},
            )
        return training

    async def _work(
        self, training_id: UUID, order: TrainingOrder, end_day: date, hear: OnProgress
    ) -> ModelVersion:
        """Train, publish, and keep what came of it; all of the latter becomes visible at once."""
        async with self._database.transaction(readonly=True) as connection:
            live = await store_models.fetch_live_version(connection)
        version = await self._train_by_process(training_id, end_day, hear)
        async with self._database.transaction(readonly=True) as connection:
            trained = await require_model(connection, version)
        if trained.status is ModelStatus.CANDIDATE:
            return await self._publish_patiently(
                hear, lambda: self._publish(training_id, order, trained, compared_with=live), version
            )
        ending = Ending(state=TrainingState.REJECTED, version=version, message=trained.status_reason)
        async with self._database.transaction() as connection:
            await self._end(connection, training_id, ending)
        return trained

    async def _end(self, connection: Connection, training_id: UUID, ending: Ending) -> None:
        if not await store.end_training(connection, training_id, ending, self.now()):
            raise AbortedError("the training was ended by another one", reason="TRAINING_STOPPED")

    async def _train_by_process(self, training_id: UUID, end_day: date, on_progress: OnProgress) -> int:
        try:
            return await self._trainer.run(end_day, on_progress, training_id=training_id)
        except OSError as error:  # must not look like a lost database to the transaction around
            raise UnavailableError(
                "the training process cannot be started now", reason="TRAINING_STOPPED"
            ) from error

    async def _publish_patiently(
        self, hear: OnProgress, publish: Callable[[], Awaitable[ModelVersion]], version: int
    ) -> ModelVersion:
        """Publish; where the model server is away, or somebody else publishes, try again for a while."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + PUBLISH_SECONDS
        while True:
            hear(TrainingProgress(stage="load_model", fraction=_PUBLISHING))
            try:
                return await publish()
            except DomainError as error:
                if error.reason.startswith("DATABASE_"):  # then nobody knows what was committed
                    raise
                if error.reason not in _PASSING or loop.time() >= deadline:
                    raise _not_put_live(version, error) from error
                _log.warning("a version cannot be put live yet", version=version, why=error.message)
            hear(TrainingProgress(stage="wait_for_model_server", fraction=_PUBLISHING))
            await asyncio.sleep(_AGAIN_SECONDS)

    async def _publish(
        self, training_id: UUID, order: TrainingOrder, trained: ModelVersion, *, compared_with: int | None
    ) -> ModelVersion:
        """Put a candidate live, unless another version went live while it was trained; return it after.

        What was live stays so until the transaction commits, and the server keeps serving it beside. A
        rollback that is under way is waited for: it is another version that went live. The transaction is one
        of its own: it has ended before anybody keeps how a training that is stopped in this moment ended.
        """
        ending = Ending(state=TrainingState.PROMOTED, version=trained.version)
        async with self._database.transaction() as connection:
            await store.lock_publication(connection)
            if await store_models.fetch_live_version(connection) != compared_with:
                why = "another version went live while it was trained, and it was not compared with that one"
                await store_models.update_model_status(
                    connection, trained.version, ModelStatus.REJECTED, why, self.now()
                )
                ending = Ending(state=TrainingState.REJECTED, version=trained.version, message=why)
            else:
                going = Going(
                    kind=ChangeKind.PROMOTION,
                    cause=order.cause,
                    note=order.note,
                    reason=trained.status_reason,
                    training_id=training_id,
                )
                await self._publication.put_live(
                    connection,
                    trained.version,
                    before=ModelStatus.CANDIDATE,
                    going=going,
                    retired_reason=f"replaced by version {trained.version}",
                )
            await self._end(connection, training_id, ending)
            return await require_model(connection, trained.version)


def _not_put_live(version: int, error: DomainError) -> DomainError:
    """Return an error that says what became of the version; the record of its training rejects it."""
    return type(error)(
        f"version {version} could not be put live, and is rejected: {error.message}",
        reason=error.reason,
        metadata=error.metadata,
    )
