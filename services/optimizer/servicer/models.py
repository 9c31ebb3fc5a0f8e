"""The methods of the registry."""

from gen.campaigns.optimizer.v1 import model_changes_pb2 as changes_pb
from gen.campaigns.optimizer.v1 import models_pb2 as pb
from gen.campaigns.optimizer.v1.optimizer_service_pb2_grpc import OptimizerServiceServicer
from services.optimizer.convert import model_changes as changes
from services.optimizer.convert import models as convert
from services.optimizer.operations.models import ModelOperations
from services.optimizer.servicer.context import Context


class ModelMethods(OptimizerServiceServicer):
    """Versions of the model: listing them, going back to one, and how the live one does."""

    models: ModelOperations

    async def ListModels(self, request: pb.ListModelsRequest, context: Context) -> pb.ListModelsResponse:
        """Return a page of versions."""
        statuses, limit = convert.statuses_from_proto(request), convert.models_limit_from_proto(request)
        before = convert.models_start_from_proto(request)
        models = await self.models.list_models(statuses, limit, before)
        return convert.models_to_proto(models, request, limit)

    async def GetModel(self, request: pb.GetModelRequest, context: Context) -> pb.GetModelResponse:
        """Return a version with all that was measured of it."""
        version = convert.version_from_proto(request.version)
        return convert.details_to_proto(await self.models.fetch_model(version))

    async def ListModelChanges(
        self, request: changes_pb.ListModelChangesRequest, context: Context
    ) -> changes_pb.ListModelChangesResponse:
        """Return a page of which version was live when."""
        limit, before = changes.changes_limit_from_proto(request), changes.changes_start_from_proto(request)
        return changes.changes_to_proto(await self.models.list_changes(limit, before), limit)

    async def RollbackModel(
        self, request: pb.RollbackModelRequest, context: Context
    ) -> pb.RollbackModelResponse:
        """Put an earlier version live again."""
        return convert.rollback_to_proto(await self.models.roll_back(convert.rollback_from_proto(request)))

    async def GetModelDrift(
        self, request: pb.GetModelDriftRequest, context: Context
    ) -> pb.GetModelDriftResponse:
        """Return how the live version does since its training."""
        return convert.drift_to_proto(await self.models.fetch_drift())
