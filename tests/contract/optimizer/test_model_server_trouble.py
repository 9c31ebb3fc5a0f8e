"""What callers see while the model server is away, lost a version, or finds a broken repository."""

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path

import grpc
import pytest

from deploy.local.bootstrap import DatabaseAddresses
from gen.campaigns.optimizer.v1 import training_pb2
from gen.campaigns.optimizer.v1.offers_pb2 import OptimizeOfferRequest as Request
from gen.campaigns.optimizer.v1.offers_pb2 import OptimizeOfferResponse
from gen.campaigns.optimizer.v1.optimizer_service_pb2_grpc import OptimizerServiceStub
from gen.inference import grpc_service_pb2 as inference_pb
from gen.inference import grpc_service_pb2_grpc as inference_grpc
from services.common.grpc_client import open_channel
from services.optimizer.operations import training
from tests.contract.optimizer.conftest import Trained
from tests.contract.optimizer.harness import (
    PATIENCE_SECONDS,
    fetch_rows,
    insert_world,
    optimizer_settings,
    refusal_of,
    refused_offer,
    running_model_server,
    running_optimizer,
)
from tests.contract.optimizer.trainers import CandidateTrainer


async def test_without_a_model_server_it_is_unavailable_at_once_and_recovers_by_itself(
    database: DatabaseAddresses, trained: Trained, tmp_path: Path, free_port: Callable[[], int]
) -> None:
    await insert_world(database.admin, trained.world.rows)
    await trained.publish(database.optimizer, tmp_path)
    port = free_port()
    request = Request(campaign_id="campaign-1")
    async with running_optimizer(optimizer_settings(database.optimizer, tmp_path, port)) as stub:
        refused = await refused_offer(stub, request)
        with pytest.raises(grpc.aio.AioRpcError) as training:
            await stub.TrainModel(training_pb2.TrainModelRequest(), timeout=PATIENCE_SECONDS)
        async with running_model_server(tmp_path, port):
            answer = await answer_when_back(stub, request)
        again = await refused_offer(stub, request)
    assert (refused.code, refused.reason) == ("UNAVAILABLE", "PEER_UNAVAILABLE")
    assert refusal_of(training.value).reason == "PEER_UNAVAILABLE"
    assert answer.model_version == 1
    assert (again.code, again.reason) == ("UNAVAILABLE", "PEER_UNAVAILABLE")


async def test_a_version_waits_for_a_model_server_that_is_away_as_it_is_to_be_loaded(
    database: DatabaseAddresses, trained: Trained, tmp_path: Path, free_port: Callable[[], int]
) -> None:
    await insert_world(database.admin, trained.world.rows)
    port = free_port()
    async with AsyncExitStack() as server, AsyncExitStack() as later:
        await server.enter_async_context(running_model_server(tmp_path, port))

        trainer = CandidateTrainer(trained, database.optimizer, tmp_path, after=server.aclose)
        settings = optimizer_settings(database.optimizer, tmp_path, port)
        async with running_optimizer(settings, trainer=trainer) as stub:
            call = stub.TrainModelWithProgress(training_pb2.TrainModelWithProgressRequest())
            told = []
            async for message in call:
                if message.stage == "wait_for_model_server" and message.stage not in told:
                    await later.enter_async_context(running_model_server(tmp_path, port))
                told.append(message.stage)
    assert (message.result.status, message.result.version) == ("success", 1)
    assert told[:3] == ["load_model", "wait_for_model_server", "load_model"]
    (model,) = await fetch_rows(database.reporting, "select status from ml_models")
    assert model["status"] == "live"


async def test_a_version_whose_model_server_stays_away_is_rejected_and_its_caller_told(
    database: DatabaseAddresses, trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training, "PUBLISH_SECONDS", 0.0)
    async with AsyncExitStack() as server:
        port = await server.enter_async_context(running_model_server(tmp_path))

        trainer = CandidateTrainer(trained, database.optimizer, tmp_path, after=server.aclose)
        settings = optimizer_settings(database.optimizer, tmp_path, port)
        async with running_optimizer(settings, trainer=trainer) as stub:
            with pytest.raises(grpc.aio.AioRpcError) as told:
                await stub.TrainModel(training_pb2.TrainModelRequest())
    refusal = refusal_of(told.value)
    assert (refusal.code, refusal.reason) == ("UNAVAILABLE", "PEER_UNAVAILABLE")
    assert refusal.message.startswith("version 1 could not be put live, and is rejected: the model server")
    (model,) = await fetch_rows(database.reporting, "select status, status_reason from ml_models")
    assert tuple(model) == ("rejected", f"not published: {refusal.message}")


async def answer_when_back(stub: OptimizerServiceStub, request: Request) -> OptimizeOfferResponse:
    """Ask until the server is back, or serves the version; the channel reconnects within about a second."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + PATIENCE_SECONDS
    while True:
        try:
            return await stub.OptimizeOffer(request)
        except grpc.aio.AioRpcError as error:
            away = refusal_of(error).reason in {"PEER_UNAVAILABLE", "MODEL_NOT_SERVED"}
            if not away or loop.time() > deadline:
                raise
            await asyncio.sleep(0.05)


async def test_a_version_that_the_server_lost_is_unavailable_and_says_so(
    database: DatabaseAddresses, trained: Trained, tmp_path: Path
) -> None:
    await insert_world(database.admin, trained.world.rows)
    await trained.publish(database.optimizer, tmp_path)
    async with (
        running_model_server(tmp_path / "another") as port,
        running_optimizer(optimizer_settings(database.optimizer, tmp_path, port)) as stub,
    ):
        refused = await refused_offer(stub, Request(campaign_id="campaign-1"))
    assert (refused.code, refused.reason) == ("UNAVAILABLE", "MODEL_NOT_SERVED")


async def test_a_version_that_was_unloaded_is_not_a_server_that_does_not_answer(
    database: DatabaseAddresses, trained: Trained, tmp_path: Path
) -> None:
    await insert_world(database.admin, trained.world.rows)
    await trained.publish(database.optimizer, tmp_path)
    async with (
        running_model_server(tmp_path) as port,
        running_optimizer(optimizer_settings(database.optimizer, tmp_path, port)) as stub,
        open_channel(f"127.0.0.1:{port}") as channel,
    ):
        await stub.OptimizeOffer(Request(campaign_id="campaign-1"))
        models = inference_grpc.GRPCInferenceServiceStub(channel)
        await models.RepositoryModelUnload(inference_pb.RepositoryModelUnloadRequest(model_name="conversion"))
        refused = await refused_offer(stub, Request(campaign_id="campaign-1"))
    assert (refused.code, refused.reason) == ("UNAVAILABLE", "MODEL_NOT_SERVED")
    assert refused.metadata == {"model": "conversion", "version": "1"}


async def test_a_version_that_was_unloaded_is_loaded_again_by_itself(
    database: DatabaseAddresses, trained: Trained, tmp_path: Path
) -> None:
    await insert_world(database.admin, trained.world.rows)
    await trained.publish(database.optimizer, tmp_path)
    async with running_model_server(tmp_path) as port, open_channel(f"127.0.0.1:{port}") as channel:
        models = inference_grpc.GRPCInferenceServiceStub(channel)
        await models.RepositoryModelUnload(inference_pb.RepositoryModelUnloadRequest(model_name="conversion"))
        settings = optimizer_settings(database.optimizer, tmp_path, port, model_check_seconds=0.05)
        async with running_optimizer(settings) as stub:
            answer = await answer_when_back(stub, Request(campaign_id="campaign-1"))
    assert answer.model_version == 1


async def test_the_live_version_is_asked_for_by_number(
    database: DatabaseAddresses, trained: Trained, tmp_path: Path
) -> None:
    """Version 2 lies in the repository beside live version 1, and is not asked."""
    await insert_world(database.admin, trained.world.rows)
    await trained.publish(database.optimizer, tmp_path, version=1)
    (tmp_path / "conversion/2").mkdir()
    (tmp_path / "conversion/2/model.onnx").write_bytes(trained.model.model)
    config = tmp_path / "conversion/config.pbtxt"
    config.write_text(config.read_text().replace("[ 1 ] } }", "[ 1, 2 ] } }"))
    async with (
        running_model_server(tmp_path) as port,
        running_optimizer(optimizer_settings(database.optimizer, tmp_path, port)) as stub,
        open_channel(f"127.0.0.1:{port}") as channel,
    ):
        answer = await stub.OptimizeOffer(Request(campaign_id="campaign-1"))
        models = inference_grpc.GRPCInferenceServiceStub(channel)
        statistics = await models.ModelStatistics(inference_pb.ModelStatisticsRequest(name="conversion"))
    assert answer.model_version == 1
    assert {served.version: served.execution_count for served in statistics.model_stats} == {"1": 1, "2": 0}


async def test_a_corrupt_model_file_is_refused_and_serves_again_once_it_is_mended(
    database: DatabaseAddresses, trained: Trained, tmp_path: Path
) -> None:
    await insert_world(database.admin, trained.world.rows)
    await trained.publish(database.optimizer, tmp_path)
    file = tmp_path / "conversion/1/model.onnx"
    file.write_bytes(trained.model.model[:1000])
    request = Request(campaign_id="campaign-1")
    async with (
        running_model_server(tmp_path) as port,
        running_optimizer(optimizer_settings(database.optimizer, tmp_path, port)) as stub,
        open_channel(f"127.0.0.1:{port}") as channel,
    ):
        refused = await refused_offer(stub, request)
        file.write_bytes(trained.model.model)
        models = inference_grpc.GRPCInferenceServiceStub(channel)
        await models.RepositoryModelLoad(inference_pb.RepositoryModelLoadRequest(model_name="conversion"))
        answer = await stub.OptimizeOffer(request)
    assert (refused.code, refused.reason) == ("UNAVAILABLE", "MODEL_NOT_SERVED")
    assert answer.model_version == 1
    live = await fetch_rows(database.reporting, "select version, status from ml_models")
    assert [tuple(row) for row in live] == [(1, "live")]
