"""The jobs of the model, over a real database, repository and model server: retraining and old files."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from shutil import copytree

import grpc
import pytest

from deploy.local.bootstrap import DatabaseAddresses
from gen.campaigns.optimizer.v1 import model_changes_pb2, models_pb2, training_pb2
from gen.campaigns.optimizer.v1.offers_pb2 import OptimizeOfferRequest
from services.common.database import Database
from services.common.errors import AbortedError, InternalError
from services.optimizer.domain.models.version import ModelStatus
from tests.contract.optimizer.conftest import Trained
from tests.contract.optimizer.harness import (
    NOON,
    fetch_rows,
    insert_world,
    refusal_of,
)
from tests.contract.optimizer.trainers import EndlessTrainer, ScriptedTrainer, be_killed
from tests.contract.optimizer.training_jobs_stand import stand
from tests.unit.optimizer.synthetic import build_world


async def test_a_daily_training_that_is_cut_off_was_left_by_nobody(
    database: DatabaseAddresses, tmp_path: Path
) -> None:
    trainer = EndlessTrainer()
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
        (change,) = (await jobs.stub.ListModelChanges(model_changes_pb2.ListModelChangesRequest())).changes
    assert too_little.startswith("not trained: not enough data to train on")
    assert busy == "not trained: another training runs"
    assert first == "version 1 is live"
    assert again == "nothing to learn: a training has seen all days that are over"
    assert next_day.startswith("version 2 is rejected: it is the same as version 1")
    assert [(each.state, each.cause, each.version) for each in kept if each.version] == [
        ("rejected", "daily", 2),
        ("promoted", "daily", 1),
    ]
    assert sorted(each.state for each in kept) == ["promoted", "refused", "rejected"]
    assert (change.kind, change.cause, change.is_automatic, change.version) == ("promotion", "daily", True, 1)
    assert not change.HasField("previous_version")
    assert change.training_id == next(each.training_id for each in kept if each.state == "promoted")
    assert change.reason.startswith("beats the baseline")
    assert [(each.stage, each.progress) for each in kept if each.version] == [("done", 1.0), ("done", 1.0)]


async def test_a_live_version_whose_file_broke_is_not_compared_with_and_is_replaced(
    database: DatabaseAddresses, trained: Trained, tmp_path: Path
) -> None:
    await insert_world(database.admin, trained.world.rows)
    await trained.publish(database.optimizer, tmp_path)
    (tmp_path / "conversion/1/model.onnx").write_bytes(trained.model.model[:1000])
    async with stand(database, tmp_path) as jobs:
        unmeasured = await jobs.run("check_drift")
        replaced = await jobs.run("retrain_model")
        answer = await jobs.stub.OptimizeOffer(OptimizeOfferRequest(campaign_id="campaign-1"))
    assert unmeasured.startswith("not measured: drift of version 1 cannot be measured")
    assert replaced == "version 2 is live"
    assert answer.model_version == 2


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
        folders = sorted(path.name for path in (tmp_path / "conversion").iterdir() if path.is_dir())
        copytree(tmp_path / "conversion/3", tmp_path / "conversion/1")
        with pytest.raises(grpc.aio.AioRpcError) as restored:
            await jobs.stub.RollbackModel(models_pb2.RollbackModelRequest(version=1))
        with pytest.raises(grpc.aio.AioRpcError) as none_left:
            await jobs.stub.RollbackModel(models_pb2.RollbackModelRequest())
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
    assert folders == ["3", "4", "5"]
    assert back.model.version == 3
    refusal = refusal_of(restored.value)
    assert (refusal.code, refusal.reason) == ("FAILED_PRECONDITION", "MODEL_NOT_RESTORABLE")
    assert refusal.message == (
        f"version 1 was removed {NOON:%Y-%m-%d}, with what serving needs beside its file, and cannot come"
        " back; train anew (TrainModel, POST /api/optimize/train-model)"
    )
    assert "no version that has its files was live before" in refusal_of(none_left.value).message


async def test_what_interrupted_trainings_left_is_removed_and_what_may_be_under_way_is_not(
    database: DatabaseAddresses, trained: Trained, tmp_path: Path
) -> None:
    """Folders 1, 3 and 6 are of no version: 3 is young, and 6 above all that are known. None is live."""
    long_ago = (NOON - timedelta(days=90)).timestamp()
    async with stand(database, tmp_path) as jobs:
        await trained.publish(
            database.optimizer, tmp_path, 2, ModelStatus.REJECTED, NOON - timedelta(days=90)
        )
        await trained.publish(database.optimizer, tmp_path, 5, ModelStatus.REJECTED, NOON)
        for version, age in ((1, long_ago), (3, NOON.timestamp()), (6, long_ago)):
            copytree(tmp_path / "conversion/2", tmp_path / f"conversion/{version}")
            os.utime(tmp_path / f"conversion/{version}", (age, age))
        done = await jobs.run("prune_models")
        again = await jobs.run("prune_models")
    assert done.startswith("the files of 1 versions of conversion removed, and 1 folders of none")
    assert again.startswith("nothing to remove")
    assert sorted(path.name for path in (tmp_path / "conversion").iterdir()) == ["3", "5", "6"]


async def test_a_repository_that_cannot_be_written_keeps_no_records(
    database: DatabaseAddresses, trained: Trained, tmp_path: Path
) -> None:
    await fetch_rows(
        database.admin,
        "insert into optimizer.campaign_optimization_verdicts values"
        f" ('c', 'channel', 'k', 'NO_BETTER_CHOICE', '', '{NOON - timedelta(days=5)}')",
    )
    async with stand(database, tmp_path) as jobs:
        for version, status in ((1, ModelStatus.REJECTED), (2, ModelStatus.LIVE)):
            await trained.publish(database.optimizer, tmp_path, version, status, NOON - timedelta(days=90))
        (tmp_path / "conversion/.staging-config.pbtxt").mkdir()
        with pytest.raises(InternalError, match="the model repository cannot be written"):
            await jobs.run("prune_models")
    assert await fetch_rows(database.reporting, "select 1 from campaign_optimization_verdicts") == []
    assert (tmp_path / "conversion/1/model.onnx").exists()


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


async def test_a_daily_training_that_somebody_cancelled_is_not_tried_again_at_once(
    database: DatabaseAddresses, tmp_path: Path
) -> None:
    trainer = EndlessTrainer()
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
    async with stand(database, tmp_path, trainer=ScriptedTrainer(be_killed)) as jobs:
        with pytest.raises(AbortedError, match="was killed"):
            await jobs.run("retrain_model")
        (kept,) = await jobs.trainings()
    assert (kept.state, kept.reason) == ("failed", "TRAINING_STOPPED")
