"""The methods that say what is expected."""

from gen.campaigns.analytics.v1 import forecasts_pb2
from gen.campaigns.analytics.v1.analytics_service_pb2_grpc import AnalyticsServiceServicer
from services.analytics.convert import forecasts as convert_forecasts
from services.analytics.convert import metrics as convert_metrics
from services.analytics.convert.ranking import currency_code_from_proto
from services.analytics.operations.forecasts import ForecastOperations
from services.analytics.servicer.context import Context


class ForecastMethods(AnalyticsServiceServicer):
    """Forecasts."""

    forecasts: ForecastOperations

    async def GetCampaignForecast(
        self,
        request: forecasts_pb2.GetCampaignForecastRequest,
        context: Context,
    ) -> forecasts_pb2.GetCampaignForecastResponse:
        """Return what a campaign is expected to do."""
        forecast = await self.forecasts.get_campaign_forecast(
            convert_metrics.campaign_id_from_proto(request.campaign_id),
            convert_forecasts.days_from_proto(request),
        )
        return convert_forecasts.campaign_forecast_to_proto(forecast)

    async def GetPortfolioForecast(
        self,
        request: forecasts_pb2.GetPortfolioForecastRequest,
        context: Context,
    ) -> forecasts_pb2.GetPortfolioForecastResponse:
        """Return what all campaigns of a currency are expected to do together."""
        forecast = await self.forecasts.get_portfolio_forecast(
            currency_code_from_proto(request.currency_code), convert_forecasts.days_from_proto(request)
        )
        return convert_forecasts.portfolio_forecast_to_proto(forecast)
