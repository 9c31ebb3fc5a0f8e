"""The method that counts everything again."""

from collections.abc import AsyncIterator
from contextlib import aclosing

from gen.campaigns.analytics.v1 import operations_service_pb2 as pb
from gen.campaigns.analytics.v1.operations_service_pb2_grpc import OperationsServiceServicer
from services.analytics.convert import recount as convert_recount
from services.analytics.operations.recount import RecountOperations
from services.analytics.servicer.context import Context


class RecountMethods(OperationsServiceServicer):
    """Recounts."""

    recount: RecountOperations

    async def Reconcile(
        self,
        request: pb.ReconcileRequest,
        context: Context,
    ) -> AsyncIterator[pb.ReconcileResponse]:
        """Send each rollup beside its recount."""
        async with aclosing(self.recount.compare()) as comparisons:
            async for comparison in comparisons:
                yield convert_recount.comparison_to_proto(comparison)
