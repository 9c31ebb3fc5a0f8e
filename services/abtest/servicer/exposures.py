"""The methods of exposures."""

from gen.campaigns.abtest.v1 import exposures_pb2 as pb
from gen.campaigns.abtest.v1.abtest_service_pb2_grpc import ABTestServiceServicer
from services.abtest.convert import exposures as convert
from services.abtest.convert.violations import checked_test_id
from services.abtest.operations.exposures import ExposureOperations
from services.abtest.servicer.context import Context


class ExposureMethods(ABTestServiceServicer):
    """Who saw what the group sees."""

    exposures: ExposureOperations

    async def RecordExposures(
        self, request: pb.RecordExposuresRequest, context: Context
    ) -> pb.RecordExposuresResponse:
        """Keep that users saw what their groups see."""
        batch = convert.exposures_from_proto(request, self.exposures.now())
        return convert.recorded_exposures_to_proto(await self.exposures.record_exposures(batch))

    async def ListExposures(
        self, request: pb.ListExposuresRequest, context: Context
    ) -> pb.ListExposuresResponse:
        """Return how many users of each group every source exposed."""
        test_id = checked_test_id(request.test_id)
        return convert.exposures_to_proto(*await self.exposures.list_exposures(test_id))
