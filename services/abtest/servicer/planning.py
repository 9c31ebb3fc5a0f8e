"""The methods of planning. In threads: many looks take a second, and assignments do not wait for it."""

import asyncio

from gen.campaigns.abtest.v1 import planning_pb2 as pb
from gen.campaigns.abtest.v1.abtest_service_pb2_grpc import ABTestServiceServicer
from services.abtest.convert import planning as convert
from services.abtest.operations import planning
from services.abtest.servicer.context import Context


class PlanningMethods(ABTestServiceServicer):
    """What a test needs before it begins."""

    async def EstimateSampleSize(
        self, request: pb.EstimateSampleSizeRequest, context: Context
    ) -> pb.EstimateSampleSizeResponse:
        """Return how many users a test needs."""
        sizes = await asyncio.to_thread(
            planning.estimate_sample_sizes, **convert.sample_size_from_proto(request)
        )
        return convert.sample_sizes_to_proto(sizes)

    async def EstimateMinimumDetectableEffect(
        self, request: pb.EstimateMinimumDetectableEffectRequest, context: Context
    ) -> pb.EstimateMinimumDetectableEffectResponse:
        """Return the least effect that a number of users finds."""
        found = await asyncio.to_thread(
            planning.estimate_detectable_effect, **convert.detectable_effect_from_proto(request)
        )
        return convert.detectable_effect_to_proto(found)

    async def EstimatePower(
        self, request: pb.EstimatePowerRequest, context: Context
    ) -> pb.EstimatePowerResponse:
        """Return how likely a number of users finds an effect."""
        found = await asyncio.to_thread(planning.estimate_power, **convert.power_from_proto(request))
        return convert.power_to_proto(found)
