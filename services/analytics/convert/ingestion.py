"""Events between the wire and columns."""

from collections.abc import Iterable, Sequence

from gen.campaigns.analytics.v1 import analytics_service_pb2, events_pb2
from services.analytics.domain.events import MISSING_TIME, EventColumns, Rejection
from services.analytics.operations.ingestion import IngestionResult


def events_from_proto(messages: Sequence[events_pb2.Event]) -> EventColumns:
    """Return the events in columns, as they were sent.

    A field is asked for its presence only where its value is the default, and the messages are unpacked from
    their container once: this runs for every event. The columns are validated later, all at once.
    """
    events = list(messages)
    return EventColumns(
        user_id=[e.user_id for e in events],
        event_id=[e.event_id for e in events],
        event_type=[int(e.event_type) for e in events],
        campaign_id=[e.campaign_id or (e.campaign_id if e.HasField("campaign_id") else None) for e in events],
        merchant_id=[e.merchant_id or (0 if e.HasField("merchant_id") else None) for e in events],
        event_micros=[
            time.seconds * 1_000_000 + time.nanos // 1000 if time.seconds else _early_time(event, time.nanos)
            for event, time in zip(events, [event.event_time for event in events], strict=True)
        ],
        revenue=[e.revenue or (0.0 if e.HasField("revenue") else None) for e in events],
        cost=[e.cost or (0.0 if e.HasField("cost") else None) for e in events],
        offer_amount=[e.offer_amount or (0.0 if e.HasField("offer_amount") else None) for e in events],
        channel=[int(e.channel) for e in events],
        original_event_id=[e.original_event_id for e in events],
        custom_event_name=[e.custom_event_name for e in events],
        is_machine_open=[e.is_machine_open for e in events],
        propensity=[e.propensity or (0.0 if e.HasField("propensity") else None) for e in events],
        policy_version=[e.policy_version for e in events],
    )


def _early_time(event: events_pb2.Event, nanos: int) -> int:
    """Return the time of an event in the first second of 1970, or the mark of one without a time."""
    return nanos // 1000 if event.HasField("event_time") else MISSING_TIME


def result_to_proto(result: IngestionResult) -> analytics_service_pb2.IngestEventsResponse:
    """Return the answer to one batch."""
    return analytics_service_pb2.IngestEventsResponse(
        accepted_count=result.accepted,
        duplicate_count=result.duplicates,
        rejections=rejections_to_proto(result.rejections, offset=0),
    )


def rejections_to_proto(rejections: Iterable[Rejection], *, offset: int) -> list[events_pb2.EventRejection]:
    """Return rejections, their positions moved by the number of events in messages before."""
    return [
        events_pb2.EventRejection(
            index=offset + rejection.index,
            field=rejection.field,
            reason=rejection.reason,
            message=rejection.message,
        )
        for rejection in rejections
    ]
