"""The methods of what tests show."""

from gen.campaigns.abtest.v1 import results_pb2 as pb
from gen.campaigns.abtest.v1.abtest_service_pb2_grpc import ABTestServiceServicer
from services.abtest.convert import analysis as convert
from services.abtest.convert.changes import noted_from_proto
from services.abtest.convert.violations import checked_test_id
from services.abtest.operations.analysis import AnalysisOperations
from services.abtest.servicer.context import Context


class AnalysisMethods(ABTestServiceServicer):
    """What tests show, and their ends."""

    analysis: AnalysisOperations

    async def AnalyzeTest(self, request: pb.AnalyzeTestRequest, context: Context) -> pb.AnalyzeTestResponse:
        """Return what a test shows."""
        test_id = checked_test_id(request.test_id)
        return convert.analysis_to_proto(*await self.analysis.analyze_test(test_id))

    async def EndTest(self, request: pb.EndTestRequest, context: Context) -> pb.EndTestResponse:
        """End a test and return its final result."""
        return convert.ended_test_to_proto(*await self.analysis.end_test(*noted_from_proto(request)))
