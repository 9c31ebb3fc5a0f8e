"""The method that tells a campaign's users apart by segment."""

from gen.campaigns.analytics.v1 import audience_pb2 as pb
from gen.campaigns.analytics.v1.analytics_service_pb2_grpc import AnalyticsServiceServicer
from services.analytics.convert.metrics import campaign_id_from_proto
from services.analytics.convert.segments import segments_to_proto
from services.analytics.domain.segments import parse_segment_metric, parse_segmentation
from services.analytics.operations.segments import SegmentOperations
from services.analytics.servicer.context import Context


class SegmentMethods(AnalyticsServiceServicer):
    """Campaigns by segment."""

    segments: SegmentOperations

    async def GetCampaignSegments(
        self,
        request: pb.GetCampaignSegmentsRequest,
        context: Context,
    ) -> pb.GetCampaignSegmentsResponse:
        """Return a campaign by segment."""
        ranked = await self.segments.get_campaign_segments(
            campaign_id_from_proto(request.campaign_id),
            parse_segmentation(request.segmentation),
            parse_segment_metric(request.metric),
        )
        return segments_to_proto(ranked)
