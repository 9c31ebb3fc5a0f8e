"""The Open Inference Protocol's RPCs with the repository, configuration and statistics extensions."""

import asyncio
from typing import Any, TypeAlias

import grpc

from gen.inference import grpc_service_pb2 as pb
from gen.inference import grpc_service_pb2_grpc as pb_grpc
from services.model_server import convert
from services.model_server.data_plane import DataPlane
from services.model_server.repository import Repository

Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"  # a string: it takes parameters in its stub only


class InferenceServicer(pb_grpc.GRPCInferenceServiceServicer):
    """Answers `inference.GRPCInferenceService`.

    Args:
        repository: the models served.
        data_plane: what answers inferences.
        stopping: set when the server is about to stop; it is not ready from then on.
    """

    def __init__(self, repository: Repository, data_plane: DataPlane, stopping: asyncio.Event) -> None:
        self._repository = repository
        self._data_plane = data_plane
        self._stopping = stopping

    async def ServerLive(self, request: pb.ServerLiveRequest, context: Context) -> pb.ServerLiveResponse:
        """Answer true: whoever answers lives."""
        return pb.ServerLiveResponse(live=True)

    async def ServerReady(self, request: pb.ServerReadyRequest, context: Context) -> pb.ServerReadyResponse:
        """Tell whether new requests are welcome."""
        return pb.ServerReadyResponse(ready=not self._stopping.is_set())

    async def ModelReady(self, request: pb.ModelReadyRequest, context: Context) -> pb.ModelReadyResponse:
        """Tell whether a model, or one version of it, answers; false too for one that does not exist."""
        return pb.ModelReadyResponse(ready=self._repository.is_ready(request.name, request.version))

    async def ServerMetadata(
        self, request: pb.ServerMetadataRequest, context: Context
    ) -> pb.ServerMetadataResponse:
        """Return the server's name, version and extensions."""
        return convert.server_metadata()

    async def ModelMetadata(
        self, request: pb.ModelMetadataRequest, context: Context
    ) -> pb.ModelMetadataResponse:
        """Return a model's inputs, outputs and versions."""
        version = self._repository.find(request.name, request.version)
        return convert.metadata_to_proto(self._repository.served_model(request.name), version)

    async def ModelInfer(self, request: pb.ModelInferRequest, context: Context) -> pb.ModelInferResponse:
        """Return a model's outputs for the inputs given."""
        answer = await self._data_plane.infer(convert.inference_from_proto(request))
        return convert.inference_to_proto(answer, request)

    async def ModelConfig(self, request: pb.ModelConfigRequest, context: Context) -> pb.ModelConfigResponse:
        """Return a model's config, completed."""
        self._repository.find(request.name, request.version)
        return pb.ModelConfigResponse(config=self._repository.served_model(request.name).config)

    async def ModelStatistics(
        self, request: pb.ModelStatisticsRequest, context: Context
    ) -> pb.ModelStatisticsResponse:
        """Return the counts of one version, of a model's versions, or of all."""
        return convert.statistics_to_proto(self._repository.served_versions(request.name, request.version))

    async def RepositoryIndex(
        self, request: pb.RepositoryIndexRequest, context: Context
    ) -> pb.RepositoryIndexResponse:
        """Return what is in the repository, with its state."""
        convert.repository_from_proto(request.repository_name)
        return convert.index_to_proto(await self._repository.index(ready_only=request.ready))

    async def RepositoryModelLoad(
        self, request: pb.RepositoryModelLoadRequest, context: Context
    ) -> pb.RepositoryModelLoadResponse:
        """Load a model or its newest state; what served before serves until then."""
        await self._repository.load(convert.model_name_from_proto(request))
        return pb.RepositoryModelLoadResponse()

    async def RepositoryModelUnload(
        self, request: pb.RepositoryModelUnloadRequest, context: Context
    ) -> pb.RepositoryModelUnloadResponse:
        """Stop serving a model, all versions."""
        await self._repository.unload(convert.model_name_from_proto(request))
        return pb.RepositoryModelUnloadResponse()
