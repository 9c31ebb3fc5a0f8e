"""The record of a training: kept while it runs, and heard for whoever wants it to stop, on any replica."""

import asyncio
from collections.abc import Callable, Coroutine
from datetime import date, datetime
from typing import Final, TypeVar
from uuid import UUID, uuid4

from services.common.database import Database
from services.common.errors import AbortedError, DomainError, FailedPreconditionError, InternalError
from services.common.telemetry import get_logger
from services.optimizer.domain.models.training_progress import TrainingProgress
from services.optimizer.domain.models.trainings import Ending, TrainingCause, TrainingOrder, TrainingState
from services.optimizer.store import models as store_models
from services.optimizer.store import training as store

HEARTBEAT_SECONDS: Final = 0.5
_STOPPED: Final = "TRAINING_STOPPED"
_LOST: Final = "whatever ran it is gone"
_CANCELLED: Final = "TRAINING_CANCELLED"
_OVER: Final = (
    "the training lost its right to train, with its connection to the database; nothing was published"
)
_SERVICE_STOPPED: Final = "the service was stopped before the training ended; nothing was published"
_CALL_ENDED: Final = (
    "the call ended before the training did: whoever asked left, or what passed the call on was stopped"
)
_JOB_STOPPED: Final = "the job was stopped before the training ended: it took too long, or lost its lease"
_log = get_logger("optimizer")
T = TypeVar("T")


class TrainingRecord:
    """One attempt, in the table `trainings`; only for who holds the right to train.

    `is_stopping` says whether the service is being stopped: whoever cancels a training then does so for that.
    """

    def __init__(
        self,
        database: Database,
        training_id: UUID,
        now: Callable[[], datetime],
        *,
        cause: TrainingCause = TrainingCause.REQUEST,
        is_stopping: Callable[[], bool] = lambda: False,
    ) -> None:
        self.training_id = training_id
        self._database = database
        self._now = now
        self._cause = cause
        self._is_stopping = is_stopping
        self._progress = TrainingProgress(stage="start", fraction=0.0)

    @classmethod
    async def begin(
        cls,
        database: Database,
        order: TrainingOrder,
        end_day: date,
        now: Callable[[], datetime],
        *,
        is_stopping: Callable[[], bool],
    ) -> "TrainingRecord":
        """Keep that a training begins, and that those before it which seem to run do not."""
        record = cls(database, uuid4(), now, cause=order.cause, is_stopping=is_stopping)
        async with database.transaction() as connection:
            await store.fail_lost_trainings(connection, now(), _LOST)
            await store.insert_training(connection, record.training_id, order, end_day, now())
        return record

    def hear(self, progress: TrainingProgress) -> None:
        """Note how far it is; kept with the next heartbeat."""
        self._progress = progress

    async def run(self, work: Coroutine[None, None, T], *, may_train: Callable[[], bool] = lambda: True) -> T:
        """Do the work, keep how it goes, and stop it where somebody asks; keep how it ended if not well.

        It is stopped too once `may_train` says no, or the record is ended by another training, which has the
        right to train now.

        Raises:
            AbortedError: it was cancelled (TRAINING_CANCELLED), or may train no more (TRAINING_STOPPED).
            DomainError: what the work raised.
        """
        task = asyncio.ensure_future(work)
        watch = asyncio.create_task(self._watch(may_train))
        try:
            await asyncio.wait({task, watch}, return_when=asyncio.FIRST_COMPLETED)
            if not task.done():
                await _stop(task)
            if task.cancelled():
                raise watch.result()
            return task.result()
        except BaseException as error:
            await _stop(task, watch)
            await asyncio.shield(self._end_badly(error))
            raise
        finally:
            await _stop(task, watch)

    async def _watch(self, may_train: Callable[[], bool]) -> AbortedError:
        """Keep how far it is, until it is to stop: return why."""
        while may_train():
            try:
                async with self._database.acquire() as connection:
                    heard = await store.keep_training(
                        connection, self.training_id, self._progress, self._now()
                    )
                if heard is None:
                    break
                if heard.cancelled is not None:
                    return AbortedError(f"the training was cancelled{heard.cancelled}", reason=_CANCELLED)
            except DomainError as error:
                _log.warning("how far a training is cannot be kept", reason=error.reason)
            await asyncio.sleep(HEARTBEAT_SECONDS)
        return AbortedError(_OVER, reason=_STOPPED)

    async def _end_badly(self, error: BaseException) -> None:
        """Keep how it failed; a version that it made and that was not published is rejected."""
        ending = self._cut_off() if isinstance(error, asyncio.CancelledError) else _ending_of(error)
        try:
            async with self._database.transaction() as connection:
                await store_models.reject_candidate_of(
                    connection, self.training_id, f"not published: {ending.message}", self._now()
                )
                await store.keep_training(connection, self.training_id, self._progress, self._now())
                await store.end_training(connection, self.training_id, ending, self._now())
        except DomainError as lost:
            _log.warning("the end of a training cannot be kept", reason=lost.reason)

    def _cut_off(self) -> Ending:
        """Return how it ended where its task was cancelled: nothing says by whom, but there are few."""
        if self._is_stopping():
            return Ending(state=TrainingState.FAILED, reason=_STOPPED, message=_SERVICE_STOPPED)
        if self._cause is TrainingCause.REQUEST:
            return Ending(state=TrainingState.CANCELLED, message=_CALL_ENDED)
        return Ending(state=TrainingState.FAILED, reason=_STOPPED, message=_JOB_STOPPED)


def _ending_of(error: BaseException) -> Ending:
    match error:
        case AbortedError(reason="TRAINING_CANCELLED"):
            return Ending(state=TrainingState.CANCELLED, message=error.message)
        case FailedPreconditionError():
            return Ending(state=TrainingState.REFUSED, reason=error.reason, message=error.message)
        case DomainError():
            return Ending(state=TrainingState.FAILED, reason=error.reason, message=error.message)
        case _:
            defect = InternalError("the training failed by a defect", reason="INTERNAL")
            return Ending(state=TrainingState.FAILED, reason=defect.reason, message=defect.message)


async def _stop(*tasks: asyncio.Future[T] | asyncio.Task[AbortedError]) -> None:
    """Cancel tasks and wait until they are over; what they raise has been met."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
