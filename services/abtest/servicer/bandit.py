"""The methods of bandits."""

from gen.campaigns.abtest.v1 import bandit_pb2 as pb
from gen.campaigns.abtest.v1.abtest_service_pb2_grpc import ABTestServiceServicer
from services.abtest.convert import bandit as convert
from services.abtest.convert.violations import checked_test_id
from services.abtest.operations.bandit import BanditOperations
from services.abtest.servicer.context import Context


class BanditMethods(ABTestServiceServicer):
    """How bandits stand, and what they decided."""

    bandit: BanditOperations

    async def GetBandit(self, request: pb.GetBanditRequest, context: Context) -> pb.GetBanditResponse:
        """Return how a bandit stands."""
        test_id = checked_test_id(request.test_id)
        return convert.bandit_to_proto(await self.bandit.fetch_bandit(test_id))

    async def ListBanditSteps(
        self, request: pb.ListBanditStepsRequest, context: Context
    ) -> pb.ListBanditStepsResponse:
        """Return a page of what a bandit decided."""
        test_id = checked_test_id(request.test_id)
        limit, before = convert.steps_from_proto(request)
        return convert.steps_to_proto(await self.bandit.list_steps(test_id, before=before, limit=limit))
