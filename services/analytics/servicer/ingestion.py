"""The methods that take events in."""

from collections.abc import AsyncIterator

from gen.campaigns.analytics.v1 import analytics_service_pb2 as analytics_pb
from gen.campaigns.analytics.v1.analytics_service_pb2_grpc import AnalyticsServiceServicer
from services.analytics.convert import ingestion as convert_ingestion
from services.analytics.operations.ingestion import IngestionOperations
from services.analytics.servicer.context import Context
from services.common.errors import ResourceExhaustedError

MAXIMUM_STREAM_REJECTIONS = 50_000
"""Past this the answer to a stream would be too large to send."""


class IngestionMethods(AnalyticsServiceServicer):
    """Events by the batch and by the stream."""

    ingestion: IngestionOperations

    async def IngestEvents(
        self,
        request: analytics_pb.IngestEventsRequest,
        context: Context,
    ) -> analytics_pb.IngestEventsResponse:
        """Take in a batch of events."""
        self.ingestion.check_size(len(request.events))
        events = convert_ingestion.events_from_proto(request.events)
        return convert_ingestion.result_to_proto(await self.ingestion.ingest(events))

    async def IngestEventStream(
        self,
        request_iterator: AsyncIterator[analytics_pb.IngestEventStreamRequest],
        context: Context,
    ) -> analytics_pb.IngestEventStreamResponse:
        """Take in events message by message; the next is read when the one before is durable."""
        answer = analytics_pb.IngestEventStreamResponse()
        offset = 0
        async for request in request_iterator:
            if request.events:
                self.ingestion.check_size(len(request.events))
                result = await self.ingestion.ingest(convert_ingestion.events_from_proto(request.events))
                answer.accepted_count += result.accepted
                answer.duplicate_count += result.duplicates
                rejections = convert_ingestion.rejections_to_proto(result.rejections, offset=offset)
                answer.rejections.extend(rejections)
                offset += len(request.events)
            if len(answer.rejections) > MAXIMUM_STREAM_REJECTIONS:
                raise ResourceExhaustedError(
                    f"more than {MAXIMUM_STREAM_REJECTIONS} events of this stream were rejected; what was "
                    "accepted stays",
                    reason="BATCH_TOO_LARGE",
                )
        return answer
