"""Campaigns by segment between the wire and the domain."""

from collections.abc import Sequence

from gen.campaigns.analytics.v1 import audience_pb2 as pb
from services.analytics.convert.ranges import interval_to_proto
from services.analytics.domain.segments import SegmentPerformance
from services.analytics.domain.simpson import Reversal, describe_reversal
from services.analytics.operations.segments import RankedSegments
from services.common.wire import MICROS_PER_UNIT, datetime_to_timestamp, micros_to_money


def segments_to_proto(ranked: RankedSegments) -> pb.GetCampaignSegmentsResponse:
    """Return the answer of GetCampaignSegments; what is undefined stays unset."""
    return pb.GetCampaignSegmentsResponse(
        campaign_id=ranked.campaign_id,
        currency_code=ranked.currency_code or "",
        segments=[_segment_to_proto(segment) for segment in ranked.segments],
        segmentation=ranked.segmentation,
        as_of=datetime_to_timestamp(ranked.as_of) if ranked.as_of else None,
        warnings=reversals_to_proto(ranked.reversals),
        interval_method=ranked.interval_method,
    )


def reversals_to_proto(reversals: Sequence[Reversal]) -> Sequence[pb.SimpsonWarning]:
    """Return the warnings of comparisons that turn around within strata."""
    return [
        pb.SimpsonWarning(
            first=reversal.first,
            second=reversal.second,
            stratified_by=reversal.stratified_by,
            metric=reversal.metric,
            pooled_difference=reversal.pooled_difference,
            stratified_difference=reversal.stratified_difference,
            message=describe_reversal(reversal),
            stratified_difference_interval=interval_to_proto(reversal.stratified_difference_interval),
            adjusted_p_value=reversal.adjusted_p_value,
        )
        for reversal in reversals
    ]


def _segment_to_proto(segment: SegmentPerformance) -> pb.SegmentPerformance:
    counts, average = segment.counts, segment.avg_revenue
    return pb.SegmentPerformance(
        rank=segment.rank,
        segment_name=segment.segment_name,
        impressions=counts.impressions,
        views=counts.views,
        clicks=counts.clicks,
        conversions=counts.conversions,
        revenue=micros_to_money(counts.revenue_micros),
        cost=micros_to_money(counts.cost_micros),
        conversion_rate=segment.conversion_rate.value,
        conversion_rate_interval=interval_to_proto(segment.conversion_rate.interval),
        avg_revenue=None if average.value is None else average.value / MICROS_PER_UNIT,
        avg_revenue_interval=interval_to_proto(average.interval, divisor=MICROS_PER_UNIT),
        view_rate=segment.view_rate.value,
        view_rate_interval=interval_to_proto(segment.view_rate.interval),
        ctr=segment.ctr.value,
        ctr_interval=interval_to_proto(segment.ctr.interval),
    )
