"""The methods that stream what changes."""

from collections.abc import AsyncIterator

from gen.campaigns.analytics.v1 import analytics_service_pb2 as analytics_pb
from gen.campaigns.analytics.v1.analytics_service_pb2_grpc import AnalyticsServiceServicer
from services.analytics.servicer.context import Context


class LiveMethods(AnalyticsServiceServicer):
    """Campaigns and the portfolio as they change."""

    async def WatchCampaign(
        self,
        request: analytics_pb.WatchCampaignRequest,
        context: Context,
    ) -> AsyncIterator[analytics_pb.WatchCampaignResponse]:
        """Not offered yet."""
        raise NotImplementedError
        yield

    async def WatchPortfolio(
        self,
        request: analytics_pb.WatchPortfolioRequest,
        context: Context,
    ) -> AsyncIterator[analytics_pb.WatchPortfolioResponse]:
        """Not offered yet."""
        raise NotImplementedError
        yield
