"""A campaign by the segments of its users: ranked, with intervals whose unit is the user.

The counts of a segment are exact at every commit. Which users are behind them is measured by a job now and
then, and lends its squares, products and cubes to the counts of the moment. What came since is taken for more
of the same users, so that squares grow with the square of the events (new users would make them grow more
slowly): the interval keeps the relative width it had, which is at most a fortieth too wide where the job has
come by since the last twentieth of the events. So each segment has a design effect (Kish, "Survey Sampling",
1965, section 8.2) of its own; that of the whole campaign covers too little in a segment whose users come back
more often than others. Where nothing came since the measure, the interval is the exact one.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from services.analytics.domain.intervals import (
    RatioMoments,
    estimate_rate_interval,
    estimate_ratio_interval,
    estimate_relative_variance,
)
from services.analytics.domain.metrics import Counts, Estimate, lacks_views
from services.analytics.domain.simpson import Reversal, StratifiedGroup, find_reversals
from services.common.errors import invalid_field

Segmentation = Literal["given", "rfm"]
SegmentMetric = Literal[
    "conversion_rate", "ctr", "view_rate", "avg_revenue", "revenue", "conversions", "impressions"
]
RateName = Literal["conversion_rate", "ctr", "view_rate"]
SEGMENTATIONS: tuple[Segmentation, ...] = get_args(Segmentation)
SEGMENT_METRICS: tuple[SegmentMetric, ...] = get_args(SegmentMetric)
RATE_NAMES: tuple[RateName, ...] = get_args(RateName)
STRATIFICATIONS = ("channel", "offer_amount", "month")
"""What segments are compared within."""
WITHOUT_PURCHASE = "no_purchase"
"""The segment by recency, frequency and money of users who bought nothing in the currency."""


@dataclass(frozen=True, kw_only=True)
class SegmentMoments:
    """Sums over the users of a segment as of a measure.

    `counts` are the events behind them; money is in micros.
    """

    users: int
    paying_users: int
    counts: Counts
    impressions_impressions: int
    impressions_views: int
    impressions_clicks: int
    views_views: int
    views_conversions: int
    clicks_clicks: int
    conversions_conversions: int
    conversions_revenue: int
    revenue_revenue: int
    revenue_revenue_revenue: int


@dataclass(frozen=True, kw_only=True)
class SegmentSums:
    """A segment's counts, and what was measured of its users; None before the first measure."""

    segment_name: str
    counts: Counts
    moments: SegmentMoments | None


@dataclass(frozen=True, kw_only=True)
class SegmentPerformance:
    """A segment and its place, from 1; `avg_revenue` is in micros."""

    rank: int
    segment_name: str
    counts: Counts
    conversion_rate: Estimate
    avg_revenue: Estimate
    view_rate: Estimate
    ctr: Estimate


@dataclass(frozen=True, kw_only=True)
class StratumCounts:
    """A segment's counts in one stratum of one stratification."""

    segmentation: Segmentation
    segment_name: str
    stratified_by: str
    stratum: str
    counts: Counts


def parse_segmentation(text: str) -> Segmentation:
    """Return the segmentation of that name, `given` for the empty one; refused by field otherwise."""
    for segmentation in SEGMENTATIONS:
        if segmentation == (text or "given"):
            return segmentation
    raise invalid_field("segmentation", f"must be one of {', '.join(SEGMENTATIONS)}", "VALUE_UNKNOWN")


def parse_segment_metric(text: str) -> SegmentMetric:
    """Return the metric of that name, `conversion_rate` for the empty one; refused by field otherwise."""
    for metric in SEGMENT_METRICS:
        if metric == (text or "conversion_rate"):
            return metric
    raise invalid_field("metric", f"must be one of {', '.join(SEGMENT_METRICS)}", "VALUE_UNKNOWN")


def rank_segments(
    segments: Sequence[SegmentSums], metric: SegmentMetric, confidence_level: float = 0.95
) -> Sequence[SegmentPerformance]:
    """Return segments by a metric, the highest first, where it is undefined last, ties by name."""
    order = sorted(segments, key=lambda segment: _order(segment, metric))
    return [
        SegmentPerformance(
            rank=place,
            segment_name=segment.segment_name,
            counts=segment.counts,
            conversion_rate=_estimate_rate(segment, "conversion_rate", confidence_level),
            avg_revenue=_estimate_avg_revenue(segment, confidence_level),
            view_rate=_estimate_rate(segment, "view_rate", confidence_level),
            ctr=_estimate_rate(segment, "ctr", confidence_level),
        )
        for place, segment in enumerate(order, start=1)
    ]


def is_measured_now(segments: Sequence[SegmentSums]) -> bool:
    """Return whether the users behind all counts are known, so that every interval is exact."""
    return all(
        segment.moments is not None
        and _funnel(segment.moments.counts) == _funnel(segment.counts)
        and segment.moments.counts.revenue_micros == segment.counts.revenue_micros
        for segment in segments
    )


def count_events(segments: Sequence[SegmentSums]) -> int:
    """Return the funnel's events of all segments together."""
    return sum(sum(_funnel(segment.counts)) for segment in segments)


def find_segment_reversals(
    moments: Mapping[str, SegmentMoments], strata: Sequence[StratumCounts]
) -> Sequence[Reversal]:
    """Return the pairs of one segmentation whose order by any rate turns around within strata."""
    found: list[Reversal] = []
    without_views = {name for name, measured in moments.items() if lacks_views(measured.counts)}
    for metric in RATE_NAMES:
        for stratified_by in STRATIFICATIONS:
            cells: dict[str, dict[str, tuple[int, int]]] = {}
            for row in strata:
                if row.stratified_by == stratified_by:
                    cells.setdefault(row.segment_name, {})[row.stratum] = _RATES[metric](row.counts)
            groups = [
                _group(name, of_name, moments.get(name), metric)
                for name, of_name in cells.items()
                if metric != "view_rate" or name not in without_views
            ]
            found += find_reversals(
                groups, stratified_by=stratified_by, metric=metric, stratifications=len(STRATIFICATIONS)
            )
    return found


_RATES: Mapping[RateName, Callable[[Counts], tuple[int, int]]] = {
    "conversion_rate": lambda counts: (counts.conversions, counts.views),
    "ctr": lambda counts: (counts.clicks, counts.impressions),
    "view_rate": lambda counts: (counts.views, counts.impressions),
}
_VALUES: Mapping[SegmentMetric, Callable[[Counts], tuple[int, int]]] = {
    "conversion_rate": _RATES["conversion_rate"],
    "ctr": _RATES["ctr"],
    "view_rate": _RATES["view_rate"],
    "avg_revenue": lambda counts: (counts.revenue_micros, counts.conversions),
    "revenue": lambda counts: (counts.revenue_micros, 1),
    "conversions": lambda counts: (counts.conversions, 1),
    "impressions": lambda counts: (counts.impressions, 1),
}


def _order(segment: SegmentSums, metric: SegmentMetric) -> tuple[bool, float, str]:
    above, below = _VALUES[metric](segment.counts)
    if metric == "view_rate" and lacks_views(segment.counts):
        below = 0
    return not below, -above / below if below else 0.0, segment.segment_name


def _estimate_rate(segment: SegmentSums, rate: RateName, confidence_level: float) -> Estimate:
    if rate == "view_rate" and lacks_views(segment.counts):
        return Estimate()
    y, x = _RATES[rate](segment.counts)
    moments = _rate_moments(segment.moments, rate)
    scaled = None if moments is None else _scale(moments, y, x)
    return Estimate(
        value=y / x if x else None,
        interval=None if scaled is None else estimate_rate_interval(scaled, confidence_level),
    )


def _estimate_avg_revenue(segment: SegmentSums, confidence_level: float) -> Estimate:
    y, x, m = segment.counts.revenue_micros, segment.counts.conversions, segment.moments
    value = y / x if x else None
    if m is None:
        return Estimate(value=value)
    measured = RatioMoments(
        users=m.users,
        y=m.counts.revenue_micros,
        x=m.counts.conversions,
        yy=m.revenue_revenue,
        xy=m.conversions_revenue,
        xx=m.conversions_conversions,
        carriers=m.paying_users,
        yyy=m.revenue_revenue_revenue,
    )
    scaled = _scale(measured, y, x)
    return Estimate(
        value=value, interval=None if scaled is None else estimate_ratio_interval(scaled, confidence_level)
    )


def _rate_moments(m: SegmentMoments | None, rate: RateName) -> RatioMoments | None:
    if m is None:
        return None
    y, x = _RATES[rate](m.counts)
    yy, xy, xx = {
        "conversion_rate": (m.conversions_conversions, m.views_conversions, m.views_views),
        "ctr": (m.clicks_clicks, m.impressions_clicks, m.impressions_impressions),
        "view_rate": (m.views_views, m.impressions_views, m.impressions_impressions),
    }[rate]
    return RatioMoments(users=m.users, y=y, x=x, yy=yy, xy=xy, xx=xx)


def _scale(measured: RatioMoments, y: int, x: int) -> RatioMoments | None:
    """Return the moments expected at the counts y and x; the users stay those that were measured."""
    if measured.x <= 0 or x <= 0:
        return None
    return RatioMoments(
        users=measured.users,
        y=y,
        x=x,
        yy=measured.yy * x * x // (measured.x * measured.x),
        xy=measured.xy * x * x // (measured.x * measured.x),
        xx=measured.xx * x * x // (measured.x * measured.x),
        carriers=measured.carriers,
        yyy=None if measured.yyy is None else measured.yyy * x**3 // measured.x**3,
    )


def _group(
    name: str, cells: Mapping[str, tuple[int, int]], moments: SegmentMoments | None, rate: RateName
) -> StratifiedGroup:
    measured = _rate_moments(moments, rate)
    if measured is None or measured.x <= 0:
        return StratifiedGroup(name=name, cells=cells)
    ratio = measured.y / measured.x
    design_effect = 1.0
    if 0 < ratio < 1:
        variance = (estimate_relative_variance(measured) or 0.0) * ratio * ratio
        design_effect = variance * measured.x / (ratio * (1 - ratio))
    # Users who keep to one stratum: nothing is known of how they move between strata.
    return StratifiedGroup(
        name=name, cells=cells, design_effect=design_effect, mix_design_effect=measured.xx / measured.x
    )


def _funnel(counts: Counts) -> tuple[int, int, int, int]:
    return counts.impressions, counts.views, counts.clicks, counts.conversions
