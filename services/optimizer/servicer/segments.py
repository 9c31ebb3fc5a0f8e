"""The method of segments."""

from gen.campaigns.optimizer.v1 import segments_pb2 as pb
from gen.campaigns.optimizer.v1.optimizer_service_pb2_grpc import OptimizerServiceServicer
from services.optimizer.convert import segments as convert
from services.optimizer.convert.checks import required_id
from services.optimizer.operations.segments import SegmentOperations
from services.optimizer.servicer.context import Context


class SegmentMethods(OptimizerServiceServicer):
    """Which segments to target."""

    segments: SegmentOperations

    async def GetSegmentRecommendations(
        self, request: pb.GetSegmentRecommendationsRequest, context: Context
    ) -> pb.GetSegmentRecommendationsResponse:
        """Rank the segments to send a campaign to."""
        campaign_id = required_id(request.campaign_id, "campaign_id")
        return convert.ranking_to_proto(await self.segments.rank(campaign_id))
