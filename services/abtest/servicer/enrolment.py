"""The methods of holdouts and exclusion groups."""

from gen.campaigns.abtest.v1 import exclusion_pb2 as pb
from gen.campaigns.abtest.v1.abtest_service_pb2_grpc import ABTestServiceServicer
from services.abtest.convert import enrolment as convert
from services.abtest.operations.enrolment import EnrolmentOperations
from services.abtest.servicer.context import Context


class EnrolmentMethods(ABTestServiceServicer):
    """Who is enrolled nowhere, and who in one test of several."""

    enrolment: EnrolmentOperations

    async def CreateHoldout(
        self, request: pb.CreateHoldoutRequest, context: Context
    ) -> pb.CreateHoldoutResponse:
        """Create a holdout."""
        holdout_id, share, is_global = convert.holdout_from_proto(request)
        holdout = await self.enrolment.create_holdout(holdout_id=holdout_id, share=share, is_global=is_global)
        return pb.CreateHoldoutResponse(holdout=convert.holdout_to_proto(holdout))

    async def EndHoldout(self, request: pb.EndHoldoutRequest, context: Context) -> pb.EndHoldoutResponse:
        """End a holdout."""
        holdout_id = convert.checked_holdout_id(request.holdout_id)
        holdout = await self.enrolment.end_holdout(holdout_id)
        return pb.EndHoldoutResponse(holdout=convert.holdout_to_proto(holdout))

    async def ListHoldouts(
        self, request: pb.ListHoldoutsRequest, context: Context
    ) -> pb.ListHoldoutsResponse:
        """Return the holdouts."""
        holdouts = await self.enrolment.list_holdouts()
        return pb.ListHoldoutsResponse(holdouts=[convert.holdout_to_proto(holdout) for holdout in holdouts])

    async def ListExclusionGroups(
        self, request: pb.ListExclusionGroupsRequest, context: Context
    ) -> pb.ListExclusionGroupsResponse:
        """Return the exclusion groups."""
        return convert.exclusion_groups_to_proto(await self.enrolment.list_exclusion_groups())
