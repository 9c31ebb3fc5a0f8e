"""The methods of imported costs."""

from gen.campaigns.analytics.v1 import costs_pb2
from gen.campaigns.analytics.v1.analytics_service_pb2_grpc import AnalyticsServiceServicer
from services.analytics.convert import costs as convert_costs
from services.analytics.operations.costs import CostOperations
from services.analytics.servicer.context import Context


class CostMethods(AnalyticsServiceServicer):
    """Costs that no event carries."""

    costs: CostOperations

    async def ImportCosts(
        self,
        request: costs_pb2.ImportCostsRequest,
        context: Context,
    ) -> costs_pb2.ImportCostsResponse:
        """Take in costs."""
        imported = await self.costs.import_costs(convert_costs.costs_from_proto(request))
        return convert_costs.imported_to_proto(imported)

    async def ListCosts(
        self,
        request: costs_pb2.ListCostsRequest,
        context: Context,
    ) -> costs_pb2.ListCostsResponse:
        """List costs."""
        costs, has_more = await self.costs.list_costs(*convert_costs.cost_filter_from_proto(request))
        return convert_costs.costs_to_proto(request, costs, has_more=has_more)
