"""The methods of recommendations: made, decided, measured."""

from gen.campaigns.optimizer.v1 import outcomes_pb2
from gen.campaigns.optimizer.v1 import recommendations_pb2 as pb
from gen.campaigns.optimizer.v1.optimizer_service_pb2_grpc import OptimizerServiceServicer
from services.common.paging import page_size
from services.optimizer.convert import outcomes as convert_outcomes
from services.optimizer.convert import recommendations as convert
from services.optimizer.convert.checks import required_id
from services.optimizer.domain.recommendations.recommendations import Action
from services.optimizer.operations.offer_outcomes import OutcomeOperations
from services.optimizer.operations.recommendations import RecommendationOperations
from services.optimizer.servicer.context import Context


class RecommendationMethods(OptimizerServiceServicer):
    """What to change in a campaign, what was decided, and what came of it."""

    recommendations: RecommendationOperations
    outcomes: OutcomeOperations

    async def GetOptimizationRecommendations(
        self, request: pb.GetOptimizationRecommendationsRequest, context: Context
    ) -> pb.GetOptimizationRecommendationsResponse:
        """Recommend changes of a campaign."""
        campaign_id = required_id(request.campaign_id, "campaign_id")
        return convert.advice_to_proto(await self.recommendations.recommend(campaign_id))

    async def AcceptRecommendation(
        self, request: pb.AcceptRecommendationRequest, context: Context
    ) -> pb.AcceptRecommendationResponse:
        """Accept a recommendation."""
        message = await self._decide(request, Action.ACCEPT)
        return pb.AcceptRecommendationResponse(recommendation=message)

    async def DismissRecommendation(
        self, request: pb.DismissRecommendationRequest, context: Context
    ) -> pb.DismissRecommendationResponse:
        """Dismiss a recommendation."""
        message = await self._decide(request, Action.DISMISS)
        return pb.DismissRecommendationResponse(recommendation=message)

    async def MarkRecommendationApplied(
        self, request: pb.MarkRecommendationAppliedRequest, context: Context
    ) -> pb.MarkRecommendationAppliedResponse:
        """Say since when a recommendation holds."""
        message = await self._decide(request, Action.APPLY)
        return pb.MarkRecommendationAppliedResponse(recommendation=message)

    async def ListOfferOutcomes(
        self, request: outcomes_pb2.ListOfferOutcomesRequest, context: Context
    ) -> outcomes_pb2.ListOfferOutcomesResponse:
        """List what came of what was applied."""
        campaign_id = convert_outcomes.campaign_id_from_proto(request)
        after, rows = convert_outcomes.key_from_proto(request), page_size(request.page_size)
        page = await self.outcomes.list_outcomes(campaign_id, after, rows)
        return convert_outcomes.page_to_proto(page, campaign_id)

    async def _decide(
        self, request: convert.DecisionRequest, action: Action
    ) -> pb.OptimizationRecommendation:
        verdict = convert.verdict_from_proto(request, action)
        decided = await self.recommendations.decide(convert.recommendation_id_from_proto(request), verdict)
        return convert.recommendation_to_proto(decided)
