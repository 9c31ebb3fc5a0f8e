"""The method that sends results as files."""

from collections.abc import AsyncIterator

from google.api.httpbody_pb2 import HttpBody

from gen.campaigns.abtest.v1 import export_service_pb2 as pb
from gen.campaigns.abtest.v1.export_service_pb2_grpc import ABTestExportServiceServicer
from services.abtest.convert import export as convert
from services.abtest.operations.analysis import AnalysisOperations
from services.abtest.servicer.context import Context

_PAGE = 50


class ExportServicer(ABTestExportServiceServicer):
    """campaigns.abtest.v1.ABTestExportService.

    Args:
        analysis: reads kept analyses.
    """

    def __init__(self, analysis: AnalysisOperations) -> None:
        self._analysis = analysis

    async def ExportTestResults(
        self, request: pb.ExportTestResultsRequest, context: Context
    ) -> AsyncIterator[HttpBody]:
        """Send the kept analyses of a test; nothing is sent before the test is found."""
        test_id, file_format, newest_only = convert.export_from_proto(request)
        test, page = await self._analysis.list_results(
            test_id, before=convert.FIRST_PAGE, limit=1 if newest_only else _PAGE
        )
        name = convert.file_name(test, file_format)
        await context.send_initial_metadata((("content-disposition", f'attachment; filename="{name}"'),))
        yield convert.head_to_proto(file_format)
        while True:
            rows = [row for kept in page.results for row in convert.analysis_to_rows(test, kept)]
            if rows:
                yield convert.rows_to_proto(rows, file_format)
            if page.next_before is None or newest_only:
                break
            test, page = await self._analysis.list_results(test_id, before=page.next_before, limit=_PAGE)
