"""The method that ranks campaigns."""

from gen.campaigns.analytics.v1 import ranking_pb2
from gen.campaigns.analytics.v1.analytics_service_pb2_grpc import AnalyticsServiceServicer
from services.analytics.convert import ranking as convert_ranking
from services.analytics.operations.ranking import RankingOperations
from services.analytics.servicer.context import Context


class RankingMethods(AnalyticsServiceServicer):
    """The best campaigns."""

    ranking: RankingOperations

    async def ListTopCampaigns(
        self,
        request: ranking_pb2.ListTopCampaignsRequest,
        context: Context,
    ) -> ranking_pb2.ListTopCampaignsResponse:
        """Return the best campaigns by a metric."""
        query = convert_ranking.ranking_query_from_proto(request)
        return convert_ranking.ranking_to_proto(await self.ranking.list_top_campaigns(query))
