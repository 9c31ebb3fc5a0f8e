"""One training from the database to the model repository and ml_models."""

import hashlib
import time
from contextlib import suppress
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Final
from uuid import UUID
from zoneinfo import ZoneInfo

import numpy as np

from services.common.database import Connection, Database
from services.common.errors import AbortedError, InternalError
from services.optimizer.domain.features import DailyTable
from services.optimizer.domain.models.promotion import ServedData, Verdict, settle
from services.optimizer.domain.models.registry import ModelSummary
from services.optimizer.domain.models.version import CONVERSION_MODEL, ModelStatus, ModelVersion
from services.optimizer.domain.response.offer_cells import OfferCells, offer_cells, sample_campaigns
from services.optimizer.domain.training_window import TrainingWindow, window_before
from services.optimizer.model_repository import ModelRepository
from services.optimizer.settings import OptimizerSettings
from services.optimizer.store import audiences, catalog, models, outcomes
from services.optimizer.store import training as trainings
from services.optimizer.training.backend import Backend
from services.optimizer.training.forest import read_forest
from services.optimizer.training.pipeline import LiveModel, Progress, TrainedModel, train

_READ_SECONDS: Final = 600.0
_NEWEST: Final = 2**31 - 1
_MOST_COMPARED: Final = 1000
_INTERRUPTED: Final = "the training was interrupted before the model server served it"


async def run_training(
    settings: OptimizerSettings, end_day: date, *, on_progress: Progress, training_id: UUID | None = None
) -> int:
    """Train on the last 90 days before `end_day`; returns the version, a candidate or rejected.

    `training_id` is the record of the training, None for one by hand. A version is kept only while that
    record says that the training runs: one that was taken for lost leaves nothing.

    No server serves the version yet: config.pbtxt is written by whoever publishes it. The model's folder is
    complete before ml_models names it; an interruption at any point leaves at most a folder that nothing
    refers to, whose number is not used again.

    Raises:
        FailedPreconditionError: DATA_INSUFFICIENT.
        AbortedError: the training is over, by its record (TRAINING_STOPPED).
        InternalError: the model repository cannot be written.
        UnavailableError: the database or the Dask scheduler does not answer.
    """
    started = time.monotonic()
    window = window_before(end_day)
    repository = ModelRepository(settings.repository, CONVERSION_MODEL)
    database = await Database.open(
        settings.database_url,
        application_name="optimizer-training",
        max_size=1,
        statement_timeout_seconds=_READ_SECONDS,
    )
    try:
        on_progress("read_data", 0.0)
        table, live_version = await _read(database, window)
        cells = await _read_cells(database, window, table)
        with Backend.open(settings.dask_scheduler) as backend:
            trained = train(
                table,
                window,
                live=_load_live(live_version, repository),
                on_progress=on_progress,
                cells=cells,
                max_samples=settings.training_max_samples,
                backend=backend,
            )
        on_progress("publish", 0.95)
        same = await _find_same(database, repository, trained.model)
        version = await add_version(database, repository, trained.model)
        verdict = settle(trained.verdict, end_day=window.end_day, live=_served_data(live_version), same=same)
        model = _describe(version, trained, verdict, datetime.now(UTC), time.monotonic() - started)
        try:
            await _keep(database, model, trained, window, training_id)
        except BaseException:
            with suppress(InternalError):  # what went wrong first is to be told
                repository.remove_version(version)
            raise
        return version
    finally:
        await database.close()


async def _find_same(database: Database, repository: ModelRepository, content: bytes) -> ModelSummary | None:
    """Return the newest version that is or was live, made by the same code, whose forest is the same.

    What other code makes of the same forest may be another response.
    """
    async with database.transaction(readonly=True) as connection:
        known = await models.list_models(
            connection, before=_NEWEST, statuses=(ModelStatus.LIVE, ModelStatus.RETIRED), limit=_MOST_COMPARED
        )
    code = _code_version()
    return next(
        (each for each in known if each.code_version == code and repository.holds(each.version, content)),
        None,
    )


async def add_version(database: Database, repository: ModelRepository, content: bytes) -> int:
    """Add a model's folder under a number of its own: two trainings that meet here wait for each other.

    They wait longer than requests do: a version that is being loaded is not to cost a whole training.
    """
    async with database.transaction() as connection:
        await trainings.lock_publication(connection, seconds=_READ_SECONDS)
        version = repository.next_version(await models.fetch_newest_version(connection))
        repository.write_version(version, content)
    return version


async def _keep(
    database: Database,
    model: ModelVersion,
    trained: TrainedModel,
    window: TrainingWindow,
    training_id: UUID | None,
) -> None:
    """Keep the version, and the audiences that its offers are answered from if it may go live."""
    async with database.transaction() as connection:
        await models.reject_interrupted_models(connection, _INTERRUPTED, model.trained_at)
        await models.insert_model(connection, model, trained.report.reference, training_id=training_id)
        if model.status is ModelStatus.CANDIDATE:
            start, end = window.times(await _fetch_zone(connection))
            await audiences.count_audiences(connection, model.version, start=start, end=end)
        if training_id is not None and not await trainings.lock_running_training(connection, training_id):
            raise AbortedError(
                "the training was taken for lost and is over; nothing was published",
                reason="TRAINING_STOPPED",
            )


async def _read(database: Database, window: TrainingWindow) -> tuple[DailyTable, ModelVersion | None]:
    async with database.transaction(isolation="repeatable_read", readonly=True) as connection:
        table = await outcomes.list_daily_outcomes(connection, window.history_day, window.end_day)
        live = await models.fetch_live_version(connection)
        model = None if live is None else await models.fetch_model(connection, live)
        return table, model


async def _read_cells(database: Database, window: TrainingWindow, table: DailyTable) -> OfferCells:
    """Read by audience what the response is learned from; of a large table, of some campaigns."""
    sampled = sample_campaigns(table)
    campaigns = [table.campaign_ids[place] for place in np.unique(sampled.campaign)]
    async with database.transaction(readonly=True) as connection:
        zone = await _fetch_zone(connection)
        start, end = window.times(zone)
        rows = await audiences.list_audience_outcomes(
            connection, campaigns, start=start, end=end, time_zone=zone.key
        )
    return offer_cells(rows, sampled)


async def _fetch_zone(connection: Connection) -> ZoneInfo:
    return ZoneInfo(await catalog.fetch_reporting_time_zone(connection) or "UTC")


def _load_live(model: ModelVersion | None, repository: ModelRepository) -> LiveModel | None:
    """Return the live version to compare with; none where its file is gone or broken."""
    forest = None if model is None else read_forest(repository.read_model(model.version))
    if model is None or forest is None:
        return None
    return LiveModel(
        version=model.version,
        forest=forest,
        encoding=model.parameters.encoding,
        split_day=model.data.split_day.toordinal(),
    )


def _served_data(live: ModelVersion | None) -> ServedData | None:
    return None if live is None else ServedData(version=live.version, end_day=live.data.end_day)


def _describe(
    version: int, trained: TrainedModel, verdict: Verdict, now: datetime, seconds: float
) -> ModelVersion:
    return ModelVersion(
        version=version,
        status=ModelStatus.CANDIDATE if verdict.promoted else ModelStatus.REJECTED,
        status_reason=verdict.reason,
        code_version=_code_version(),
        trained_at=now,
        training_seconds=seconds,
        data=trained.data,
        scores=trained.scores,
        parity_error=trained.parity_error,
        parameters=trained.parameters,
        importances=trained.importances,
        calibration=trained.report.calibration,
    )


def _code_version() -> str:
    """Return a digest of the code that decides what a model is: the training's and the domain's."""
    digest = hashlib.sha256()
    folder = Path(__file__).resolve().parent
    for path in sorted([*folder.glob("*.py"), *(folder.parent / "domain").rglob("*.py")]):
        digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()[:12]
