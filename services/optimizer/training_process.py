"""Runs a training in a process of its own and follows it; the serving process never sees scikit-learn.

The two speak in lines of JSON on the child's standard output: `{"stage", "fraction"}` while it works, and
last either `{"version"}` or `{"refused": {code, reason, message, metadata}}`. The child ends when its
standard input closes, so that it never outlives this process.
"""

import asyncio
import json
import os
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any
from uuid import UUID

from services.common.errors import AbortedError, DeadlineExceededError, DomainError, InternalError
from services.optimizer.domain.training_progress import TrainingProgress

_ROOT = Path(__file__).resolve().parents[2]
OnProgress = Callable[[TrainingProgress], None]


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

        Cancelling this kills the process and waits for its end.

        Raises:
            DomainError: what the training refused, in its own words.
            AbortedError: the process was killed.
            DeadlineExceededError: it took too long, and was killed.
            InternalError: it failed; its standard error (this process's) has the traceback.
        """
        record = [] if training_id is None else ["--training-id", str(training_id)]
        return await self._run(["--end-day", end_day.isoformat(), *record], on_progress)

    async def measure_drift(self, end_day: date) -> int:
        """Measure the live version on the days before `end_day`, and keep it; returns the version.

        Cancelling and errors are as `run`'s.
        """
        return await self._run(["--end-day", end_day.isoformat(), "--drift"], lambda _: None)

    async def _run(self, arguments: list[str], on_progress: OnProgress) -> int:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "services.optimizer.training",
            *arguments,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            env=self._environment(),
        )
        try:
            async with asyncio.timeout(self.timeout_seconds):
                return await _follow(process, on_progress)
        except TimeoutError as error:
            raise DeadlineExceededError(
                f"the training took longer than {self.timeout_seconds:g} seconds and was stopped",
                reason="TRAINING_STOPPED",
            ) from error
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()

    def _environment(self) -> dict[str, str]:
        paths = [str(_ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
        samples = (
            {} if self.max_samples is None else {"OPTIMIZER_TRAINING_MAX_SAMPLES": str(self.max_samples)}
        )
        return {
            **os.environ,
            **samples,
            "PYTHONPATH": os.pathsep.join(paths),
            "OPTIMIZER_DATABASE_URL": self.database_url,
            "MODEL_REPOSITORY": str(self.repository.resolve()),
            "DASK_SCHEDULER": self.dask_scheduler,
            "OPTIMIZER_TRAINING_PRIORITY": self.priority,
        }


async def _follow(process: asyncio.subprocess.Process, on_progress: OnProgress) -> int:
    """Read what the training says until it ends."""
    if process.stdout is None:
        raise InternalError("the training has no output to follow", reason="INTERNAL")
    last: dict[str, Any] = {}
    async for line in process.stdout:
        last = json.loads(line)
        if "stage" in last:
            on_progress(TrainingProgress(stage=last["stage"], fraction=last["fraction"]))
    status = await process.wait()
    if "refused" in last:
        raise _refusal(last["refused"])
    if status == 0 and "version" in last:
        return int(last["version"])
    if status < 0:
        raise AbortedError(
            f"the training process was killed ({signal.Signals(-status).name}); nothing was published",
            reason="TRAINING_STOPPED",
        )
    raise InternalError("the training failed; nothing was published", reason="INTERNAL")


def _refusal(refused: dict[str, Any]) -> DomainError:
    kinds = {kind.code: kind for kind in DomainError.__subclasses__()}
    return kinds.get(refused["code"], InternalError)(
        refused["message"], reason=refused["reason"], metadata=refused["metadata"]
    )
