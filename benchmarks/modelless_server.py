"""The model server without a model, for comparison, in two ways.

`python -m benchmarks.modelless_server checking|bare` takes the model server's settings. `checking` is the
whole server: it finds the version, checks, decodes, counts and encodes as ever, but where the model would
compute, it takes zeros. `bare` does nothing between the messages: the same server and interceptor answer with
a zero for each row of the request's shape.
"""

import asyncio
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from gen.inference import grpc_service_pb2 as pb
from gen.inference import grpc_service_pb2_grpc as pb_grpc
from services.common import grpc_server
from services.common.cli import run_service_command
from services.common.grpc_server import Service
from services.model_server.config import ModelSpec
from services.model_server.data_plane import DataPlane
from services.model_server.layout import Layout
from services.model_server.loading import LoadedModel, Loader
from services.model_server.repository import Repository
from services.model_server.runner import Runner
from services.model_server.server import SERVICE_NAME
from services.model_server.servicer import Context, InferenceServicer
from services.model_server.session import Session
from services.model_server.settings import ModelServerSettings
from services.model_server.tensors import Array
from services.optimizer.domain.models.version import OUTPUT_NAME

_RATE_BYTES = 4


class NoModel(Session):
    """Gives zeros of the shapes that a model would give; opens no file."""

    def __init__(self, spec: ModelSpec) -> None:
        self._outputs = {tensor.name: tensor for tensor in spec.outputs}

    def run(self, inputs: Mapping[str, Array], outputs: Sequence[str]) -> list[Array]:
        """Return zeros for as many rows as the first input has."""
        rows = len(next(iter(inputs.values())))
        wanted = [self._outputs[name] for name in outputs]
        return [np.zeros((rows, *tensor.shape[1:]), tensor.datatype.dtype) for tensor in wanted]


class NoModelLoader(Loader):
    """Loads as ever, and puts the models away."""

    def load(self, name: str, served: LoadedModel | None, *, stand_in: bool) -> LoadedModel:
        """Return the model without its sessions."""
        model = super().load(name, served, stand_in=stand_in)
        versions = {
            number: replace(version, session=NoModel(version.spec))
            for number, version in model.versions.items()
        }
        return replace(model, versions=versions)


class BareServicer(pb_grpc.GRPCInferenceServiceServicer):
    """Is ready for every model, and infers nothing."""

    async def ModelReady(  # noqa: N802 (the proto names it)
        self,
        request: pb.ModelReadyRequest,  # noqa: ARG002
        context: Context,  # noqa: ARG002
    ) -> pb.ModelReadyResponse:
        """Answer true."""
        return pb.ModelReadyResponse(ready=True)

    async def ModelInfer(  # noqa: N802
        self,
        request: pb.ModelInferRequest,
        context: Context,  # noqa: ARG002
    ) -> pb.ModelInferResponse:
        """Return zeros."""
        rows = request.inputs[0].shape[0]
        return pb.ModelInferResponse(
            model_name=request.model_name,
            model_version="1",
            outputs=[
                pb.ModelInferResponse.InferOutputTensor(name=OUTPUT_NAME, datatype="FP32", shape=[rows, 1])
            ],
            raw_output_contents=[bytes(_RATE_BYTES * rows)],
        )


async def open_checking(settings: ModelServerSettings) -> InferenceServicer:
    """Return the servicer of everything but the models."""
    layout = Layout(root=settings.repository)
    repository = Repository(layout, NoModelLoader(layout, threads=settings.intra_op_threads))
    runner = Runner(
        workers=settings.workers,
        inline_milliseconds=settings.inline_milliseconds,
        max_waiting=settings.max_waiting,
    )
    await repository.load_all()
    plane = DataPlane(repository, runner, max_batch_size=settings.max_batch_size)
    return InferenceServicer(repository, plane, asyncio.Event())


async def serve(settings: ModelServerSettings, way: str) -> None:
    """Serve until the process is told to stop."""
    servicer = BareServicer() if way == "bare" else await open_checking(settings)
    service = Service(
        name=SERVICE_NAME,
        register=lambda server: pb_grpc.add_GRPCInferenceServiceServicer_to_server(servicer, server),
    )
    await grpc_server.serve(settings=settings, services=[service])


if __name__ == "__main__":
    way = sys.argv[1]
    sys.exit(
        run_service_command(
            "model_server",
            ModelServerSettings,
            lambda settings: serve(settings, way),
            migrates=False,
            arguments=[],
        )
    )
