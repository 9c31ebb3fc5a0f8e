"""A real in-process model server, requests of it, and what it refuses them with."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from google.rpc import error_details_pb2, status_pb2

from gen.inference import grpc_service_pb2 as pb
from gen.inference import grpc_service_pb2_grpc as pb_grpc
from services.common.grpc_server import build_server
from services.model_server.server import open_service
from services.model_server.settings import ModelServerSettings

Array = np.ndarray[Any, np.dtype[Any]]
Stub = pb_grpc.GRPCInferenceServiceStub
DEADLINE = 120


@asynccontextmanager
async def serving(root: Path, settings: Mapping[str, object] | None = None) -> AsyncIterator[Stub]:
    given = ModelServerSettings.model_validate({"repository": root, **(settings or {})})
    async with open_service(given, asyncio.Event()) as service:
        server = build_server(settings=given, services=[service])
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            yield Stub(channel)
        await server.stop(None)


def raw_request(model: str, array: Array, name: str = "x") -> pb.ModelInferRequest:
    datatype = {"float32": "FP32", "float64": "FP64", "int64": "INT64"}[array.dtype.name]
    tensor = pb.ModelInferRequest.InferInputTensor(name=name, datatype=datatype, shape=array.shape)
    return pb.ModelInferRequest(model_name=model, inputs=[tensor], raw_input_contents=[array.tobytes()])


def raw_output(response: pb.ModelInferResponse, index: int = 0, dtype: str = "<f4") -> Array:
    shape = list(response.outputs[index].shape)
    return np.frombuffer(response.raw_output_contents[index], dtype).reshape(shape)


async def infer(stub: Stub, request: pb.ModelInferRequest) -> pb.ModelInferResponse:
    return await stub.ModelInfer(request, timeout=DEADLINE)


async def refusal_of(call: Awaitable[object]) -> tuple[grpc.StatusCode, str, str, list[str]]:
    """Return the code, message, reason and field paths of a call that fails."""
    with pytest.raises(grpc.aio.AioRpcError) as failure:
        await call
    trailing = dict(failure.value.trailing_metadata() or ())
    status = status_pb2.Status.FromString(trailing["grpc-status-details-bin"])
    info, request = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
    for detail in status.details:
        detail.Unpack(info)
        detail.Unpack(request)
    assert info.domain == "inference.GRPCInferenceService"
    fields = [violation.field for violation in request.field_violations]
    return failure.value.code(), failure.value.details() or "", info.reason, fields
