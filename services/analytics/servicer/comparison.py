"""The method that puts campaigns side by side."""

from gen.campaigns.analytics.v1 import comparison_pb2
from gen.campaigns.analytics.v1.analytics_service_pb2_grpc import AnalyticsServiceServicer
from services.analytics.convert import comparison as convert_comparison
from services.analytics.operations.comparison import ComparisonOperations
from services.analytics.servicer.context import Context


class ComparisonMethods(AnalyticsServiceServicer):
    """Comparisons of campaigns."""

    comparison: ComparisonOperations

    async def CompareCampaigns(
        self,
        request: comparison_pb2.CompareCampaignsRequest,
        context: Context,
    ) -> comparison_pb2.CompareCampaignsResponse:
        """Put campaigns side by side."""
        comparison = await self.comparison.compare_campaigns(
            convert_comparison.campaign_ids_from_proto(request),
            convert_comparison.metrics_from_proto(request),
        )
        return convert_comparison.comparison_to_proto(comparison)
