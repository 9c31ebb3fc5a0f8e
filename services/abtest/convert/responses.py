"""From the domain to the wire; what is undefined stays unset."""

import math
from collections.abc import Sequence
from typing import Any

from gen.campaigns.abtest.v1 import abtest_service_pb2 as pb
from gen.campaigns.type.v1 import range_pb2
from services.abtest.convert.requests import GROUPS
from services.abtest.domain.analysis import Analysis, Comparison, GroupResult
from services.abtest.domain.model import (
    ABTest,
    Assignment,
)
from services.abtest.domain.power import FORMULA
from services.abtest.domain.progress import TestProgress
from services.abtest.domain.proportions import Interval
from services.abtest.operations import AssignmentOutcome, HistoryPage
from services.common.paging import encode_page_token
from services.common.wire import datetime_to_timestamp


def created_test_to_proto(test: ABTest) -> pb.CreateTestResponse:
    """Return a test as it was created."""
    return pb.CreateTestResponse(
        test_id=test.test_id,
        is_active=test.is_active,
        test_name=test.design.test_name,
        groups=_groups_to_proto(test, (0,) * len(test.design.groups)),
        target_sample_size=test.design.target_sample_size,
        confidence_level=test.design.confidence_level,
        decision_method=test.design.decision_method.label,
        coverage=test.epoch.coverage,
        hash_seed=test.design.seed,
        start_time=datetime_to_timestamp(test.created_at),
        minimum_detectable_effect=test.design.minimum_detectable_effect,
    )


def assigned_user_to_proto(
    request: pb.AssignUserRequest, outcome: AssignmentOutcome
) -> pb.AssignUserResponse:
    """Return a user's group, or the reason why there is none."""
    assignment = outcome.assignment
    return pb.AssignUserResponse(
        test_id=request.test_id,
        user_id=request.user_id,
        assigned_group=assignment.group.name if assignment else None,
        campaign_id=assignment.group.campaign_id if assignment else None,
        reason=outcome.reason,
    )


def user_group_to_proto(
    request: pb.GetUserTestGroupRequest, assignment: Assignment | None
) -> pb.GetUserTestGroupResponse:
    """Return the group that a user has."""
    response = pb.GetUserTestGroupResponse(test_id=request.test_id, user_id=request.user_id)
    if assignment is not None:
        response.assigned_group = assignment.group.name
        response.campaign_id = assignment.group.campaign_id
        response.assigned_time.CopyFrom(datetime_to_timestamp(assignment.assigned_at))
    return response


def progress_to_proto(progress: TestProgress) -> pb.GetTestStatusResponse:
    """Return how far a test is."""
    test = progress.test
    return pb.GetTestStatusResponse(
        test_id=test.test_id,
        test_name=test.design.test_name,
        is_active=test.is_active,
        groups=_groups_to_proto(test, progress.users),
        target_sample_size=test.design.target_sample_size,
        progress=progress.progress,
        can_end=progress.can_end,
        can_end_reason=progress.can_end_reason,
        decision_method=test.design.decision_method.label,
        start_time=datetime_to_timestamp(test.created_at),
        end_time=datetime_to_timestamp(test.ended_at) if test.ended_at else None,
    )


def analysis_to_proto(test: ABTest, analysis: Analysis) -> pb.AnalyzeTestResponse:
    """Return what a test shows."""
    return pb.AnalyzeTestResponse(**_result_fields(test, analysis))


def ended_test_to_proto(test: ABTest, analysis: Analysis) -> pb.EndTestResponse:
    """Return the final result of a test."""
    return pb.EndTestResponse(
        **_result_fields(test, analysis),
        is_active=test.is_active,
        end_time=datetime_to_timestamp(test.ended_at) if test.ended_at else None,
    )


def history_to_proto(page: HistoryPage) -> pb.ListTestHistoryResponse:
    """Return a page of tests."""
    token = ""
    if page.next_before is not None:
        created_at, test_id = page.next_before
        token = encode_page_token({"created_at": created_at.isoformat(), "test_id": test_id})
    return pb.ListTestHistoryResponse(
        tests=[_summary_to_proto(test, result) for test, result in page.tests], next_page_token=token
    )


def sample_size_to_proto(per_group: int) -> pb.EstimateSampleSizeResponse:
    """Return how many users a test of two groups needs."""
    return pb.EstimateSampleSizeResponse(
        required_sample_size_per_variant=per_group,
        required_sample_size_total=GROUPS * per_group,
        formula=FORMULA,
    )


def _summary_to_proto(test: ABTest, result: Analysis | None) -> pb.TestSummary:
    return pb.TestSummary(
        test_id=test.test_id,
        test_name=test.design.test_name,
        is_active=test.is_active,
        start_time=datetime_to_timestamp(test.created_at),
        end_time=datetime_to_timestamp(test.ended_at) if test.ended_at else None,
        result=pb.TestResult(**_result_fields(test, result)) if result else None,
    )


def _groups_to_proto(test: ABTest, users: Sequence[int]) -> list[pb.TestGroup]:
    return [
        pb.TestGroup(group=group.name, campaign_id=group.campaign_id, traffic_weight=weight, users=count)
        for group, weight, count in zip(test.design.groups, test.epoch.weights, users, strict=True)
    ]


def _result_fields(test: ABTest, analysis: Analysis) -> dict[str, Any]:
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
        "anytime_relative_lift_interval": _interval_to_proto(anytime.relative_lift_interval)
        if anytime
        else None,
        "power": comparison.power,
        "absolute_lift": comparison.absolute_lift,
        "absolute_lift_interval": _interval_to_proto(comparison.absolute_lift_interval),
        "relative_lift": lift,
        "relative_lift_interval": _interval_to_proto(comparison.relative_lift_interval),
        "improvement_percent": None if lift is None else 100.0 * lift,
    }


def _group_result_to_proto(group: GroupResult) -> pb.GroupResult:
    return pb.GroupResult(
        group=group.name,
        users=group.counts.users,
        conversions=group.counts.conversions,
        conversion_rate=group.counts.conversion_rate,
        conversion_rate_interval=_interval_to_proto(group.conversion_rate_interval),
    )


def _interval_to_proto(interval: Interval | None) -> range_pb2.ConfidenceInterval | None:
    """Return an interval; None where an end is too large for a double."""
    if interval is None or not math.isfinite(interval.upper):
        return None
    return range_pb2.ConfidenceInterval(lower=interval.lower, upper=interval.upper)
