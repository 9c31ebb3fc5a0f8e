"""The method of policies."""

from gen.campaigns.optimizer.v1 import policies_pb2 as pb
from gen.campaigns.optimizer.v1.optimizer_service_pb2_grpc import OptimizerServiceServicer
from services.optimizer.convert import policies as convert
from services.optimizer.operations.policies import PolicyOperations
from services.optimizer.servicer.context import Context


class PolicyMethods(OptimizerServiceServicer):
    """What another policy of offers would have earned."""

    policies: PolicyOperations

    async def EvaluateOfferPolicy(
        self, request: pb.EvaluateOfferPolicyRequest, context: Context
    ) -> pb.EvaluateOfferPolicyResponse:
        """Evaluate a policy from logged propensities."""
        return convert.answer_to_proto(await self.policies.evaluate(convert.question_from_proto(request)))
