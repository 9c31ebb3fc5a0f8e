"""The method that sends answers as files."""

import asyncio
from collections.abc import AsyncIterator, Mapping

from google.api.httpbody_pb2 import HttpBody
from google.protobuf.message import Message

from gen.campaigns.analytics.v1 import export_service_pb2 as pb
from gen.campaigns.analytics.v1.export_service_pb2_grpc import ExportServiceServicer
from services.analytics.convert import export as convert_export
from services.analytics.servicer.context import Context


class ExportServicer(ExportServiceServicer):
    """campaigns.analytics.v1.ExportService.

    Args:
        servicers: the service of each name; their own methods answer, so that a file says what they say.
    """

    def __init__(self, servicers: Mapping[str, object]) -> None:
        self._servicers = servicers

    async def Export(self, request: pb.ExportRequest, context: Context) -> AsyncIterator[HttpBody]:
        """Send the answer to a question as a file; nothing is sent before the question is answered."""
        question = convert_export.question_from_proto(request)
        answer = await self._ask(question, "", context)
        writer = await asyncio.to_thread(convert_export.build_writer, question)
        await context.send_initial_metadata(
            (("content-disposition", f'attachment; filename="{question.file_name}"'),)
        )
        yield convert_export.part_to_proto(writer, writer.begin())
        while True:
            for data in convert_export.write_answer(question, writer, answer):
                yield convert_export.part_to_proto(writer, data)
            token = convert_export.next_page_token(question, answer)
            if not token:
                break
            answer = await self._ask(question, token, context)
        if end := writer.end():
            yield convert_export.part_to_proto(writer, end)

    async def _ask(self, question: convert_export.Question, token: str, context: Context) -> Message:
        method = getattr(self._servicers[question.service], question.method)
        answer: Message = await method(convert_export.page_request(question, token), context)
        return answer
