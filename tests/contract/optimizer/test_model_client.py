"""The model server's client against servers that misbehave: a small servicer stands in for them."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, TypeAlias

import grpc
import numpy as np
import pytest

from gen.inference import grpc_service_pb2 as pb
from gen.inference import grpc_service_pb2_grpc as pb_grpc
from services.common.errors import DeadlineExceededError, InternalError, UnavailableError
from services.common.grpc_client import open_channel
from services.optimizer.model_client import ModelClient

Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"  # a string: it takes parameters in its stub only
FEATURES = np.arange(14, dtype=np.float32).reshape(2, 7)


class StandIn(pb_grpc.GRPCInferenceServiceServicer):
    """Answers as it is told, and keeps what it was asked."""

    def __init__(self, answer: pb.ModelInferResponse | None = None, *, ready_after: int = 0) -> None:
        self.answer = answer or rates_answer([0.25, 0.5])
        self.asked: list[pb.ModelInferRequest] = []
        self.server_ready = True
        self.inference_seconds = 0.0
        self._not_ready = ready_after

    async def ServerReady(self, request: pb.ServerReadyRequest, context: Context) -> pb.ServerReadyResponse:
        return pb.ServerReadyResponse(ready=self.server_ready)

    async def ModelReady(self, request: pb.ModelReadyRequest, context: Context) -> pb.ModelReadyResponse:
        self._not_ready -= 1
        if self._not_ready == 0:  # as Triton answers for a version it does not know
            await context.abort(grpc.StatusCode.NOT_FOUND, "unknown version")
        return pb.ModelReadyResponse(ready=self._not_ready < 0)

    async def RepositoryModelLoad(
        self, request: pb.RepositoryModelLoadRequest, context: Context
    ) -> pb.RepositoryModelLoadResponse:
        return pb.RepositoryModelLoadResponse()

    async def ModelInfer(self, request: pb.ModelInferRequest, context: Context) -> pb.ModelInferResponse:
        self.asked.append(request)
        await asyncio.sleep(self.inference_seconds)
        return self.answer


def rates_answer(rates: list[float], *, datatype: str = "FP32") -> pb.ModelInferResponse:
    return pb.ModelInferResponse(
        outputs=[
            pb.ModelInferResponse.InferOutputTensor(
                name="conversion_rate", datatype=datatype, shape=[len(rates), 1]
            )
        ],
        raw_output_contents=[np.array(rates, dtype="<f4").tobytes()],
    )


@asynccontextmanager
async def client_of(stand_in: StandIn, *, seconds: float = 60.0) -> AsyncIterator[ModelClient]:
    server = grpc.aio.server()
    pb_grpc.add_GRPCInferenceServiceServicer_to_server(stand_in, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        async with open_channel(f"127.0.0.1:{port}") as channel:
            yield ModelClient(channel, inference_seconds=seconds, load_seconds=seconds)
    finally:
        await server.stop(None)


async def test_an_inference_is_one_raw_tensor_and_names_its_version() -> None:
    stand_in = StandIn()
    async with client_of(stand_in) as client:
        rates = await client.infer("conversion", 12, FEATURES)
    assert rates.tolist() == [0.25, 0.5]
    (asked,) = stand_in.asked
    assert (asked.model_name, asked.model_version) == ("conversion", "12")
    assert (asked.inputs[0].name, asked.inputs[0].datatype) == ("features", "FP32")
    assert list(asked.inputs[0].shape) == [2, 7]
    assert np.frombuffer(asked.raw_input_contents[0], "<f4").reshape(2, 7).tolist() == FEATURES.tolist()


@pytest.mark.parametrize(
    "answer",
    [
        pb.ModelInferResponse(),
        rates_answer([0.5]),
        rates_answer([0.5, float("nan")]),
        rates_answer([0.5, 0.5], datatype="FP64"),
    ],
)
async def test_an_answer_that_is_no_rates_is_refused(answer: pb.ModelInferResponse) -> None:
    async with client_of(StandIn(answer)) as client:
        with pytest.raises(InternalError) as refused:
            await client.infer("conversion", 1, FEATURES)
    assert refused.value.reason == "PEER_FAILED"


async def test_a_slow_inference_is_given_up() -> None:
    stand_in = StandIn()
    stand_in.inference_seconds = 30.0
    async with client_of(stand_in, seconds=0.2) as client:
        with pytest.raises(DeadlineExceededError):
            await client.infer("conversion", 1, FEATURES)


async def test_loading_waits_until_the_version_is_ready() -> None:
    stand_in = StandIn(ready_after=3)
    async with client_of(stand_in) as client:
        await client.load("conversion", 2)
        assert (await client.infer("conversion", 2, FEATURES)).tolist() == [0.25, 0.5]


async def test_a_version_that_never_gets_ready_is_given_up() -> None:
    async with client_of(StandIn(ready_after=1_000_000), seconds=0.3) as client:
        with pytest.raises(DeadlineExceededError, match="version 2 of conversion"):
            await client.load("conversion", 2)


async def test_a_server_that_is_about_to_stop_is_not_relied_on() -> None:
    stand_in = StandIn()
    stand_in.server_ready = False
    async with client_of(stand_in) as client:
        with pytest.raises(UnavailableError):
            await client.require_server()


async def test_no_server_is_unavailable_everywhere() -> None:
    async with open_channel("127.0.0.1:1") as channel:
        client = ModelClient(channel, inference_seconds=60.0, load_seconds=60.0)
        for call in (client.require_server(), client.load("conversion", 1)):
            with pytest.raises(UnavailableError):
                await call
