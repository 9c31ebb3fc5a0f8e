"""The methods of planning."""

from gen.campaigns.abtest.v1 import planning_pb2 as pb
from gen.campaigns.abtest.v1.abtest_service_pb2_grpc import ABTestServiceServicer
from services.abtest.convert import planning as convert
from services.abtest.operations.planning import estimate_sample_size
from services.abtest.servicer.context import Context


class PlanningMethods(ABTestServiceServicer):
    """What a test needs before it begins."""

    async def EstimateSampleSize(
        self, request: pb.EstimateSampleSizeRequest, context: Context
    ) -> pb.EstimateSampleSizeResponse:
        """Return how many users a test needs."""
        size = estimate_sample_size(**convert.sample_size_from_proto(request))
        return convert.sample_size_to_proto(size)
