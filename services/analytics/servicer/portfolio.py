"""The methods that say what all campaigns did together."""

from gen.campaigns.analytics.v1 import analytics_service_pb2 as analytics_pb
from gen.campaigns.analytics.v1.analytics_service_pb2_grpc import AnalyticsServiceServicer
from services.analytics.convert import portfolio as convert_portfolio
from services.analytics.operations.portfolio import PortfolioOperations
from services.analytics.servicer.context import Context


class PortfolioMethods(AnalyticsServiceServicer):
    """The portfolio."""

    portfolio: PortfolioOperations

    async def GetPortfolioPerformance(
        self,
        request: analytics_pb.GetPortfolioPerformanceRequest,
        context: Context,
    ) -> analytics_pb.GetPortfolioPerformanceResponse:
        """Return what all campaigns did together."""
        query = convert_portfolio.portfolio_query_from_proto(request)
        return convert_portfolio.portfolio_to_proto(await self.portfolio.get_portfolio_performance(query))
