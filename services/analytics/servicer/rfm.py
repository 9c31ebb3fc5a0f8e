"""The method that tells users apart by recency, frequency and money."""

from gen.campaigns.analytics.v1 import audience_pb2 as pb
from gen.campaigns.analytics.v1.analytics_service_pb2_grpc import AnalyticsServiceServicer
from services.analytics.convert.ranking import currency_code_from_proto
from services.analytics.convert.rfm import rfm_segments_to_proto
from services.analytics.operations.rfm import RfmOperations
from services.analytics.servicer.context import Context


class RfmMethods(AnalyticsServiceServicer):
    """Segments by recency, frequency and money."""

    rfm: RfmOperations

    async def ListRfmSegments(
        self,
        request: pb.ListRfmSegmentsRequest,
        context: Context,
    ) -> pb.ListRfmSegmentsResponse:
        """List the segments by recency, frequency and money."""
        currency_code = currency_code_from_proto(request.currency_code)
        return rfm_segments_to_proto(await self.rfm.list_segments(currency_code))
