"""The method that says what campaigns did period by period."""

import asyncio

from gen.campaigns.analytics.v1 import analytics_service_pb2 as analytics_pb
from gen.campaigns.analytics.v1 import trends_pb2
from gen.campaigns.analytics.v1.analytics_service_pb2_grpc import AnalyticsServiceServicer
from services.analytics.convert import metrics as convert_metrics
from services.analytics.convert import trends as convert_trends
from services.analytics.operations.trends import MAXIMUM_POINTS_AT_ONCE, TrendOperations
from services.analytics.servicer.context import Context


class TrendMethods(AnalyticsServiceServicer):
    """Trends."""

    trends: TrendOperations

    async def GetCampaignTrend(
        self,
        request: analytics_pb.GetCampaignTrendRequest,
        context: Context,
    ) -> trends_pb2.GetCampaignTrendResponse:
        """Return a campaign's counts by period."""
        trend = await self.trends.get_campaign_trend(
            convert_metrics.campaign_id_from_proto(request.campaign_id),
            convert_trends.interval_from_proto(request.interval),
            convert_metrics.day_from_proto(request.start_date, "start_date"),
            convert_metrics.day_from_proto(request.end_date, "end_date"),
        )
        if len(trend.points) > MAXIMUM_POINTS_AT_ONCE:
            return await asyncio.to_thread(convert_trends.trend_to_proto, trend)
        return convert_trends.trend_to_proto(trend)
