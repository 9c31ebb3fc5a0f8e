"""Segments between the wire and the domain."""

from gen.campaigns.optimizer.v1 import segments_pb2 as pb
from services.optimizer.convert.ranges import interval_to_proto
from services.optimizer.domain.segments.ranking import RankedSegment, SegmentRanking


def ranking_to_proto(ranking: SegmentRanking) -> pb.GetSegmentRecommendationsResponse:
    """Return a ranking."""
    return pb.GetSegmentRecommendationsResponse(
        campaign_id=ranking.campaign_id,
        segments=[_segment_to_proto(segment) for segment in ranking.segments],
        warnings=ranking.warnings,
    )


def _segment_to_proto(segment: RankedSegment) -> pb.SegmentRecommendation:
    rate, uplift = segment.rate, segment.uplift
    return pb.SegmentRecommendation(
        rank=segment.rank,
        segment_name=rate.segment_name,
        conversion_rate=rate.conversion_rate,
        conversion_rate_interval=interval_to_proto(rate.conversion_rate_interval),
        evidence=segment.evidence,
        expected_conversion_rate=rate.expected_rate,
        expected_conversion_rate_interval=interval_to_proto(rate.expected_rate_interval),
        relative_conversion_rate=rate.ratio,
        relative_conversion_rate_interval=interval_to_proto(rate.ratio_interval),
        uplift=None if uplift is None else uplift.value,
        uplift_interval=None if uplift is None else interval_to_proto(uplift.interval),
        basis=segment.basis.value,
        users=rate.users,
    )
