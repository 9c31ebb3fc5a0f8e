"""Trainings over a real database and repository: verdicts, interruptions, one at a time."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from uuid import UUID, uuid4

import grpc
import pytest

from deploy.local.bootstrap import DatabaseAddresses
from gen.campaigns.optimizer.v1 import models_pb2, offers_pb2
from gen.campaigns.optimizer.v1 import training_pb2 as pb
from gen.campaigns.optimizer.v1.optimizer_service_pb2_grpc import OptimizerServiceStub
from services.common.database import Database
from services.common.errors import AbortedError, FailedPreconditionError
from services.common.wire import datetime_to_timestamp
from services.optimizer.domain.models.model_version import CONVERSION_MODEL
from services.optimizer.domain.models.training_progress import TrainingProgress
from services.optimizer.model_repository import ModelRepository
from services.optimizer.training.run import add_version
from services.optimizer.training_process import TrainingProcess
from tests.contract.optimizer.harness import (
    NOON,
    ThreadTrainer,
    fetch_rows,
    insert_world,
    optimizer_settings,
    refusal_of,
    running_model_server,
    running_optimizer,
)
from tests.unit.optimizer.synthetic import END_DAY, build_world

MOVE_ROWS = "update analytics.campaign_delivery_daily set views = views where extract(isodow from day) < 4"
"""Rows that are written again lie elsewhere, and are read in another order by whoever asks for none."""
LATER = END_DAY + timedelta(days=20)


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


def training_of(database: DatabaseAddresses, repository: Path, seconds: float = 120.0) -> TrainingProcess:
    return TrainingProcess(database_url=database.optimizer, repository=repository, timeout_seconds=seconds)


async def test_a_model_of_noise_is_kept_as_rejected(database: DatabaseAddresses, tmp_path: Path) -> None:
    await insert_world(database.admin, build_world(noise_only=True).rows)
    async with (
        running_model_server(tmp_path) as port,
        quickly_training_optimizer(database, tmp_path, port) as stub,
    ):
        trained = await stub.TrainModel(pb.TrainModelRequest())
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await stub.OptimizeOffer(offers_pb2.OptimizeOfferRequest(campaign_id="campaign-0"))
    assert trained.status == "rejected"
    assert "does not beat the mean conversion rate of each campaign type" in trained.reason
    assert trained.r2_score < 0.05
    assert refusal_of(refused.value).reason == "MODEL_NOT_TRAINED"
    assert await statuses(database) == [(1, "rejected")]
    assert not (tmp_path / "conversion/config.pbtxt").exists()


async def test_a_second_training_must_beat_the_live_version(
    database: DatabaseAddresses, tmp_path: Path
) -> None:
    """The same data again is no better; later data from another world makes the next version better.

    That one is not made live again by the same training after somebody went back from it.
    """
    await insert_world(database.admin, build_world().rows)
    times = [NOON]
    async with (
        running_model_server(tmp_path) as port,
        quickly_training_optimizer(database, tmp_path, port, clock=lambda: times[0]) as stub,
    ):
        first = await stub.TrainModel(pb.TrainModelRequest())
        await fetch_rows(database.admin, MOVE_ROWS)
        again = await stub.TrainModel(pb.TrainModelRequest())
        changed = build_world(seed=2, days=60, end_day=LATER + timedelta(days=40))
        recent = [row for row in changed.rows if row[1] >= END_DAY]
        await insert_world(database.admin, recent)
        times[0] = datetime.combine(LATER + timedelta(days=40), time(12), tzinfo=UTC)
        newer = await stub.TrainModel(pb.TrainModelRequest())
        answer = await stub.OptimizeOffer(offers_pb2.OptimizeOfferRequest(campaign_id="campaign-0"))
        earlier = await stub.TrainModel(
            pb.TrainModelRequest(as_of=datetime_to_timestamp(NOON - timedelta(days=10)))
        )
        await stub.RollbackModel(models_pb2.RollbackModelRequest(expected_live_version=3))
        undoing = await stub.TrainModel(pb.TrainModelRequest())
    assert (first.status, again.status, newer.status) == ("success", "rejected", "success")
    assert again.reason == "it is the same as version 1, which is live"
    assert (again.r2_score, again.mae) == (first.r2_score, first.mae)
    assert undoing.status == "rejected"
    assert undoing.reason == (
        "it is the same as version 3, which is retired; RollbackModel puts that one live again"
    )
    assert answer.model_version == 3
    assert earlier.status == "rejected"
    assert "train with a later as_of" in earlier.reason
    assert await statuses(database) == [
        (1, "live"),
        (2, "rejected"),
        (3, "retired"),
        (4, "rejected"),
        (5, "rejected"),
    ]
    config = (tmp_path / "conversion/config.pbtxt").read_text()
    assert "specific: { versions: [ 1, 3 ] }" in config


async def test_too_little_data_is_refused_and_says_what_is_missing(
    database: DatabaseAddresses, tmp_path: Path
) -> None:
    await insert_world(database.admin, build_world(campaigns=3, days=5, impressions=20).rows)
    with pytest.raises(FailedPreconditionError) as refused:
        await training_of(database, tmp_path).run(END_DAY, lambda _: None)
    assert refused.value.reason == "DATA_INSUFFICIENT"
    assert "5 of 14 days" in refused.value.message
    assert "15 of 100 rows" in refused.value.message
    assert await statuses(database) == []
    assert files_in(tmp_path) == []


async def test_without_any_data_it_is_refused_before_anything_heavy_is_imported(
    database: DatabaseAddresses, tmp_path: Path
) -> None:
    await insert_world(database.admin, build_world(campaigns=3, days=5, impressions=20).rows)
    look = (
        "import runpy, sys; sys.argv = ['training', '--end-day', '2020-01-01']\n"
        "try: runpy.run_module('services.optimizer.training', run_name='__main__')\n"
        "except SystemExit as ended: print(ended.code, sorted({'onnx', 'sklearn'} & set(sys.modules)))"
    )
    settings = {"OPTIMIZER_DATABASE_URL": database.optimizer, "MODEL_REPOSITORY": str(tmp_path)}
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        look,
        env=os.environ | settings,
        stdout=asyncio.subprocess.PIPE,
        stdin=asyncio.subprocess.DEVNULL,
    )
    said, _ = await process.communicate()
    refusal, ended = said.decode().splitlines()
    assert "0 of 14 days" in refusal
    assert "DATA_INSUFFICIENT" in refusal
    assert ended == "3 []"


async def test_only_whole_days_before_the_time_asked_for_are_read(
    database: DatabaseAddresses, tmp_path: Path
) -> None:
    """At noon of the last day, that day is not over; in Auckland it began half a day earlier."""
    await insert_world(database.admin, build_world(days=70).rows)
    admin_change = "update analytics.reporting_settings set reporting_time_zone = 'Pacific/Auckland'"
    await fetch_rows(database.admin, admin_change)
    as_of = datetime(2026, 11, 14, 12, tzinfo=UTC)
    async with (
        running_model_server(tmp_path) as port,
        quickly_training_optimizer(database, tmp_path, port) as stub,
    ):
        await stub.TrainModel(pb.TrainModelRequest(as_of=datetime_to_timestamp(as_of)))
    (row,) = await fetch_rows(database.reporting, "select first_day, end_day from ml_models")
    assert row["end_day"] == date(2026, 11, 15)
    assert row["first_day"] == date(2026, 11, 15) - timedelta(days=90)


async def test_a_cancelled_training_leaves_nothing(database: DatabaseAddresses, tmp_path: Path) -> None:
    await insert_world(database.admin, build_world().rows)
    heard = asyncio.Event()

    def hear(progress: TrainingProgress) -> None:
        if progress.stage == "fit_forest":
            heard.set()

    training = asyncio.create_task(training_of(database, tmp_path).run(END_DAY, hear))
    await asyncio.wait_for(heard.wait(), 60)
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
    deadline = asyncio.get_running_loop().time() + 30
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

    async def run(
        self,
        end_day: date,
        on_progress: Callable[[TrainingProgress], None],
        *,
        training_id: UUID | None = None,
    ) -> int:
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
    insert = (
        "insert into trainings (training_id, state, cause, actor, comment, end_day, stage, progress,"
        " started_at, heartbeat_at, ended_at)"
        " values ($1, $2, 'daily', '', '', '2026-11-20', 'start', 0, now(), now(), $3)"
    )
    await fetch_rows(database.optimizer, insert, training_id, "failed", NOON)
    await fetch_rows(database.optimizer, insert, other_id, "running", None)
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


class SabotagedTrainer:
    """Trains for real, then spoils the file that the model server is about to read."""

    def __init__(self, trainer: ThreadTrainer) -> None:
        self._trainer = trainer

    async def run(
        self,
        end_day: date,
        on_progress: Callable[[TrainingProgress], None],
        *,
        training_id: UUID | None = None,
    ) -> int:
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
    assert "the model server did not take it" in row["status_reason"]
