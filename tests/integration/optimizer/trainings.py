"""Trainings over a real database and repository, and what they leave."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path

from deploy.local.bootstrap import DatabaseAddresses
from gen.campaigns.optimizer.v1.optimizer_service_pb2_grpc import OptimizerServiceStub
from services.optimizer.training_process import TrainingProcess
from tests.contract.optimizer.harness import (
    NOON,
    ThreadTrainer,
    fetch_rows,
    optimizer_settings,
    running_optimizer,
)


async def statuses(database: DatabaseAddresses) -> list[tuple[int, str]]:
    rows = await fetch_rows(database.reporting, "select version, status from ml_models order by version")
    return [(row["version"], row["status"]) for row in rows]


def files_in(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


@asynccontextmanager
async def quickly_training_optimizer(
    database: DatabaseAddresses,
    repository: Path,
    model_port: int,
    *,
    clock: Callable[[], datetime] = lambda: NOON,
) -> AsyncIterator[OptimizerServiceStub]:
    """Serve an optimizer that trains in a thread."""
    settings = optimizer_settings(database.optimizer, repository, model_port)
    async with running_optimizer(settings, clock=clock, trainer=ThreadTrainer(settings=settings)) as stub:
        yield stub


def training_of(database: DatabaseAddresses, repository: Path, seconds: float = 900.0) -> TrainingProcess:
    return TrainingProcess(database_url=database.optimizer, repository=repository, timeout_seconds=seconds)
