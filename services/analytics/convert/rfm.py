"""Segments by recency, frequency and money on their way to the wire."""

from gen.campaigns.analytics.v1 import audience_pb2 as pb
from services.analytics.domain.rfm import RfmSegment, RfmSegments
from services.common.wire import MICROS_PER_UNIT, datetime_to_timestamp, micros_to_money


def rfm_segments_to_proto(rfm: RfmSegments) -> pb.ListRfmSegmentsResponse:
    """Return the answer of ListRfmSegments; what is undefined stays unset."""
    return pb.ListRfmSegmentsResponse(
        segments=[_segment_to_proto(segment) for segment in rfm.segments],
        currency_code=rfm.currency_code,
        as_of=datetime_to_timestamp(rfm.as_of) if rfm.as_of else None,
    )


def _segment_to_proto(segment: RfmSegment) -> pb.RfmSegment:
    mean = segment.mean_monetary_micros
    return pb.RfmSegment(
        segment_name=segment.segment_name,
        users=segment.users,
        user_share=segment.user_share,
        revenue=micros_to_money(segment.monetary_micros),
        revenue_share=segment.revenue_share,
        mean_recency_days=segment.mean_recency_days,
        mean_frequency=segment.mean_frequency,
        mean_monetary=None if mean is None else mean / MICROS_PER_UNIT,
        definition=segment.definition,
    )
