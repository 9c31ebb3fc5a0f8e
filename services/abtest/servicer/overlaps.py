"""The method of tests side by side."""

from gen.campaigns.abtest.v1 import overlaps_pb2 as pb
from gen.campaigns.abtest.v1.abtest_service_pb2_grpc import ABTestServiceServicer
from services.abtest.convert import overlaps as convert
from services.abtest.operations.overlaps import OverlapOperations
from services.abtest.servicer.context import Context


class OverlapMethods(ABTestServiceServicer):
    """Tests of the same campaigns."""

    overlaps: OverlapOperations

    async def ListOverlappingTests(
        self, request: pb.ListOverlappingTestsRequest, context: Context
    ) -> pb.ListOverlappingTestsResponse:
        """Return tests of a campaign, and what they share."""
        limit = convert.overlap_limit_from_proto(request)
        if request.campaign_id:
            view = await self.overlaps.list_of_campaign(request.campaign_id, limit)
        else:
            view = await self.overlaps.list_of_test(request.test_id, limit)
        return convert.overlaps_to_proto(view)
