"""The method of how far tests are."""

from gen.campaigns.abtest.v1 import progress_pb2 as pb
from gen.campaigns.abtest.v1.abtest_service_pb2_grpc import ABTestServiceServicer
from services.abtest.convert.progress import progress_to_proto
from services.abtest.convert.violations import checked_test_id
from services.abtest.operations.progress import ProgressOperations
from services.abtest.servicer.context import Context


class ProgressMethods(ABTestServiceServicer):
    """How far tests are."""

    progress: ProgressOperations

    async def GetTestStatus(
        self, request: pb.GetTestStatusRequest, context: Context
    ) -> pb.GetTestStatusResponse:
        """Return how far a test is."""
        test_id = checked_test_id(request.test_id)
        return progress_to_proto(await self.progress.fetch_progress(test_id))
