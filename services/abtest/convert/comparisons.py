"""Comparisons of groups, on the wire; what is undefined stays unset."""

import math
from collections.abc import Sequence

from gen.campaigns.abtest.v1 import comparisons_pb2 as pb
from gen.campaigns.type.v1 import range_pb2
from services.abtest.convert.metrics import metric_type
from services.abtest.domain.analysis import Analysis
from services.abtest.domain.comparisons import Comparison, GroupValue
from services.abtest.domain.exposure_days import NoveltyView
from services.abtest.domain.model import TestDesign
from services.abtest.domain.pre_exposure import PreExposureCheck
from services.abtest.domain.proportions import Interval
from services.abtest.domain.sample_ratio_scopes import ScopedSampleRatio
from services.abtest.domain.segments import SegmentBreakdown
from services.abtest.domain.verdicts import GuardrailState

_GUARDRAIL_STATUSES = {
    GuardrailState.SAFE: "kept",
    GuardrailState.BREACHED: "breached",
    GuardrailState.UNKNOWN: "unsure",
}


def metrics_to_proto(analysis: Analysis) -> list[pb.MetricResult]:
    """Return every metric's result; guardrails with what the verdict makes of them."""
    statuses = {
        (guardrail.metric, variant.group): _GUARDRAIL_STATUSES[guardrail.state]
        for variant in analysis.decision.variants
        for guardrail in variant.guardrails
    }
    return [
        pb.MetricResult(
            metric_name=result.metric.name,
            metric_type=metric_type(result.metric),
            role=result.metric.role.label,
            groups=[_group_to_proto(group) for group in result.groups],
            comparisons=[
                comparison_to_proto(each, guardrail_status=statuses.get((result.metric.name, each.group)))
                for each in result.comparisons
            ],
            winsorize_cap=result.winsorize_cap,
            no_data_reason=result.no_data_reason,
            warnings=result.warnings,
        )
        for result in analysis.metrics
    ]


def comparison_to_proto(comparison: Comparison, *, guardrail_status: str | None = None) -> pb.GroupComparison:
    """Return a variant compared with control."""
    test, anytime, lift = comparison.test, comparison.anytime, comparison.relative_lift
    return pb.GroupComparison(
        group=comparison.group,
        method=test.method if test else "",
        p_value=test.p_value if test else None,
        log10_p_value=test.log10_p_value if test else None,
        adjusted_p_value=comparison.adjusted_p_value,
        false_discovery_p_value=comparison.false_discovery_p_value,
        anytime_p_value=anytime.p_value if anytime else None,
        statistic=test.statistic if test else None,
        degrees_of_freedom=_finite(comparison.degrees_of_freedom),
        standard_error=comparison.standard_error,
        absolute_lift=comparison.absolute_lift,
        absolute_lift_interval=interval_to_proto(comparison.absolute_lift_interval),
        relative_lift=lift,
        relative_lift_interval=interval_to_proto(comparison.relative_lift_interval),
        improvement_percent=None if lift is None else 100.0 * lift,
        anytime_relative_lift_interval=interval_to_proto(anytime.relative_lift_interval if anytime else None),
        power=comparison.power,
        probability_to_beat_control=comparison.probability_to_beat_control,
        expected_loss=comparison.expected_loss,
        credible_interval=interval_to_proto(comparison.credible_interval),
        stratified_relative_lift=comparison.stratified_relative_lift,
        stratified_relative_lift_interval=interval_to_proto(comparison.stratified_relative_lift_interval),
        variance_reduction=comparison.variance_reduction,
        guardrail_status=guardrail_status,
        non_inferiority_p_value=comparison.non_inferiority_p_value,
        warnings=comparison.warnings,
    )


def sample_ratio_to_proto(checked: ScopedSampleRatio) -> pb.SampleRatioCheck:
    """Return whether the groups' users fit their weights."""
    check = checked.check
    return pb.SampleRatioCheck(
        scope=checked.scope,
        scope_name=checked.name,
        users=checked.users,
        expected_users=checked.expected_users,
        p_value=check.fixed_p_value,
        sequential_p_value=check.sequential_p_value,
        status="mismatch" if check.alarms else "warning" if check.warns else "fits",
    )


def segments_to_proto(breakdown: SegmentBreakdown) -> pb.SegmentBreakdown:
    """Return results by segment."""
    return pb.SegmentBreakdown(
        segments=[
            pb.SegmentResult(
                segment_name=segment.name,
                groups=[_group_to_proto(group) for group in segment.groups],
                comparisons=[comparison_to_proto(each) for each in segment.comparisons],
            )
            for segment in breakdown.segments
        ],
        interaction_p_value=breakdown.interaction_p_value,
        interaction_method=breakdown.interaction_method,
        warnings=breakdown.warnings,
    )


def novelty_to_proto(view: NoveltyView) -> pb.NoveltyView:
    """Return results by days since exposure."""
    return pb.NoveltyView(
        days=[
            pb.NoveltyDay(
                day=day.day,
                groups=[_group_to_proto(group) for group in day.groups],
                comparisons=[comparison_to_proto(each) for each in day.comparisons],
            )
            for day in view.days
        ],
        trend_p_value=view.trend_p_value,
        trend_method=view.trend_method,
        pattern=view.pattern,
        warnings=view.warnings,
    )


def past_to_proto(design: TestDesign, checks: Sequence[PreExposureCheck]) -> list[pb.PreExposureCheck]:
    """Return whether the groups differed before exposure."""
    return [
        pb.PreExposureCheck(
            metric_name=check.metric,
            group=design.groups[check.variant].name,
            segment_name=check.segment or "",
            p_value=check.effect.test.p_value if check.effect.test else None,
            adjusted_p_value=check.adjusted_p_value,
            difference=check.effect.absolute_lift,
        )
        for check in checks
    ]


def interval_to_proto(interval: Interval | None) -> range_pb2.ConfidenceInterval | None:
    """Return an interval; None where an end is too large for a double."""
    if interval is None or not (math.isfinite(interval.lower) and math.isfinite(interval.upper)):
        return None
    return range_pb2.ConfidenceInterval(lower=interval.lower, upper=interval.upper)


def _group_to_proto(group: GroupValue) -> pb.MetricGroup:
    return pb.MetricGroup(
        group=group.group,
        users=group.users,
        value=group.value,
        value_interval=interval_to_proto(group.value_interval),
        standard_error=group.standard_error,
        total=group.total,
        denominator_total=group.denominator_total,
        adjusted_value=group.adjusted_value,
    )


def _finite(number: float | None) -> float | None:
    return number if number is not None and math.isfinite(number) else None
