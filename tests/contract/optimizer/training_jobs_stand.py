"""The optimizer's jobs of training over a real database and model server, at a time that tests set."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path

from deploy.local.bootstrap import DatabaseAddresses
from gen.campaigns.optimizer.v1 import training_pb2
from gen.campaigns.optimizer.v1.optimizer_service_pb2_grpc import OptimizerServiceStub
from services.common.database import Database
from services.common.grpc_client import open_channel
from services.common.job_table import Cursor
from services.common.jobs import Job, JobContext
from services.optimizer.domain.models.version import CONVERSION_MODEL
from services.optimizer.model_client import ModelClient
from services.optimizer.model_repository import ModelRepository
from services.optimizer.operations.models import ModelOperations
from services.optimizer.operations.publication import Publication
from services.optimizer.operations.retention import RecordKeeper
from services.optimizer.operations.training import Trainer, TrainingOperations
from services.optimizer.operations.training_jobs import build_training_jobs
from services.optimizer.settings import OptimizerSettings
from services.optimizer.training.drift_run import measure_live_drift
from tests.contract.optimizer.harness import (
    NOON,
    ThreadTrainer,
    optimizer_settings,
    running_model_server,
    running_optimizer,
)

RETENTION = timedelta(days=30)


async def _save(_: Cursor) -> None:
    """Jobs of the model keep no cursor."""


@dataclass(frozen=True, kw_only=True)
class LoopMeter:
    """Measures drift in this process: what a process of its own does, without its start-up seconds."""

    settings: OptimizerSettings

    async def measure_drift(self, end_day: date) -> int:
        return await measure_live_drift(self.settings, end_day)


@dataclass(frozen=True, kw_only=True)
class Stand:
    """The optimizer's jobs, and the rpcs over the same database, at a time that tests set."""

    jobs: Mapping[str, Job]
    stub: OptimizerServiceStub
    times: list[datetime]

    async def run(self, name: str) -> str:
        return await self.jobs[name].run(JobContext(job_name=name, cursor={}, save=_save))

    async def trainings(self) -> list[training_pb2.Training]:
        listed = await self.stub.ListTrainings(training_pb2.ListTrainingsRequest())
        return list(listed.trainings)


@asynccontextmanager
async def stand(
    database: DatabaseAddresses, repository: Path, *, trainer: Trainer | None = None
) -> AsyncIterator[Stand]:
    times = [NOON]
    folder = ModelRepository(repository, CONVERSION_MODEL)
    async with running_model_server(repository) as port:
        settings = optimizer_settings(database.optimizer, repository, port)
        pool = await Database.open(database.optimizer, application_name="test")
        try:
            async with (
                open_channel(settings.model_server_address) as channel,
                running_optimizer(settings, clock=lambda: times[0]) as stub,
            ):
                models = ModelClient(channel, inference_seconds=60.0, load_seconds=60.0)
                publication = Publication(models, folder, now=lambda: times[0])
                jobs = build_training_jobs(
                    database=pool,
                    training=TrainingOperations(
                        pool,
                        models=models,
                        publication=publication,
                        trainer=trainer or ThreadTrainer(settings=settings),
                        now=lambda: times[0],
                    ),
                    models=ModelOperations(
                        pool, publication=publication, repository=folder, now=lambda: times[0]
                    ),
                    records=RecordKeeper(pool, kept=timedelta(days=400), now=lambda: times[0]),
                    meter=LoopMeter(settings=settings),
                    now=lambda: times[0],
                    hour=3,
                    retention=RETENTION,
                )
                yield Stand(jobs={job.name: job for job in jobs}, stub=stub, times=times)
        finally:
            await pool.close()
