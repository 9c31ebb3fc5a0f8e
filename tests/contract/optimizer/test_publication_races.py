"""Versions put live in adversity: a training at the same time, a server that hangs, files that broke."""

import asyncio
from datetime import timedelta
from pathlib import Path

import asyncpg
import grpc
import pytest

from deploy.local.bootstrap import DatabaseAddresses
from gen.campaigns.optimizer.v1 import models_pb2, training_pb2
from gen.campaigns.optimizer.v1.offers_pb2 import OptimizeOfferRequest
from gen.inference import grpc_service_pb2 as inference_pb
from gen.inference import grpc_service_pb2_grpc as inference_grpc
from services.common.database import Database
from services.common.errors import FailedPreconditionError
from services.common.grpc_client import open_channel
from services.optimizer.domain.models.version import CONVERSION_MODEL, ModelStatus
from services.optimizer.model_client import ModelClient
from services.optimizer.model_repository import ModelRepository
from services.optimizer.operations.model_keeping import ModelKeeper
from services.optimizer.operations.publication import Publication
from services.optimizer.store import training as training_store
from tests.contract.optimizer.conftest import Trained
from tests.contract.optimizer.harness import (
    NOON,
    fetch_rows,
    insert_world,
    optimizer_settings,
    refusal_of,
    running_model_server,
    running_optimizer,
)
from tests.contract.optimizer.trainers import CandidateTrainer

LOCK = "select pg_advisory_xact_lock(hashtextextended('optimizer.publication', 0))"
WAITS_FOR_A_LOCK = (
    "select 1 from pg_locks where locktype = 'advisory' and not granted"
    " and database = (select oid from pg_database where datname = current_database())"
)
LIVE = "update optimizer.ml_models set status = $2, status_changed_at = now() where version = $1"
STANDING = "select version, status from ml_models order by version"


async def test_a_training_waits_for_a_rollback_under_way_and_does_not_undo_it(
    database: DatabaseAddresses, trained: Trained, tmp_path: Path
) -> None:
    """The rollback to version 2 holds the right to publish when the candidate, version 1, is ready."""
    await insert_world(database.admin, trained.world.rows)
    await trained.publish(database.optimizer, tmp_path, 2, ModelStatus.RETIRED)
    await trained.publish(database.optimizer, tmp_path, 3)
    rollback = await asyncpg.connect(database.admin)
    async with running_model_server(tmp_path) as port:
        settings = optimizer_settings(database.optimizer, tmp_path, port)
        async with running_optimizer(
            settings, trainer=CandidateTrainer(trained, database.optimizer, tmp_path)
        ) as stub:
            async with rollback.transaction():
                await rollback.execute(LOCK)
                await rollback.execute(LIVE, 3, "retired")
                await rollback.execute(LIVE, 2, "live")
                training = stub.TrainModel(training_pb2.TrainModelRequest())
                while not training.done() and not await fetch_rows(database.admin, WAITS_FOR_A_LOCK):
                    await asyncio.sleep(0.02)
            overtaken = await training
    await rollback.close()
    assert overtaken.status == "rejected"
    standing = await fetch_rows(database.reporting, STANDING)
    assert [tuple(row) for row in standing] == [(1, "rejected"), (2, "live"), (3, "retired")]


async def test_a_rollback_that_another_publication_holds_up_is_told_so_in_seconds(
    database: DatabaseAddresses, trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Told by its own name, and not as a database that is slow; asked again it goes back."""
    await trained.publish(database.optimizer, tmp_path, 1, ModelStatus.RETIRED)
    await trained.publish(database.optimizer, tmp_path, 2)
    other = await asyncpg.connect(database.admin)
    async with (
        running_model_server(tmp_path) as port,
        running_optimizer(optimizer_settings(database.optimizer, tmp_path, port)) as stub,
    ):
        with monkeypatch.context() as hurried:
            hurried.setattr(training_store, "PUBLICATION_SECONDS", 0.2)
            async with other.transaction():
                await other.execute(LOCK)
                with pytest.raises(grpc.aio.AioRpcError) as held_up:
                    await stub.RollbackModel(models_pb2.RollbackModelRequest())
        back = await stub.RollbackModel(models_pb2.RollbackModelRequest())
    await other.close()
    refusal = refusal_of(held_up.value)
    assert (refusal.code, refusal.reason) == ("ABORTED", "CONCURRENT_UPDATE")
    assert "ListModels" in refusal.message
    assert back.model.version == 1


class HangingModelServer(inference_grpc.GRPCInferenceServiceServicer):
    """Takes questions and answers none until it is let go, and then has nothing."""

    def __init__(self) -> None:
        self.asked, self.go = 0, asyncio.Event()

    async def ServerReady(
        self, request: inference_pb.ServerReadyRequest, context: object
    ) -> inference_pb.ServerReadyResponse:
        self.asked += 1
        await self.go.wait()
        return inference_pb.ServerReadyResponse(ready=False)


async def test_rollbacks_that_wait_for_the_model_server_leave_connections_to_others(
    database: DatabaseAddresses, trained: Trained, tmp_path: Path
) -> None:
    """Twelve at once, of which one asks, eight wait without a connection of eight, and three are refused."""
    for version, status in ((1, ModelStatus.RETIRED), (2, ModelStatus.LIVE)):
        await trained.publish(database.optimizer, tmp_path, version, status, NOON - timedelta(days=1))
    hanging, server = HangingModelServer(), grpc.aio.server()
    inference_grpc.add_GRPCInferenceServiceServicer_to_server(hanging, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        async with running_optimizer(optimizer_settings(database.optimizer, tmp_path, port)) as stub:
            calls = [stub.RollbackModel(models_pb2.RollbackModelRequest()) for _ in range(12)]
            while hanging.asked == 0 or sum(call.done() for call in calls) < 3:
                await asyncio.sleep(0.02)
            listed = await stub.ListModels(models_pb2.ListModelsRequest())
            hanging.go.set()
            errors = await asyncio.gather(*calls, return_exceptions=True)
    finally:
        await server.stop(None)
    assert [model.version for model in listed.models] == [2, 1]
    reasons = [refusal_of(error).reason for error in errors if isinstance(error, grpc.aio.AioRpcError)]
    assert reasons.count("TOO_MANY_WAITING") == 3
    assert set(reasons) <= {"TOO_MANY_WAITING", "PEER_UNAVAILABLE", "PEER_DEADLINE_EXCEEDED"}
    assert len(reasons) == 12


@pytest.mark.parametrize(("broken", "served"), [(3, [2]), (1, [2, 3])])
async def test_a_file_that_broke_keeps_no_other_version_from_going_live(
    database: DatabaseAddresses, trained: Trained, tmp_path: Path, broken: int, served: list[int]
) -> None:
    """From 3 back to 2, beside which 3 and 1, live before, would be served."""
    await insert_world(database.admin, trained.world.rows)
    statuses = {1: ModelStatus.RETIRED, 2: ModelStatus.RETIRED, 3: ModelStatus.LIVE}
    for version, status in statuses.items():
        at = NOON - timedelta(days=9 - version)
        await trained.publish(database.optimizer, tmp_path, version, status, at)
    file = tmp_path / f"conversion/{broken}/model.onnx"
    file.write_bytes(file.read_bytes()[:1000])
    async with (
        running_model_server(tmp_path) as port,
        running_optimizer(optimizer_settings(database.optimizer, tmp_path, port)) as stub,
    ):
        back = await stub.RollbackModel(models_pb2.RollbackModelRequest())
        answer = await stub.OptimizeOffer(OptimizeOfferRequest(campaign_id="campaign-1"))
    assert (back.model.version, answer.model_version) == (2, 2)
    config = (tmp_path / "conversion/config.pbtxt").read_text()
    assert f"versions: [ {', '.join(map(str, served))} ]" in config


@pytest.mark.parametrize("broken", ["config.pbtxt", "1/model.onnx"])
async def test_the_live_version_is_served_again_whatever_else_broke_in_the_repository(
    database: DatabaseAddresses, trained: Trained, tmp_path: Path, broken: str
) -> None:
    """The model server has dropped version 2, and refuses what the config says: that one beside version 1."""
    await insert_world(database.admin, trained.world.rows)
    for version, status in ((1, ModelStatus.RETIRED), (2, ModelStatus.LIVE)):
        await trained.publish(database.optimizer, tmp_path, version, status, NOON - timedelta(days=1))
    ModelRepository(tmp_path, CONVERSION_MODEL).write_config([1, 2])
    (tmp_path / "conversion" / broken).write_bytes(b"garbage")
    async with running_model_server(tmp_path) as port, open_channel(f"127.0.0.1:{port}") as channel:
        models = inference_grpc.GRPCInferenceServiceStub(channel)
        await models.RepositoryModelUnload(inference_pb.RepositoryModelUnloadRequest(model_name="conversion"))
        settings = optimizer_settings(database.optimizer, tmp_path, port, model_check_seconds=0.05)
        async with running_optimizer(settings) as stub:
            served = inference_pb.ModelReadyRequest(name="conversion", version="2")
            while not (await models.ModelReady(served)).ready:
                await asyncio.sleep(0.02)
            answer = await stub.OptimizeOffer(OptimizeOfferRequest(campaign_id="campaign-1"))
    assert answer.model_version == 2


async def test_a_live_version_whose_file_is_gone_is_not_written_about_anew(
    database: DatabaseAddresses, trained: Trained, tmp_path: Path
) -> None:
    await trained.publish(database.optimizer, tmp_path)
    (tmp_path / "conversion/1/model.onnx").unlink()
    folder = ModelRepository(tmp_path, CONVERSION_MODEL)
    config = folder.read_config()
    async with running_model_server(tmp_path) as port, open_channel(f"127.0.0.1:{port}") as channel:
        client = ModelClient(channel, inference_seconds=60.0, load_seconds=60.0)
        own = await Database.open(database.optimizer, application_name="test")
        try:
            keeper = ModelKeeper(own, client, Publication(client, folder, now=lambda: NOON), seconds=1.0)
            for _ in range(2):
                with pytest.raises(FailedPreconditionError):
                    await keeper.look()
        finally:
            await own.close()
    assert folder.read_config() == config
