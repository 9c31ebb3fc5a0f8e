"""Trainings in which nothing is fitted: what a process of their own would do, or has kept, a test does."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import date, datetime
from pathlib import Path
from uuid import UUID

from services.common.errors import AbortedError
from services.optimizer.domain.models.training_progress import OnProgress
from services.optimizer.domain.models.version import ModelStatus
from tests.contract.optimizer.conftest import Trained
from tests.contract.optimizer.harness import fetch_rows


class ScriptedTrainer:
    """A training that is what `work` does of the training's id; it returns the version."""

    def __init__(self, work: Callable[[UUID | None], Awaitable[int]]) -> None:
        self._work = work

    async def run(self, end_day: date, on_progress: OnProgress, *, training_id: UUID | None = None) -> int:
        return await self._work(training_id)


class CandidateTrainer(ScriptedTrainer):
    """A training that keeps version 1, which deserves to go live, and then waits for `after`."""

    def __init__(
        self,
        trained: Trained,
        url: str,
        repository: Path,
        after: Callable[[], Awaitable[object]] | None = None,
    ) -> None:
        super().__init__(self._keep)
        self._trained, self._url, self._repository, self._after = trained, url, repository, after

    async def _keep(self, training_id: UUID | None) -> int:
        await self._trained.publish(
            self._url, self._repository, 1, ModelStatus.CANDIDATE, training_id=training_id
        )
        if self._after is not None:
            await self._after()
        return 1


class EndlessTrainer(ScriptedTrainer):
    """A training that ends by being stopped only; `begun` and `stopped` are set when it is."""

    def __init__(self) -> None:
        super().__init__(self._last)
        self.begun, self.stopped = asyncio.Event(), asyncio.Event()

    async def _last(self, _: UUID | None) -> int:
        self.begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            self.stopped.set()
        raise AssertionError


async def be_killed(_: UUID | None) -> int:
    """What a training says whose process was killed."""
    raise AbortedError("the training was killed", reason="TRAINING_STOPPED")


async def insert_training(
    url: str, training_id: UUID, heartbeat_at: datetime, *, ended_at: datetime | None = None
) -> None:
    """Keep a training that another replica runs, or ran, or that failed at `ended_at`."""
    await fetch_rows(
        url,
        "insert into trainings (training_id, state, cause, actor, comment, end_day, stage, progress,"
        " started_at, heartbeat_at, ended_at)"
        " values ($1, $2, 'daily', '', '', '2026-11-20', 'fit_forest', 0.4, $3, $3, $4)",
        training_id,
        "running" if ended_at is None else "failed",
        heartbeat_at,
        ended_at,
    )
