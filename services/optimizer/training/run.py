"""One training from the database to the model repository and ml_models."""

import hashlib
import time
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Final

from services.common.database import Database
from services.optimizer.domain.features import DailyTable
from services.optimizer.domain.model_version import CONVERSION_MODEL, ModelStatus, ModelVersion
from services.optimizer.domain.training_window import TrainingWindow, window_before
from services.optimizer.settings import OptimizerSettings
from services.optimizer.store import models, outcomes
from services.optimizer.training.forest import ExportedForest
from services.optimizer.training.pipeline import LiveModel, Progress, TrainedModel, train
from services.optimizer.training.repository import ModelRepository

_READ_SECONDS: Final = 600.0
_INTERRUPTED: Final = "the training was interrupted before the model server served it"


async def run_training(settings: OptimizerSettings, end_day: date, *, on_progress: Progress) -> int:
    """Train on the last 90 days before `end_day`; returns the version, a candidate or rejected.

    The model's folder is complete before ml_models names it; an interruption at any point leaves at most a
    folder that nothing refers to, whose number is not used again.

    Raises:
        FailedPreconditionError: DATA_INSUFFICIENT.
        UnavailableError: the database does not answer.
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
        table, live_version, newest = await _read(database, window)
        live = _load_live(live_version, repository)
        trained = train(table, window, live=live, on_progress=on_progress)
        on_progress("publish", 0.95)
        version = repository.next_version(newest)
        model = _describe(version, trained, datetime.now(UTC), time.monotonic() - started)
        repository.write_version(version, trained.model)
        if trained.verdict.promoted:
            repository.write_config([version, *([live.version] if live else [])])
        async with database.transaction() as connection:
            await models.reject_interrupted_models(connection, _INTERRUPTED, model.trained_at)
            await models.insert_model(connection, model)
        return version
    finally:
        await database.close()


async def _read(database: Database, window: TrainingWindow) -> tuple[DailyTable, ModelVersion | None, int]:
    async with database.transaction(isolation="repeatable_read", readonly=True) as connection:
        table = await outcomes.list_daily_outcomes(connection, window.history_day, window.end_day)
        live = await models.fetch_live_version(connection)
        model = None if live is None else await models.fetch_model(connection, live)
        return table, model, await models.fetch_newest_version(connection)


def _load_live(model: ModelVersion | None, repository: ModelRepository) -> LiveModel | None:
    """Return the live version to compare with; none where its file is gone, which cannot serve either."""
    content = None if model is None else repository.read_model(model.version)
    if model is None or content is None:
        return None
    return LiveModel(
        version=model.version,
        forest=ExportedForest(content),
        encoding=model.parameters.encoding,
        split_day=model.data.split_day.toordinal(),
    )


def _describe(version: int, trained: TrainedModel, now: datetime, seconds: float) -> ModelVersion:
    promoted = trained.verdict.promoted
    return ModelVersion(
        version=version,
        status=ModelStatus.CANDIDATE if promoted else ModelStatus.REJECTED,
        status_reason=trained.verdict.reason,
        code_version=_code_version(),
        trained_at=now,
        training_seconds=seconds,
        data=trained.data,
        scores=trained.scores,
        parity_error=trained.parity_error,
        parameters=trained.parameters,
        importances=trained.importances,
    )


def _code_version() -> str:
    """Return a digest of the code that decides what a model is: the training's and the domain's."""
    digest = hashlib.sha256()
    folder = Path(__file__).resolve().parent
    for path in sorted([*folder.glob("*.py"), *(folder.parent / "domain").glob("*.py")]):
        digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()[:12]
