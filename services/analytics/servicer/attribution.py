"""The methods that say what campaigns are credited with."""

from gen.campaigns.analytics.v1 import attribution_pb2
from gen.campaigns.analytics.v1.analytics_service_pb2_grpc import AnalyticsServiceServicer
from services.analytics.convert import attribution as convert_attribution
from services.analytics.convert import metrics as convert_metrics
from services.analytics.operations.attribution import AttributionOperations
from services.analytics.servicer.context import Context


class AttributionMethods(AnalyticsServiceServicer):
    """Attribution."""

    attribution: AttributionOperations

    async def GetAttribution(
        self,
        request: attribution_pb2.GetAttributionRequest,
        context: Context,
    ) -> attribution_pb2.GetAttributionResponse:
        """Return what a campaign is credited with."""
        attribution = await self.attribution.get_attribution(
            convert_metrics.campaign_id_from_proto(request.campaign_id),
            convert_metrics.day_from_proto(request.start_date, "start_date"),
            convert_metrics.day_from_proto(request.end_date, "end_date"),
        )
        return convert_attribution.attribution_to_proto(attribution)

    async def GetPortfolioAttribution(
        self,
        request: attribution_pb2.GetPortfolioAttributionRequest,
        context: Context,
    ) -> attribution_pb2.GetPortfolioAttributionResponse:
        """Return what every campaign is credited with."""
        query = convert_attribution.query_from_proto(request)
        attribution = await self.attribution.get_portfolio_attribution(query)
        return convert_attribution.portfolio_attribution_to_proto(request, attribution)
