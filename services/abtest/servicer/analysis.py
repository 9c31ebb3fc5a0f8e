"""The methods of what tests show."""

from gen.campaigns.abtest.v1 import results_pb2 as pb
from gen.campaigns.abtest.v1.abtest_service_pb2_grpc import ABTestServiceServicer
from services.abtest.convert import analysis as convert
from services.abtest.convert.changes import noted_from_proto
from services.abtest.operations.analysis import AnalysisOperations
from services.abtest.servicer.context import Context


class AnalysisMethods(ABTestServiceServicer):
    """What tests show, and their ends."""

    analysis: AnalysisOperations

    async def AnalyzeTest(self, request: pb.AnalyzeTestRequest, context: Context) -> pb.AnalyzeTestResponse:
        """Return what a test shows."""
        asked = convert.analysis_request_from_proto(request)
        return convert.analysis_to_proto(*await self.analysis.analyze_test(*asked))

    async def EndTest(self, request: pb.EndTestRequest, context: Context) -> pb.EndTestResponse:
        """End a test and return its final result."""
        return convert.ended_test_to_proto(*await self.analysis.end_test(*noted_from_proto(request)))

    async def ListTestResults(
        self, request: pb.ListTestResultsRequest, context: Context
    ) -> pb.ListTestResultsResponse:
        """Return a page of kept analyses."""
        test_id, before, limit = convert.results_page_from_proto(request)
        return convert.results_to_proto(
            *await self.analysis.list_results(test_id, before=before, limit=limit)
        )
