"""The method of offers."""

from gen.campaigns.optimizer.v1 import offers_pb2 as pb
from gen.campaigns.optimizer.v1.optimizer_service_pb2_grpc import OptimizerServiceServicer
from services.optimizer.convert import offers as convert
from services.optimizer.convert.offer_constraints import limits_from_proto
from services.optimizer.operations.offers import OfferOperations
from services.optimizer.servicer.context import Context


class OfferMethods(OptimizerServiceServicer):
    """Which offer to make."""

    offers: OfferOperations

    async def OptimizeOffer(
        self, request: pb.OptimizeOfferRequest, context: Context
    ) -> pb.OptimizeOfferResponse:
        """Recommend the offer of a campaign, or of one that is only planned."""
        objective, limits = convert.objective_from_proto(request), limits_from_proto(request)
        campaign_id = convert.campaign_id_from_proto(request)
        if campaign_id is not None:
            answer = await self.offers.optimize_offer(campaign_id, objective, limits)
        else:
            planned = convert.planned_from_proto(request)
            answer = await self.offers.optimize_planned_offer(planned, objective, limits)
        return convert.answer_to_proto(answer, request.campaign_id)
