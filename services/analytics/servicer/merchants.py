"""The method that says what happened at a merchant."""

from gen.campaigns.analytics.v1 import merchants_pb2
from gen.campaigns.analytics.v1.analytics_service_pb2_grpc import AnalyticsServiceServicer
from services.analytics.convert import merchants as convert_merchants
from services.analytics.operations.merchants import MerchantOperations
from services.analytics.servicer.context import Context


class MerchantMethods(AnalyticsServiceServicer):
    """Merchants."""

    merchants: MerchantOperations

    async def GetMerchantPerformance(
        self,
        request: merchants_pb2.GetMerchantPerformanceRequest,
        context: Context,
    ) -> merchants_pb2.GetMerchantPerformanceResponse:
        """Return what happened at a merchant."""
        query = convert_merchants.query_from_proto(request)
        page = await self.merchants.get_merchant_performance(query)
        return convert_merchants.merchant_to_proto(request, page)
