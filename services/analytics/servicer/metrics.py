"""The methods that say what campaigns did."""

from gen.campaigns.analytics.v1 import analytics_service_pb2 as analytics_pb
from gen.campaigns.analytics.v1 import metrics_pb2
from gen.campaigns.analytics.v1.analytics_service_pb2_grpc import AnalyticsServiceServicer
from services.analytics.convert import metrics as convert_metrics
from services.analytics.operations.metrics import MetricsOperations
from services.analytics.servicer.context import Context


class MetricsMethods(AnalyticsServiceServicer):
    """Metrics of one campaign."""

    metrics: MetricsOperations

    async def GetCampaignMetrics(
        self,
        request: analytics_pb.GetCampaignMetricsRequest,
        context: Context,
    ) -> analytics_pb.GetCampaignMetricsResponse:
        """Return what a campaign did."""
        metrics = await self.metrics.get_campaign_metrics(
            convert_metrics.campaign_id_from_proto(request.campaign_id),
            convert_metrics.day_from_proto(request.start_date, "start_date"),
            convert_metrics.day_from_proto(request.end_date, "end_date"),
        )
        return convert_metrics.metrics_to_proto(metrics)

    async def GetCampaignRoi(
        self,
        request: analytics_pb.GetCampaignRoiRequest,
        context: Context,
    ) -> metrics_pb2.GetCampaignRoiResponse:
        """Return what a campaign cost and brought."""
        campaign_id = convert_metrics.campaign_id_from_proto(request.campaign_id)
        return convert_metrics.roi_to_proto(await self.metrics.get_campaign_roi(campaign_id))
