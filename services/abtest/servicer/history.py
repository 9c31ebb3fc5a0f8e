"""The methods of tests of the past and present."""

from gen.campaigns.abtest.v1 import history_pb2 as pb
from gen.campaigns.abtest.v1.abtest_service_pb2_grpc import ABTestServiceServicer
from services.abtest.convert import history as convert
from services.abtest.operations.history import HistoryOperations
from services.abtest.servicer.context import Context


class HistoryMethods(ABTestServiceServicer):
    """Tests of the past and present."""

    history: HistoryOperations

    async def ListTestHistory(
        self, request: pb.ListTestHistoryRequest, context: Context
    ) -> pb.ListTestHistoryResponse:
        """Return a page of tests."""
        limit = convert.history_limit_from_proto(request)
        filters = convert.history_filters_from_proto(request)
        before = convert.history_start_from_proto(request, filters)
        page = await self.history.list_tests(filters, before=before, limit=limit)
        return convert.history_to_proto(page, filters)
