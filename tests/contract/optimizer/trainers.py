"""Trainings in which nothing is fitted: what a process of their own would do, or has kept, a test does."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import date, datetime
from uuid import UUID

from services.common.errors import AbortedError
from services.optimizer.domain.models.training_progress import OnProgress
from tests.contract.optimizer.harness import fetch_rows


class ScriptedTrainer:
    """A training that is what `work` does of the training's id; it returns the version."""

    def __init__(self, work: Callable[[UUID | None], Awaitable[int]]) -> None:
        self._work = work

    async def run(self, end_day: date, on_progress: OnProgress, *, training_id: UUID | None = None) -> int:
        return await self._work(training_id)


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
