"""The method of predictions."""

from gen.campaigns.optimizer.v1 import prediction_pb2 as pb
from gen.campaigns.optimizer.v1.optimizer_service_pb2_grpc import OptimizerServiceServicer
from services.optimizer.convert import prediction as convert
from services.optimizer.operations.prediction import PredictionOperations
from services.optimizer.servicer.context import Context


class PredictionMethods(OptimizerServiceServicer):
    """What planned campaigns would do."""

    prediction: PredictionOperations

    async def PredictCampaign(
        self, request: pb.PredictCampaignRequest, context: Context
    ) -> pb.PredictCampaignResponse:
        """Predict what a planned campaign would do."""
        prediction = await self.prediction.predict_campaign(convert.plan_from_proto(request))
        return convert.prediction_to_proto(prediction)
