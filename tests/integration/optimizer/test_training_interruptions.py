"""Trainings that are cut off, and candidates that nobody publishes."""

import asyncio
from datetime import date
from pathlib import Path
from uuid import UUID, uuid4

import grpc
import pytest

from deploy.local.bootstrap import DatabaseAddresses
from gen.campaigns.optimizer.v1 import training_pb2 as pb
from gen.campaigns.optimizer.v1.optimizer_service_pb2_grpc import OptimizerServiceStub
from services.common.database import Database
from services.common.errors import AbortedError, InternalError
from services.optimizer.domain.models.training_progress import OnProgress, TrainingProgress
from services.optimizer.domain.models.version import CONVERSION_MODEL
from services.optimizer.model_repository import ModelRepository
from services.optimizer.training.run import add_version
from tests.contract.optimizer.harness import (
    NOON,
    PATIENCE_SECONDS,
    ThreadTrainer,
    fetch_rows,
    insert_world,
    optimizer_settings,
    refusal_of,
    running_model_server,
    running_optimizer,
)
from tests.contract.optimizer.trainers import insert_training
from tests.integration.optimizer.trainings import files_in, statuses, training_of
from tests.unit.optimizer.synthetic import END_DAY, build_world


async def test_a_cancelled_training_leaves_nothing(database: DatabaseAddresses, tmp_path: Path) -> None:
    await insert_world(database.admin, build_world().rows)
    heard = asyncio.Event()

    def hear(progress: TrainingProgress) -> None:
        if progress.stage == "fit_forest":
            heard.set()

    training = asyncio.create_task(training_of(database, tmp_path).run(END_DAY, hear))
    await asyncio.wait_for(heard.wait(), 300)
    training.cancel()
    with pytest.raises(asyncio.CancelledError):
        await training
    assert await statuses(database) == []
    assert files_in(tmp_path) == []


async def test_a_training_that_takes_too_long_is_stopped(database: DatabaseAddresses, tmp_path: Path) -> None:
    await insert_world(database.admin, build_world().rows)
    with pytest.raises(Exception, match=r"took longer than 0\.2 seconds") as stopped:
        await training_of(database, tmp_path, seconds=0.2).run(END_DAY, lambda _: None)
    assert getattr(stopped.value, "reason", "") == "TRAINING_STOPPED"
    assert await statuses(database) == []


async def test_a_caller_who_leaves_the_stream_stops_the_training_and_frees_the_way(
    database: DatabaseAddresses, tmp_path: Path
) -> None:
    await insert_world(database.admin, build_world().rows)
    async with (
        running_model_server(tmp_path) as port,
        running_optimizer(optimizer_settings(database.optimizer, tmp_path, port)) as stub,
    ):
        call = stub.TrainModelWithProgress(pb.TrainModelWithProgressRequest())
        first = await call.read()
        assert isinstance(first, pb.TrainModelWithProgressResponse)
        with pytest.raises(grpc.aio.AioRpcError) as second:
            await stub.TrainModel(pb.TrainModelRequest())
        call.cancel()
        messages = await follow_when_free(stub)
    assert first.progress >= 0.0
    assert refusal_of(second.value).code == "ABORTED"
    assert refusal_of(second.value).reason == "TRAINING_RUNNING"
    assert messages[-1].result.version == 1
    assert messages[-1].result.status == "success"
    assert not any(message.HasField("result") for message in messages[:-1])
    shares = [message.progress for message in messages]
    assert shares == sorted(shares)
    assert shares[-1] == 1.0
    assert await statuses(database) == [(1, "live")]


async def follow_when_free(stub: OptimizerServiceStub) -> list[pb.TrainModelWithProgressResponse]:
    """Follow a training to its end, from when the one before has gone."""
    deadline = asyncio.get_running_loop().time() + 2 * PATIENCE_SECONDS
    while True:
        try:
            call = stub.TrainModelWithProgress(pb.TrainModelWithProgressRequest())
            return [message async for message in call]
        except grpc.aio.AioRpcError as error:
            if refusal_of(error).reason != "TRAINING_RUNNING":
                raise
            assert asyncio.get_running_loop().time() < deadline
            await asyncio.sleep(0.05)


class InterruptedTrainer:
    """Trains for real, then behaves as if the process had been killed before it could answer."""

    def __init__(self, trainer: ThreadTrainer) -> None:
        self._trainer = trainer
        self._calls = 0

    async def run(self, end_day: date, on_progress: OnProgress, *, training_id: UUID | None = None) -> int:
        self._calls += 1
        version = await self._trainer.run(end_day, on_progress, training_id=training_id)
        if self._calls == 1:
            raise AbortedError("killed", reason="TRAINING_STOPPED")
        return version


async def test_a_candidate_that_a_failure_leaves_is_rejected_at_once(
    database: DatabaseAddresses, tmp_path: Path
) -> None:
    await insert_world(database.admin, build_world().rows)
    async with running_model_server(tmp_path) as port:
        settings = optimizer_settings(database.optimizer, tmp_path, port)
        trainer = InterruptedTrainer(ThreadTrainer(settings=settings))
        async with running_optimizer(settings, trainer=trainer) as stub:
            with pytest.raises(grpc.aio.AioRpcError):
                await stub.TrainModel(pb.TrainModelRequest())
            (row,) = await fetch_rows(database.reporting, "select status, status_reason from ml_models")
            trained = await stub.TrainModel(pb.TrainModelRequest())
    assert tuple(row) == ("rejected", "not published: killed")
    assert trained.status == "success"
    assert await statuses(database) == [(1, "rejected"), (2, "live")]


async def test_a_candidate_whose_publisher_is_gone_is_rejected_by_the_next_training(
    database: DatabaseAddresses, tmp_path: Path
) -> None:
    """The training process had done its work when the serving process was killed."""
    await insert_world(database.admin, build_world().rows)
    async with running_model_server(tmp_path) as port:
        settings = optimizer_settings(database.optimizer, tmp_path, port)
        trainer = ThreadTrainer(settings=settings)
        assert await trainer.run(END_DAY, lambda _: None) == 1
        assert await statuses(database) == [(1, "candidate")]
        assert not (tmp_path / "conversion/config.pbtxt").exists()
        async with running_optimizer(settings, trainer=trainer) as stub:
            trained = await stub.TrainModel(pb.TrainModelRequest())
    assert trained.status == "success"
    assert await statuses(database) == [(1, "rejected"), (2, "live")]


async def test_a_training_whose_record_is_ended_leaves_nothing(
    database: DatabaseAddresses, tmp_path: Path
) -> None:
    """Another training took it for lost, while its process went on: no version, no folder, no audience."""
    await insert_world(database.admin, build_world().rows)
    training_id, other_id = uuid4(), uuid4()
    await insert_training(database.optimizer, training_id, NOON, ended_at=NOON)
    await insert_training(database.optimizer, other_id, NOON)
    settings = optimizer_settings(database.optimizer, tmp_path, 1)
    trainer = ThreadTrainer(settings=settings)
    with pytest.raises(AbortedError) as over:
        await trainer.run(END_DAY, lambda _: None, training_id=training_id)
    assert over.value.reason == "TRAINING_STOPPED"
    assert await statuses(database) == []
    assert files_in(tmp_path) == []
    assert await trainer.run(END_DAY, lambda _: None, training_id=other_id) == 1
    assert await statuses(database) == [(1, "candidate")]


async def test_trainings_that_end_together_take_numbers_of_their_own(
    database: DatabaseAddresses, tmp_path: Path
) -> None:
    repository = ModelRepository(tmp_path, CONVERSION_MODEL)
    pool = await Database.open(database.optimizer, application_name="test")
    contents = [bytes([number]) * 1000 for number in range(6)]
    try:
        versions = await asyncio.gather(*(add_version(pool, repository, each) for each in contents))
    finally:
        await pool.close()
    assert sorted(versions) == [1, 2, 3, 4, 5, 6]
    assert [repository.read_model(version) for version in versions] == contents


async def test_a_repository_that_cannot_be_written_is_no_lost_database_to_a_training(
    database: DatabaseAddresses, tmp_path: Path
) -> None:
    (tmp_path / "conversion").write_bytes(b"")
    pool = await Database.open(database.optimizer, application_name="test")
    try:
        with pytest.raises(InternalError, match="the model repository cannot be written: File exists"):
            await add_version(pool, ModelRepository(tmp_path, CONVERSION_MODEL), b"model")
    finally:
        await pool.close()


class SabotagedTrainer:
    """Trains for real, then spoils the file that the model server is about to read."""

    def __init__(self, trainer: ThreadTrainer) -> None:
        self._trainer = trainer

    async def run(self, end_day: date, on_progress: OnProgress, *, training_id: UUID | None = None) -> int:
        version = await self._trainer.run(end_day, on_progress, training_id=training_id)
        path = self._trainer.settings.repository / "conversion" / str(version) / "model.onnx"
        path.write_bytes(b"no model")
        return version


async def test_a_version_that_the_model_server_refuses_is_rejected_and_the_live_one_stays(
    database: DatabaseAddresses, tmp_path: Path
) -> None:
    await insert_world(database.admin, build_world().rows)
    async with running_model_server(tmp_path) as port:
        settings = optimizer_settings(database.optimizer, tmp_path, port)
        async with running_optimizer(
            settings, trainer=SabotagedTrainer(ThreadTrainer(settings=settings))
        ) as stub:
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await stub.TrainModel(pb.TrainModelRequest())
    assert refusal_of(refused.value).reason in {"PEER_FAILED", "PEER_FAILED_PRECONDITION"}
    assert await statuses(database) == [(1, "rejected")]
    (row,) = await fetch_rows(database.reporting, "select status_reason from ml_models")
    said = "version 1 could not be put live, and is rejected: the model server"
    assert refusal_of(refused.value).message.startswith(said)
    assert row["status_reason"].startswith(f"not published: {said}")
