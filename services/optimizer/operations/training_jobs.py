"""What the optimizer does by itself for its model: trains again, measures drift, removes what is old."""

from collections.abc import Callable, Sequence
from datetime import date, datetime, timedelta
from typing import Protocol
from zoneinfo import ZoneInfo

from services.common.database import Database
from services.common.errors import AbortedError, FailedPreconditionError
from services.common.jobs import DailyAt, Job, JobContext
from services.optimizer.domain.models.trainings import Note, TrainingCause, TrainingOrder
from services.optimizer.domain.models.version import ModelStatus
from services.optimizer.operations.days import fetch_reporting_day
from services.optimizer.operations.models import ModelOperations
from services.optimizer.operations.retention import RecordKeeper
from services.optimizer.operations.training import TrainingOperations

RETRAIN, CHECK_DRIFT, PRUNE = "retrain_model", "check_drift", "prune_models"
_ZONE = ZoneInfo("UTC")
_HOURS = 24


class DriftMeter(Protocol):
    """What measures the live version on the days before `end_day`, and keeps what it found."""

    async def measure_drift(self, end_day: date) -> int:
        """Measure; returns the version."""
        ...


def build_training_jobs(
    *,
    database: Database,
    training: TrainingOperations,
    models: ModelOperations,
    records: RecordKeeper,
    meter: DriftMeter,
    now: Callable[[], datetime],
    hour: int,
    retention: timedelta,
) -> Sequence[Job]:
    """Return the jobs of the model, daily: training at `hour` (UTC), drift an hour before, what is old after.

    The operations given here work on the jobs' own connections.
    """

    async def retrain(_: JobContext) -> str:
        if not await training.is_due():
            return "nothing to learn: a training has seen all days that are over"
        return await _train(training, TrainingOrder(cause=TrainingCause.DAILY))

    async def check(_: JobContext) -> str:
        async with database.transaction(readonly=True) as connection:
            end_day = await fetch_reporting_day(connection, now())
        return await _check_drift(end_day, training, models, meter)

    async def prune(_: JobContext) -> str:
        try:
            removed = await models.prune(retention)
        except Exception:
            await records.forget()  # a repository that cannot be written makes no table grow
            raise
        return f"{removed}; {await records.forget()}"

    return [
        Job(name=CHECK_DRIFT, schedule=_daily(hour - 1), run=check),
        Job(name=RETRAIN, schedule=_daily(hour), run=retrain),
        Job(name=PRUNE, schedule=_daily(hour + 1), run=prune),
    ]


def _daily(hour: int) -> DailyAt:
    return DailyAt(hour=hour % _HOURS, zone=_ZONE)


async def _train(training: TrainingOperations, order: TrainingOrder) -> str:
    """Train; what a later day may mend is a result, and no failure to be tried again at once."""
    try:
        result = await training.train(order, lambda _: None)
    except FailedPreconditionError as error:
        return f"not trained: {error.message}"
    except AbortedError as error:
        if error.reason == "TRAINING_RUNNING":
            return "not trained: another training runs"
        if error.reason == "TRAINING_CANCELLED":  # whoever stopped it does not want it again at once
            return f"not trained: {error.message}"
        raise
    model = result.model
    if model.status is ModelStatus.LIVE:
        return f"version {model.version} is live"
    return f"version {model.version} is {model.status.value}: {model.status_reason}"


async def _check_drift(
    end_day: date, training: TrainingOperations, models: ModelOperations, meter: DriftMeter
) -> str:
    try:
        await meter.measure_drift(end_day)
    except FailedPreconditionError as error:
        return f"not measured: {error.message}"
    drift = await models.fetch_drift()
    said = f"version {drift.version} is {drift.verdict.value}: {'; '.join(drift.reasons)}"
    if not drift.verdict.calls_for_training or not await training.is_due():
        return said
    order = TrainingOrder(cause=TrainingCause.DRIFT, note=Note(comment="; ".join(drift.reasons)))
    return f"{said}. Trained again: {await _train(training, order)}"
