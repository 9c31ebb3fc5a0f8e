"""The methods that stream what changes."""

from collections.abc import AsyncIterator

from gen.campaigns.analytics.v1 import analytics_service_pb2 as analytics_pb
from gen.campaigns.analytics.v1.analytics_service_pb2_grpc import AnalyticsServiceServicer
from services.analytics.convert import live as convert_live
from services.analytics.convert.metrics import campaign_id_from_proto
from services.analytics.operations.live import LiveOperations
from services.analytics.servicer.context import Context


class LiveMethods(AnalyticsServiceServicer):
    """Campaigns and the portfolio as they change."""

    live: LiveOperations

    async def WatchCampaign(
        self,
        request: analytics_pb.WatchCampaignRequest,
        context: Context,
    ) -> AsyncIterator[analytics_pb.WatchCampaignResponse]:
        """Send a campaign's metrics now and after every change."""
        async for observed in self.live.watch_campaign(campaign_id_from_proto(request.campaign_id)):
            yield convert_live.campaign_to_proto(observed)

    async def WatchPortfolio(
        self,
        request: analytics_pb.WatchPortfolioRequest,
        context: Context,
    ) -> AsyncIterator[analytics_pb.WatchPortfolioResponse]:
        """Send the current day's sums now and after every change."""
        async for observed in self.live.watch_portfolio():
            yield convert_live.portfolio_to_proto(observed)
