"""Runs a training in a process of its own and follows it; the serving process never sees scikit-learn."""

from dataclasses import dataclass
from datetime import date
from pathlib import Path
from uuid import UUID

from services.common.child_process import ChildProcess
from services.optimizer.domain.models.training_progress import OnProgress, TrainingProgress


@dataclass(frozen=True, kw_only=True)
class TrainingProcess:
    """How to start a training: over which database, into which model repository, for how long at most.

    `max_samples`, `dask_scheduler` and `priority` are the settings of these names; None and empty leave the
    defaults.
    """

    database_url: str
    repository: Path
    timeout_seconds: float
    max_samples: int | None = None
    dask_scheduler: str = ""
    priority: str = "idle"

    async def run(self, end_day: date, on_progress: OnProgress, *, training_id: UUID | None = None) -> int:
        """Train on the days before `end_day`; returns the version that is now in ml_models.

        `training_id` is the training's record, which says whether it still runs; None where there is none.

        Cancelling and errors are as `ChildProcess.run`'s.
        """
        record = [] if training_id is None else ["--training-id", str(training_id)]
        return await self._run(["--end-day", end_day.isoformat(), *record], on_progress)

    async def measure_drift(self, end_day: date) -> int:
        """Measure the live version on the days before `end_day`, and keep it; returns the version.

        Cancelling and errors are as `run`'s.
        """
        return await self._run(["--end-day", end_day.isoformat(), "--drift"], lambda _: None)

    async def _run(self, arguments: list[str], on_progress: OnProgress) -> int:
        process = ChildProcess(
            module="services.optimizer.training",
            subject="the training",
            what_stays="nothing was published",
            environment=self._environment(),
            timeout_seconds=self.timeout_seconds,
            timeout_reason="TRAINING_STOPPED",
            killed_reason="TRAINING_STOPPED",
        )
        version = await process.run(
            *arguments,
            on_progress=lambda stage, fraction: on_progress(TrainingProgress(stage=stage, fraction=fraction)),
        )
        return int(str(version))

    def _environment(self) -> dict[str, str]:
        environment = {
            "OPTIMIZER_DATABASE_URL": self.database_url,
            "MODEL_REPOSITORY": str(self.repository.resolve()),
            "DASK_SCHEDULER": self.dask_scheduler,
            "OPTIMIZER_TRAINING_PRIORITY": self.priority,
        }
        if self.max_samples is not None:
            environment["OPTIMIZER_TRAINING_MAX_SAMPLES"] = str(self.max_samples)
        return environment
