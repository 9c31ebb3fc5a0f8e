"""The method of campaigns to show."""

from gen.campaigns.optimizer.v1 import campaigns_for_user_pb2 as pb
from gen.campaigns.optimizer.v1.optimizer_service_pb2_grpc import OptimizerServiceServicer
from services.optimizer.convert import campaign_choice as convert
from services.optimizer.operations.campaign_choice import CampaignChoiceOperations
from services.optimizer.servicer.context import Context


class CampaignChoiceMethods(OptimizerServiceServicer):
    """Which campaigns to show to users."""

    campaign_choice: CampaignChoiceOperations

    async def RecommendCampaigns(
        self, request: pb.RecommendCampaignsRequest, context: Context
    ) -> pb.RecommendCampaignsResponse:
        """Rank the active campaigns for a user."""
        user_id, limit = convert.question_from_proto(request)
        found = await self.campaign_choice.recommend_campaigns(user_id, limit)
        return convert.choices_to_proto(user_id, found)
