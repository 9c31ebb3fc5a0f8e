"""The record of trainings through real stubs: what is kept, and stopping one from another replica."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import date, datetime, timedelta
from itertools import count
from pathlib import Path
from uuid import UUID

import grpc
import pytest

from deploy.local.bootstrap import DatabaseAddresses
from gen.campaigns.optimizer.v1 import training_pb2 as pb
from gen.campaigns.optimizer.v1.optimizer_service_pb2_grpc import OptimizerServiceStub
from services.common.errors import FailedPreconditionError, InternalError
from services.common.grpc_client import open_channel
from services.common.grpc_server import build_server
from services.common.wire import datetime_to_timestamp
from services.optimizer.domain.models.training_progress import OnProgress, TrainingProgress
from services.optimizer.domain.models.trainings import LOST_AFTER
from services.optimizer.domain.models.version import ModelStatus
from services.optimizer.operations import training as training_operations
from services.optimizer.server import open_services
from tests.contract.optimizer.conftest import Trained
from tests.contract.optimizer.harness import (
    NOON,
    PATIENCE_SECONDS,
    fetch_rows,
    insert_world,
    optimizer_settings,
    refusal_of,
    running_model_server,
    running_optimizer,
)
from tests.contract.optimizer.trainers import ScriptedTrainer, insert_training

UNKNOWN = "1f1c5a52-6c3e-4a0e-9d0a-6f3f0a0b0c0d"


class Script:
    """A trainer that does what a test says: a program per call."""

    def __init__(self, *programs: Callable[["Script"], object]) -> None:
        self.programs = list(programs)
        self.begun = asyncio.Event()
        self.stopped = False

    async def run(self, end_day: date, on_progress: OnProgress, *, training_id: UUID | None = None) -> int:
        on_progress(TrainingProgress(stage="fit_forest", fraction=0.5))
        self.begun.set()
        program = self.programs.pop(0)
        try:
            outcome = program(self)
            if asyncio.iscoroutine(outcome):
                await outcome
        except asyncio.CancelledError:
            self.stopped = True
            raise
        raise InternalError("the training failed; nothing was published", reason="INTERNAL")


async def forever(_: Script) -> None:
    await asyncio.Event().wait()


def refuse(_: Script) -> None:
    raise FailedPreconditionError("too little data", reason="DATA_INSUFFICIENT")


def fail(_: Script) -> None:
    """Return; the trainer fails then."""


def crash(_: Script) -> None:
    raise ValueError("a secret")


@asynccontextmanager
async def replicas(
    database: DatabaseAddresses, repository: Path, trainer: Script
) -> AsyncIterator[tuple[OptimizerServiceStub, OptimizerServiceStub]]:
    """Two replicas of the optimizer over one database; the second has no part in what the first runs."""
    async with running_model_server(repository) as port:
        settings = optimizer_settings(database.optimizer, repository, port)
        ticks = count()

        def clock() -> datetime:
            return NOON + timedelta(milliseconds=next(ticks))

        async with (
            running_optimizer(settings, clock=clock, trainer=trainer) as one,
            running_optimizer(settings, clock=clock, trainer=Script()) as other,
        ):
            yield one, other


async def the_training(stub: OptimizerServiceStub) -> pb.Training:
    listed = await stub.ListTrainings(pb.ListTrainingsRequest())
    return listed.trainings[0]


async def failure(call: grpc.aio.UnaryUnaryCall[pb.TrainModelRequest, pb.TrainModelResponse]) -> str:
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await call
    return f"{refusal_of(error.value).code} {refusal_of(error.value).reason}"


async def test_a_training_is_stopped_from_another_replica(
    database: DatabaseAddresses, tmp_path: Path
) -> None:
    script = Script(forever, refuse)
    async with replicas(database, tmp_path, script) as (one, other):
        call = one.TrainModel(pb.TrainModelRequest(actor="anna", comment="new prices"))
        await script.begun.wait()
        running = await the_training(other)
        busy = await failure(other.TrainModel(pb.TrainModelRequest()))
        cancelled = await other.CancelTraining(
            pb.CancelTrainingRequest(training_id=running.training_id, actor="ben", comment="wrong day")
        )
        with pytest.raises(grpc.aio.AioRpcError) as told:
            await call
        again = await other.CancelTraining(pb.CancelTrainingRequest(training_id=running.training_id))
        freed = await failure(one.TrainModel(pb.TrainModelRequest()))
    assert UUID(running.training_id)
    assert (running.state, running.cause, running.actor, running.comment) == (
        "running",
        "request",
        "anna",
        "new prices",
    )
    assert running.end_date == "2026-11-20"
    assert not running.HasField("end_time")
    assert busy == "ABORTED TRAINING_RUNNING"
    assert script.stopped
    assert cancelled.training.state == "cancelled"
    assert cancelled.training.message == "the training was cancelled by ben: wrong day"
    assert cancelled.training.stage == "fit_forest"
    assert cancelled.training.HasField("cancel_request_time")
    assert refusal_of(told.value).reason == "TRAINING_CANCELLED"
    assert again.training == cancelled.training
    assert freed == "FAILED_PRECONDITION DATA_INSUFFICIENT"


async def test_every_ending_is_kept_and_listed_by_page(database: DatabaseAddresses, tmp_path: Path) -> None:
    script = Script(refuse, fail, crash, forever)
    async with replicas(database, tmp_path, script) as (one, other):
        for _ in range(3):
            await failure(one.TrainModel(pb.TrainModelRequest()))
        script.begun.clear()
        leaving = one.TrainModel(pb.TrainModelRequest(as_of=datetime_to_timestamp(NOON - timedelta(days=3))))
        await script.begun.wait()
        leaving.cancel()
        async with asyncio.timeout(PATIENCE_SECONDS):
            while (await the_training(other)).state == "running":
                await asyncio.sleep(0.02)
        first = await other.ListTrainings(pb.ListTrainingsRequest(limit=3))
        rest = await other.ListTrainings(pb.ListTrainingsRequest(page_token=first.next_page_token))
    listed = [*first.trainings, *rest.trainings]
    assert [(each.state, each.reason) for each in listed[:1]] == [("cancelled", "")]
    assert listed[0].end_date == "2026-11-17"
    assert listed[0].message.startswith("the call ended before the training did: whoever asked left")
    assert {(each.state, each.reason, each.message) for each in listed[1:]} == {
        ("refused", "DATA_INSUFFICIENT", "too little data"),
        ("failed", "INTERNAL", "the training failed; nothing was published"),
        ("failed", "INTERNAL", "the training failed by a defect"),
    }
    assert rest.next_page_token == ""


async def test_a_training_that_a_stop_of_the_service_cut_off_says_so(
    database: DatabaseAddresses, tmp_path: Path
) -> None:
    script, stopping = Script(forever), asyncio.Event()
    async with running_model_server(tmp_path) as port:
        settings = optimizer_settings(database.optimizer, tmp_path, port)
        async with open_services(settings, trainer=script, stopping=stopping) as (services, _):
            server = build_server(settings=settings, services=services)
            own_port = server.add_insecure_port("127.0.0.1:0")
            await server.start()
            async with open_channel(f"127.0.0.1:{own_port}") as channel:
                call = OptimizerServiceStub(channel).TrainModel(pb.TrainModelRequest(actor="anna"))
                await script.begun.wait()
                stopping.set()
                await server.stop(None)
                with pytest.raises(grpc.aio.AioRpcError):
                    await call
    (kept,) = await fetch_rows(database.optimizer, "select state, reason, message from trainings")
    assert script.stopped
    assert tuple(kept) == (
        "failed",
        "TRAINING_STOPPED",
        "the service was stopped before the training ended; nothing was published",
    )


async def test_a_training_on_days_to_come_is_refused_before_it_begins(
    database: DatabaseAddresses, tmp_path: Path
) -> None:
    script = Script(refuse)
    async with replicas(database, tmp_path, script) as (one, _):
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await one.TrainModel(
                pb.TrainModelRequest(as_of=datetime_to_timestamp(NOON + timedelta(minutes=6)))
            )
        none = await one.ListTrainings(pb.ListTrainingsRequest())
        ahead = pb.TrainModelRequest(as_of=datetime_to_timestamp(NOON + timedelta(minutes=4)))
        clocks_differ = await failure(one.TrainModel(ahead))
    refusal = refusal_of(refused.value)
    assert (refusal.code, refusal.fields) == ("INVALID_ARGUMENT", ("as_of",))
    assert "must not lie in the future" in refusal.message
    assert len(none.trainings) == 0
    assert clocks_differ == "FAILED_PRECONDITION DATA_INSUFFICIENT"


async def test_a_training_whose_replica_is_gone_is_interrupted_and_then_failed(
    database: DatabaseAddresses, tmp_path: Path
) -> None:
    script = Script(refuse)
    lost = NOON - LOST_AFTER - timedelta(seconds=1)
    await insert_training(database.optimizer, UUID(UNKNOWN), lost)
    async with replicas(database, tmp_path, script) as (one, other):
        interrupted = await the_training(other)
        stopped = await other.CancelTraining(pb.CancelTrainingRequest(training_id=UNKNOWN))
        await failure(one.TrainModel(pb.TrainModelRequest()))
        listed = await other.ListTrainings(pb.ListTrainingsRequest())
    assert (interrupted.state, interrupted.progress) == ("interrupted", 0.4)
    assert stopped.training.state == "interrupted"
    assert [(each.state, each.message) for each in listed.trainings] == [
        ("refused", "too little data"),
        ("failed", "whatever ran it is gone"),
    ]


async def test_a_training_that_does_not_stop_is_answered_as_it_is(
    database: DatabaseAddresses, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training_operations, "CANCEL_SECONDS", 0.2)
    await insert_training(database.optimizer, UUID(UNKNOWN), NOON)
    async with replicas(database, tmp_path, Script()) as (one, _):
        answer = await one.CancelTraining(pb.CancelTrainingRequest(training_id=UNKNOWN))
    assert answer.training.state == "running"
    assert answer.training.HasField("cancel_request_time")


async def test_what_is_no_training(database: DatabaseAddresses, tmp_path: Path) -> None:
    async with replicas(database, tmp_path, Script()) as (one, _):
        with pytest.raises(grpc.aio.AioRpcError) as unknown:
            await one.CancelTraining(pb.CancelTrainingRequest(training_id=UNKNOWN))
        with pytest.raises(grpc.aio.AioRpcError) as no_id:
            await one.CancelTraining(pb.CancelTrainingRequest(training_id="seven"))
        with pytest.raises(grpc.aio.AioRpcError) as no_token:
            await one.ListTrainings(pb.ListTrainingsRequest(page_token="bm90aGluZw"))
    assert (refusal_of(unknown.value).code, refusal_of(unknown.value).reason) == (
        "NOT_FOUND",
        "TRAINING_UNKNOWN",
    )
    assert refusal_of(no_id.value).fields == ("training_id",)
    assert refusal_of(no_token.value).fields == ("page_token",)


async def test_a_version_that_another_one_overtook_is_not_published(
    database: DatabaseAddresses, trained: Trained, tmp_path: Path
) -> None:
    """While it was trained another version went live: it was compared with one that is live no more."""

    async def be_overtaken(_: UUID | None) -> int:
        await trained.publish(database.optimizer, tmp_path, 1)
        await trained.publish(database.optimizer, tmp_path, 2, status=ModelStatus.CANDIDATE)
        return 2

    await insert_world(database.admin, trained.world.rows)
    async with (
        running_model_server(tmp_path) as port,
        running_optimizer(
            optimizer_settings(database.optimizer, tmp_path, port), trainer=ScriptedTrainer(be_overtaken)
        ) as stub,
    ):
        answer = await stub.TrainModel(pb.TrainModelRequest())
        kept = await the_training(stub)
    assert (answer.status, answer.version) == ("rejected", 2)
    assert "another version went live while it was trained" in answer.reason
    assert (kept.state, kept.version, kept.training_id) == ("rejected", 2, answer.training_id)
