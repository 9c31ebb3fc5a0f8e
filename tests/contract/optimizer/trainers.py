"""Trainings in which nothing is fitted: what a process of their own would do, a test does."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import date
from uuid import UUID

from services.common.errors import AbortedError
from services.optimizer.domain.models.training_progress import OnProgress


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
