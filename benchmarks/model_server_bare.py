"""The model server without a model: the same server, interceptor, messages, and nothing between them.

`python -m benchmarks.model_server_bare` takes the model server's settings. Whatever it is asked, it answers a
zero for each row of the shape; nothing is checked, decoded, computed or counted by model.
"""

import sys

from gen.inference import grpc_service_pb2 as pb
from gen.inference import grpc_service_pb2_grpc as pb_grpc
from services.common import grpc_server
from services.common.cli import run_service_command
from services.common.grpc_server import Service
from services.model_server.server import SERVICE_NAME
from services.model_server.servicer import Context
from services.model_server.settings import ModelServerSettings
from services.optimizer.domain.model_version import OUTPUT_NAME

_RATE_BYTES = 4


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


async def serve(settings: ModelServerSettings) -> None:
    """Serve until the process is told to stop."""
    service = Service(
        name=SERVICE_NAME,
        register=lambda server: pb_grpc.add_GRPCInferenceServiceServicer_to_server(BareServicer(), server),
    )
    await grpc_server.serve(settings=settings, services=[service])


if __name__ == "__main__":
    sys.exit(run_service_command("model_server", ModelServerSettings, serve, migrates=False, arguments=[]))
