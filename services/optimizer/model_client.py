"""Asks a model server by the Open Inference Protocol (v2, gRPC) and its repository extension.

Any server of the protocol does: this project's, or Triton over the same repository.
"""

import asyncio

import grpc
import numpy as np

from gen.inference import grpc_service_pb2 as pb
from gen.inference.grpc_service_pb2_grpc import GRPCInferenceServiceStub
from services.common.errors import DeadlineExceededError, InternalError, UnavailableError
from services.common.grpc_client import translate_rpc_error
from services.optimizer.domain.features import Float32Array, FloatArray
from services.optimizer.domain.models.version import INPUT_NAME, OUTPUT_NAME

_PEER = "model server"
_POLL_SECONDS = 0.1
_READY_SECONDS = 2.0


class ModelClient:
    """A model server, over a channel that the caller opens and closes.

    Every call fails at once where the server does not answer, and works again as soon as it does.
    """

    def __init__(self, channel: grpc.aio.Channel, *, inference_seconds: float, load_seconds: float) -> None:
        self._stub = GRPCInferenceServiceStub(channel)
        self._inference_seconds = inference_seconds
        self._load_seconds = load_seconds

    async def infer(self, model: str, version: int, features: Float32Array) -> FloatArray:
        """Return the rates (rows,) that `version` of `model` predicts for `features` (rows, 7), in one call.

        Raises:
            UnavailableError: the server does not answer, or does not have this version (now).
            DeadlineExceededError: it took longer than the inference timeout.
        """
        request = pb.ModelInferRequest(
            model_name=model,
            model_version=str(version),
            inputs=[
                pb.ModelInferRequest.InferInputTensor(
                    name=INPUT_NAME, datatype="FP32", shape=list(features.shape)
                )
            ],
            outputs=[pb.ModelInferRequest.InferRequestedOutputTensor(name=OUTPUT_NAME)],
            raw_input_contents=[np.ascontiguousarray(features, dtype="<f4").tobytes()],
        )
        try:
            response = await self._stub.ModelInfer(request, timeout=self._inference_seconds)
        except grpc.aio.AioRpcError as error:
            if error.code() is grpc.StatusCode.NOT_FOUND or await self._is_unloaded(error, model, version):
                raise _not_served(model, version) from error
            raise translate_rpc_error(error, peer=_PEER) from error
        return _read_rates(response, len(features))

    async def require_server(self) -> None:
        """Raise UnavailableError where the server is not ready to load and serve models."""
        try:
            answer = await self._stub.ServerReady(pb.ServerReadyRequest(), timeout=_READY_SECONDS)
        except grpc.aio.AioRpcError as error:
            raise translate_rpc_error(error, peer=_PEER) from error
        if not answer.ready:
            raise UnavailableError(f"the {_PEER} is not ready; try again shortly", reason="PEER_UNAVAILABLE")

    async def is_served(self, model: str, version: int) -> bool:
        """Return whether the server serves `version`; raise UnavailableError where it does not answer."""
        try:
            return await self._is_ready(model, version)
        except grpc.aio.AioRpcError as error:
            raise translate_rpc_error(error, peer=_PEER) from error

    async def load(self, model: str, version: int) -> None:
        """Make the server read the repository's `model` again, and return once it serves `version`.

        Raises:
            UnavailableError, FailedPreconditionError, …: the server does not answer, or refuses the model.
            DeadlineExceededError: the version was not ready within the load timeout.
        """
        try:
            async with asyncio.timeout(self._load_seconds):
                await self._stub.RepositoryModelLoad(pb.RepositoryModelLoadRequest(model_name=model))
                while not await self._is_ready(model, version):  # noqa: ASYNC110 (a remote state)
                    await asyncio.sleep(_POLL_SECONDS)
        except TimeoutError as error:
            raise DeadlineExceededError(
                f"the {_PEER} did not serve version {version} of {model} in time",
                reason="PEER_DEADLINE_EXCEEDED",
            ) from error
        except grpc.aio.AioRpcError as error:
            raise translate_rpc_error(error, peer=_PEER) from error

    async def _is_unloaded(self, error: grpc.aio.AioRpcError, model: str, version: int) -> bool:
        """Return whether it is the version that is unavailable: the server answers, and says so."""
        if error.code() is not grpc.StatusCode.UNAVAILABLE:
            return False
        try:
            return not await self._is_ready(model, version)
        except grpc.aio.AioRpcError:
            return False

    async def _is_ready(self, model: str, version: int) -> bool:
        request = pb.ModelReadyRequest(name=model, version=str(version))
        try:
            return bool((await self._stub.ModelReady(request, timeout=_READY_SECONDS)).ready)
        except grpc.aio.AioRpcError as error:
            if error.code() is grpc.StatusCode.NOT_FOUND:
                return False
            raise


def _read_rates(response: pb.ModelInferResponse, rows: int) -> FloatArray:
    """Return the only output's values."""
    if len(response.outputs) != 1 or len(response.raw_output_contents) != 1:
        raise _unreadable()
    rates = np.frombuffer(response.raw_output_contents[0], dtype="<f4").astype(np.float64)
    if response.outputs[0].datatype != "FP32" or len(rates) != rows or not np.isfinite(rates).all():
        raise _unreadable()
    return rates


def _unreadable() -> InternalError:
    return InternalError(f"the {_PEER} answered with something else than rates", reason="PEER_FAILED")


def _not_served(model: str, version: int) -> UnavailableError:
    return UnavailableError(
        f"the {_PEER} does not serve version {version} of {model} now; try again shortly, or train again"
        " where the model repository was lost",
        reason="MODEL_NOT_SERVED",
        metadata={"model": model, "version": str(version)},
    )
