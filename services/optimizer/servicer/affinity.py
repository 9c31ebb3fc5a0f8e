"""The method of merchants for a user."""

from gen.campaigns.optimizer.v1 import affinity_pb2 as pb
from gen.campaigns.optimizer.v1.optimizer_service_pb2_grpc import OptimizerServiceServicer
from services.optimizer.convert import affinity as convert
from services.optimizer.operations.affinity import AffinityOperations
from services.optimizer.servicer.context import Context


class AffinityMethods(OptimizerServiceServicer):
    """Which merchants are near to a user."""

    affinity: AffinityOperations

    async def GetMerchantAffinity(
        self, request: pb.GetMerchantAffinityRequest, context: Context
    ) -> pb.GetMerchantAffinityResponse:
        """Rank merchants for a user."""
        user_id, limit = convert.question_from_proto(request)
        return convert.affinity_to_proto(await self.affinity.get_affinity(user_id, limit))
