"""What a test shows, on the wire; what is undefined stays unset."""

import math
from typing import Any

from gen.campaigns.abtest.v1 import results_pb2 as pb
from gen.campaigns.type.v1 import range_pb2
from services.abtest.domain.analysis import Analysis, Comparison, GroupResult
from services.abtest.domain.model import ABTest
from services.abtest.domain.proportions import Interval
from services.common.wire import datetime_to_timestamp


def analysis_to_proto(test: ABTest, analysis: Analysis) -> pb.AnalyzeTestResponse:
    """Return what a test shows."""
    return pb.AnalyzeTestResponse(**result_fields(test, analysis))


def ended_test_to_proto(test: ABTest, analysis: Analysis) -> pb.EndTestResponse:
    """Return the final result of a test."""
    return pb.EndTestResponse(
        **result_fields(test, analysis),
        is_active=test.is_active,
        end_time=datetime_to_timestamp(test.ended_at) if test.ended_at else None,
    )


def result_fields(test: ABTest, analysis: Analysis) -> dict[str, Any]:
    """Return the fields that TestResult, AnalyzeTestResponse and EndTestResponse share."""
    decision, check = analysis.decision, analysis.sample_ratio
    return {
        "test_id": test.test_id,
        "groups": [_group_result_to_proto(group) for group in analysis.groups],
        **_comparison_fields(analysis.comparisons[0]),
        "winner": decision.winner,
        "verdict": decision.verdict.name.lower(),
        "recommendation": decision.recommendation,
        "reasons": decision.reasons,
        "decision_method": test.design.decision_method.label,
        "confidence_level": test.design.confidence_level,
        "warnings": analysis.warnings,
        "sample_ratio_p_value": check.fixed_p_value if check else None,
        "sequential_sample_ratio_p_value": check.sequential_p_value if check else None,
    }


def _comparison_fields(comparison: Comparison) -> dict[str, Any]:
    test, anytime, lift = comparison.test, comparison.anytime, comparison.relative_lift
    return {
        "p_value": test.p_value if test else None,
        "log10_p_value": test.log10_p_value if test else None,
        "statistic": test.statistic if test else None,
        "method": test.method if test else "",
        "anytime_p_value": anytime.p_value if anytime else None,
        "anytime_relative_lift_interval": interval_to_proto(anytime.relative_lift_interval)
        if anytime
        else None,
        "power": comparison.power,
        "absolute_lift": comparison.absolute_lift,
        "absolute_lift_interval": interval_to_proto(comparison.absolute_lift_interval),
        "relative_lift": lift,
        "relative_lift_interval": interval_to_proto(comparison.relative_lift_interval),
        "improvement_percent": None if lift is None else 100.0 * lift,
    }


def _group_result_to_proto(group: GroupResult) -> pb.GroupResult:
    return pb.GroupResult(
        group=group.name,
        users=group.counts.users,
        conversions=group.counts.conversions,
        conversion_rate=group.counts.conversion_rate,
        conversion_rate_interval=interval_to_proto(group.conversion_rate_interval),
    )


def interval_to_proto(interval: Interval | None) -> range_pb2.ConfidenceInterval | None:
    """Return an interval; None where an end is too large for a double."""
    if interval is None or not math.isfinite(interval.upper):
        return None
    return range_pb2.ConfidenceInterval(lower=interval.lower, upper=interval.upper)
