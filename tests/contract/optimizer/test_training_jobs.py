"""The jobs of the model, over a real database, repository and model server: retraining, drift, old files."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path
from uuid import UUID

import numpy as np
import pytest

from deploy.local.bootstrap import DatabaseAddresses
from gen.campaigns.optimizer.v1 import models_pb2, training_pb2
from gen.campaigns.optimizer.v1.optimizer_service_pb2_grpc import OptimizerServiceStub
from services.common.database import Database
from services.common.errors import AbortedError, FailedPreconditionError
from services.common.grpc_client import open_channel
from services.common.job_table import Cursor
from services.common.jobs import Job, JobContext
from services.optimizer.domain.features import DailyRow
from services.optimizer.domain.model_version import CONVERSION_MODEL, ModelStatus
from services.optimizer.domain.training_progress import TrainingProgress
from services.optimizer.model_client import ModelClient
from services.optimizer.model_repository import ModelRepository
from services.optimizer.operations.models import ModelOperations
from services.optimizer.operations.publication import Publication
from services.optimizer.operations.retention import RecordKeeper
from services.optimizer.operations.training import Trainer, TrainingOperations
from services.optimizer.operations.training_jobs import build_training_jobs
from services.optimizer.settings import OptimizerSettings
from services.optimizer.training.drift_run import measure_live_drift
from services.optimizer.training_process import TrainingProcess
from tests.contract.optimizer.conftest import Trained
from tests.contract.optimizer.harness import (
    NOON,
    ThreadTrainer,
    fetch_rows,
    insert_world,
    optimizer_settings,
    running_model_server,
    running_optimizer,
)
from tests.unit.optimizer.synthetic import END_DAY, build_world

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
                models = ModelClient(channel, inference_seconds=2.0, load_seconds=30.0)
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


def later_rows(days: int, *, lower_by: float = 0.0, raise_offer_micros: int = 0) -> list[DailyRow]:
    """Return the rows of the days after `END_DAY` of the same world, changed."""
    world = build_world(days=60 + days, end_day=END_DAY + timedelta(days=days))
    rng = np.random.default_rng(3)
    rows: list[DailyRow] = []
    for campaign, day, offer, shown, views, conversions, kind, merchant in world.rows:
        if day >= END_DAY:
            kept = int(rng.binomial(conversions, 1.0 - lower_by))
            changed = None if offer is None else offer + raise_offer_micros
            rows.append((campaign, day, changed, shown, views, kept, kind, merchant))
    return rows


class Endless:
    """Trains until it is stopped."""

    def __init__(self) -> None:
        self.begun = asyncio.Event()

    async def run(
        self,
        end_day: date,
        on_progress: Callable[[TrainingProgress], None],
        *,
        training_id: UUID | None = None,
    ) -> int:
        self.begun.set()
        await asyncio.Event().wait()
        return 1


async def test_a_daily_training_that_is_cut_off_was_left_by_nobody(
    database: DatabaseAddresses, tmp_path: Path
) -> None:
    trainer = Endless()
    async with stand(database, tmp_path, trainer=trainer) as its:
        run = asyncio.create_task(its.run("retrain_model"))
        await trainer.begun.wait()
        run.cancel()
        await asyncio.wait({run})
        (training,) = await its.trainings()
    assert (training.cause, training.state, training.reason) == ("daily", "failed", "TRAINING_STOPPED")
    assert training.message.startswith("the job was stopped before the training ended")


async def test_a_model_is_trained_daily_once_for_the_same_days(
    database: DatabaseAddresses, tmp_path: Path
) -> None:
    async with stand(database, tmp_path) as jobs:
        too_little = await jobs.run("retrain_model")
        await insert_world(database.admin, build_world().rows)
        async with trained_lock(database):
            busy = await jobs.run("retrain_model")
        first = await jobs.run("retrain_model")
        again = await jobs.run("retrain_model")
        jobs.times[0] += timedelta(days=1)
        next_day = await jobs.run("retrain_model")
        kept = await jobs.trainings()
    assert too_little.startswith("not trained: not enough data to train on")
    assert busy == "not trained: another training runs"
    assert first == "version 1 is live"
    assert again == "nothing to learn: a training has seen all days that are over"
    assert next_day.startswith("version 2 is rejected: it does not beat live version 1")
    assert [(each.state, each.cause, each.version) for each in kept if each.version] == [
        ("rejected", "daily", 2),
        ("promoted", "daily", 1),
    ]
    assert sorted(each.state for each in kept) == ["promoted", "refused", "rejected"]
    assert [(each.stage, each.progress) for each in kept if each.version] == [("done", 1.0), ("done", 1.0)]


async def test_a_world_that_stays_is_stable(
    database: DatabaseAddresses, trained: Trained, tmp_path: Path
) -> None:
    await insert_world(database.admin, trained.world.rows)
    await trained.publish(database.optimizer, tmp_path)
    async with stand(database, tmp_path) as jobs:
        too_early = await jobs.run("check_drift")
        early = await jobs.stub.GetModelDrift(models_pb2.GetModelDriftRequest())
        await insert_world(database.admin, later_rows(10))
        jobs.times[0] += timedelta(days=10)
        said = await jobs.run("check_drift")
        drift = await jobs.stub.GetModelDrift(models_pb2.GetModelDriftRequest())
        kept = await jobs.trainings()
    assert "version 1 is insufficient: only 0 of 3 days and 0 of 100 rows" in too_early
    assert (early.verdict, early.days, len(early.features)) == ("insufficient", 0, 0)
    assert not early.HasField("live_squared_error")
    assert not early.HasField("squared_error_growth")

    assert said.startswith("version 1 is stable")
    assert (drift.version, drift.verdict, drift.triggers_training) == (1, "stable", False)
    assert (drift.start_date, drift.end_date, drift.days) == ("2026-11-20", "2026-11-29", 10)
    assert drift.samples == 450
    assert [feature.name for feature in drift.features][-1] == "prediction"
    assert {feature.name for feature in drift.features if not feature.decides} == {"day_of_week", "month"}
    assert drift.live_squared_error < drift.baseline_squared_error
    interval = drift.squared_error_growth_interval
    assert interval.lower < drift.squared_error_growth < interval.upper
    assert kept == []


async def test_a_world_that_changed_is_found_and_learned(
    database: DatabaseAddresses, trained: Trained, tmp_path: Path
) -> None:
    """From `END_DAY` on, four of ten conversions no longer come."""
    await insert_world(database.admin, trained.world.rows)
    await trained.publish(database.optimizer, tmp_path)
    await insert_world(database.admin, later_rows(28, lower_by=0.4))
    async with stand(database, tmp_path) as jobs:
        jobs.times[0] += timedelta(days=28)
        said = await jobs.run("check_drift")
        (training,) = await jobs.trainings()
        live = await jobs.stub.ListModels(models_pb2.ListModelsRequest(statuses=["live"]))
        again = await jobs.run("check_drift")
    assert said.startswith("version 1 is degraded: its squared error has grown by")
    assert said.endswith("Trained again: version 2 is live")
    assert (training.cause, training.state) == ("drift", "promoted")
    assert "squared error has grown" in training.comment
    assert [model.version for model in live.models] == [2]
    assert again.startswith("version 2 is insufficient")


async def test_offers_that_moved_are_drift(
    database: DatabaseAddresses, trained: Trained, tmp_path: Path
) -> None:
    await insert_world(database.admin, trained.world.rows)
    await trained.publish(database.optimizer, tmp_path)
    await insert_world(database.admin, later_rows(7, raise_offer_micros=8_000_000))
    async with stand(database, tmp_path) as jobs:
        jobs.times[0] += timedelta(days=7)
        await jobs.run("check_drift")
        drift = await jobs.stub.GetModelDrift(models_pb2.GetModelDriftRequest())
    moved = {feature.name: feature for feature in drift.features if feature.move == "large"}
    assert "offer_amount" in moved
    assert moved["offer_amount"].population_stability_index > moved["offer_amount"].chance_limit
    assert drift.triggers_training
    assert any("offer_amount has moved" in reason for reason in drift.reasons)


async def test_drift_is_not_measured_without_a_model_or_its_file(
    database: DatabaseAddresses, trained: Trained, tmp_path: Path
) -> None:
    async with stand(database, tmp_path) as jobs:
        none = await jobs.run("check_drift")
        await trained.publish(database.optimizer, tmp_path)
        (tmp_path / "conversion/1/model.onnx").unlink()
        gone = await jobs.run("check_drift")
    assert none == "not measured: no model is live"
    assert gone.startswith("not measured: drift of version 1 cannot be measured")


async def test_the_process_measures_drift_and_refuses_in_its_own_words(
    database: DatabaseAddresses, tmp_path: Path
) -> None:
    process = TrainingProcess(database_url=database.optimizer, repository=tmp_path, timeout_seconds=60.0)
    with pytest.raises(FailedPreconditionError, match="no model is live") as refused:
        await process.measure_drift(END_DAY)
    assert refused.value.reason == "MODEL_NOT_TRAINED"


async def test_old_files_are_removed_and_what_going_back_needs_is_kept(
    database: DatabaseAddresses, trained: Trained, tmp_path: Path
) -> None:
    ages = {1: (ModelStatus.RETIRED, 90), 2: (ModelStatus.REJECTED, 80), 3: (ModelStatus.RETIRED, 70)}
    ages |= {4: (ModelStatus.REJECTED, 5), 5: (ModelStatus.LIVE, 60)}
    async with stand(database, tmp_path) as jobs:
        nothing = await jobs.run("prune_models")
        for version, (status, days) in ages.items():
            await trained.publish(database.optimizer, tmp_path, version, status, NOON - timedelta(days=days))
        async with trained_lock(database):
            busy = await jobs.run("prune_models")
        done = await jobs.run("prune_models")
        again = await jobs.run("prune_models")
        listed = await jobs.stub.ListModels(models_pb2.ListModelsRequest())
        back = await jobs.stub.RollbackModel(models_pb2.RollbackModelRequest())
    assert nothing == "nothing to remove; nothing to forget"
    assert busy == "nothing removed: a training runs; nothing to forget"
    assert done == "the files of 2 versions of conversion removed; nothing to forget"
    assert again == "nothing to remove; nothing to forget"
    kept = await fetch_rows(
        database.reporting,
        "select version from ml_models where serving_parameters <> '{}' and reference is not null",
    )
    assert {row["version"] for row in kept} == {3, 4, 5}
    assert {model.version: model.has_file for model in listed.models} == {
        1: False,
        2: False,
        3: True,
        4: True,
        5: True,
    }
    folders = sorted(path.name for path in (tmp_path / "conversion").iterdir() if path.is_dir())
    assert folders == ["3", "4", "5"]
    assert back.model.version == 3


@asynccontextmanager
async def trained_lock(database: DatabaseAddresses) -> AsyncIterator[None]:
    """Hold the right to train, as a training on another replica does."""
    pool = await Database.open(database.optimizer, application_name="test")
    try:
        async with pool.transaction() as connection:
            await connection.execute(
                "select pg_advisory_xact_lock(hashtextextended('optimizer.training', 0))"
            )
            yield
    finally:
        await pool.close()


async def test_the_schedules_are_an_hour_apart(database: DatabaseAddresses, tmp_path: Path) -> None:
    async with stand(database, tmp_path) as jobs:
        schedules = {name: str(job.schedule) for name, job in jobs.jobs.items()}
    assert schedules == {
        "check_drift": "daily at 02:00 UTC",
        "retrain_model": "daily at 03:00 UTC",
        "prune_models": "daily at 04:00 UTC",
    }
    assert await fetch_rows(database.reporting, "select 1 from trainings") == []


class KilledTrainer:
    """A training whose process is killed."""

    async def run(
        self,
        end_day: date,
        on_progress: Callable[[TrainingProgress], None],
        *,
        training_id: UUID | None = None,
    ) -> int:
        raise AbortedError("the training process was killed", reason="TRAINING_STOPPED")


class CancelledTrainer:
    """A training that runs until somebody on another replica asks it to stop."""

    def __init__(self) -> None:
        self.begun = asyncio.Event()

    async def run(
        self,
        end_day: date,
        on_progress: Callable[[TrainingProgress], None],
        *,
        training_id: UUID | None = None,
    ) -> int:
        self.begun.set()
        await asyncio.Event().wait()
        raise AssertionError


async def test_a_daily_training_that_somebody_cancelled_is_not_tried_again_at_once(
    database: DatabaseAddresses, tmp_path: Path
) -> None:
    trainer = CancelledTrainer()
    async with stand(database, tmp_path, trainer=trainer) as jobs:
        job = asyncio.create_task(jobs.run("retrain_model"))
        await trainer.begun.wait()
        (running,) = await jobs.trainings()
        await jobs.stub.CancelTraining(
            training_pb2.CancelTrainingRequest(
                training_id=running.training_id, actor="ben", comment="sale today"
            )
        )
        said = await job
    assert said == "not trained: the training was cancelled by ben: sale today"


async def test_a_training_that_was_killed_fails_the_job_which_is_then_tried_again(
    database: DatabaseAddresses, tmp_path: Path
) -> None:
    async with stand(database, tmp_path, trainer=KilledTrainer()) as jobs:
        with pytest.raises(AbortedError, match="was killed"):
            await jobs.run("retrain_model")
        (kept,) = await jobs.trainings()
    assert (kept.state, kept.reason) == ("failed", "TRAINING_STOPPED")
