"""Trainings that do not end by themselves, or not well, in place of a process of their own."""

import asyncio
from collections.abc import Callable
from datetime import date
from uuid import UUID

from services.common.errors import AbortedError
from services.optimizer.domain.models.training_progress import TrainingProgress


class EndlessTrainer:
    """A training that ends by being stopped only; `begun` and `stopped` are set when it is."""

    def __init__(self) -> None:
        self.begun, self.stopped = asyncio.Event(), asyncio.Event()

    async def run(
        self,
        end_day: date,
        on_progress: Callable[[TrainingProgress], None],
        *,
        training_id: UUID | None = None,
    ) -> int:
        self.begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            self.stopped.set()
        raise AssertionError


class KilledTrainer:
    """A training whose process is killed."""

    async def run(
        self,
        end_day: date,
        on_progress: Callable[[TrainingProgress], None],
        *,
        training_id: UUID | None = None,
    ) -> int:
        raise AbortedError("the training was killed", reason="TRAINING_STOPPED")
