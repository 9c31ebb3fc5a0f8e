"""The method of durations."""

from gen.campaigns.abtest.v1 import duration_pb2 as pb
from gen.campaigns.abtest.v1.abtest_service_pb2_grpc import ABTestServiceServicer
from services.abtest.convert import duration as convert
from services.abtest.operations.duration import DurationOperations
from services.abtest.servicer.context import Context


class DurationMethods(ABTestServiceServicer):
    """How long tests would take."""

    duration: DurationOperations

    async def EstimateTestDuration(
        self, request: pb.EstimateTestDurationRequest, context: Context
    ) -> pb.EstimateTestDurationResponse:
        """Return how long a test would take on the campaigns' traffic."""
        campaign_ids, question, lookback_days = convert.duration_from_proto(request)
        return convert.duration_to_proto(
            await self.duration.estimate_duration(campaign_ids, question, lookback_days)
        )
