"""What a test shows, on the wire; what is undefined stays unset."""

from datetime import datetime, timedelta
from typing import Any, Final

from gen.campaigns.abtest.v1 import comparisons_pb2
from gen.campaigns.abtest.v1 import results_pb2 as pb
from services.abtest.convert.comparisons import (
    comparison_to_proto,
    interval_to_proto,
    metrics_to_proto,
    novelty_to_proto,
    past_to_proto,
    sample_ratio_to_proto,
    segments_to_proto,
)
from services.abtest.convert.definition import optional_time
from services.abtest.convert.export import FIRST_PAGE
from services.abtest.convert.violations import Violations
from services.abtest.domain.analysis import Analysis, GroupResult, KeptAnalysis
from services.abtest.domain.citations import list_number_methods
from services.abtest.domain.comparisons import Comparison
from services.abtest.domain.expected_decision import ExpectedDecision
from services.abtest.domain.model import ABTest
from services.abtest.operations.analysis import AnalysisRequest, ResultsPage
from services.abtest.operations.outcomes import Breakdowns
from services.common.paging import decode_own_token, encode_page_token, page_size, unusable_token
from services.common.wire import datetime_to_timestamp

SEGMENT, DAYS = "segment", "days_since_exposure"
_PAGE_SIZE: Final = 50


def analysis_request_from_proto(request: pb.AnalyzeTestRequest) -> tuple[str, AnalysisRequest]:
    """Return the test, and what is to be said of it.

    Raises:
        InvalidArgumentError: naming every field that is wrong.
    """
    violations = Violations()
    violations.check_id(request.test_id, "test_id")
    for index, name in enumerate(request.breakdowns):
        violations.check(
            name in (SEGMENT, DAYS),
            f"breakdowns[{index}]",
            f"must be one of {SEGMENT}, {DAYS}",
            "VALUE_UNKNOWN",
        )
    violations.raise_any()
    return request.test_id, AnalysisRequest(
        breakdowns=Breakdowns(by_segment=SEGMENT in request.breakdowns, by_day=DAYS in request.breakdowns),
        yates=request.yates_correction,
    )


def results_page_from_proto(request: pb.ListTestResultsRequest) -> tuple[str, int, int]:
    """Return the test, before which number a page starts, and how many analyses it has.

    Raises:
        InvalidArgumentError: naming every field that is wrong.
    """
    violations = Violations()
    violations.check_id(request.test_id, "test_id")
    violations.raise_any()
    cursor = decode_own_token(request.page_token, keys=["before"], filters={"test_id": request.test_id})
    before = cursor.get("before", FIRST_PAGE)
    if not isinstance(before, int) or not 0 < before <= FIRST_PAGE:
        raise unusable_token()
    return request.test_id, before, page_size(request.page_size, default=_PAGE_SIZE)


def results_to_proto(test: ABTest, page: ResultsPage) -> pb.ListTestResultsResponse:
    """Return a page of kept analyses."""
    token = ""
    if page.next_before is not None:
        token = encode_page_token({"before": page.next_before, "test_id": test.test_id})
    return pb.ListTestResultsResponse(
        results=[pb.TestResult(**result_fields(test, kept)) for kept in page.results], next_page_token=token
    )


def analysis_to_proto(test: ABTest, kept: KeptAnalysis) -> pb.AnalyzeTestResponse:
    """Return what a test shows."""
    return pb.AnalyzeTestResponse(**result_fields(test, kept))


def ended_test_to_proto(test: ABTest, kept: KeptAnalysis) -> pb.EndTestResponse:
    """Return the final result of a test."""
    return pb.EndTestResponse(
        **result_fields(test, kept), is_active=test.is_active, end_time=optional_time(test.ended_at)
    )


def result_fields(test: ABTest, kept: KeptAnalysis) -> dict[str, Any]:
    """Return the fields that TestResult, AnalyzeTestResponse and EndTestResponse share."""
    analysis = kept.analysis
    decision, ratio = analysis.decision, analysis.sample_ratio
    return {
        "test_id": test.test_id,
        "groups": [_group_result_to_proto(group) for group in analysis.groups],
        **_compared_fields(analysis.compared),
        "compared_group": analysis.compared_group,
        "comparisons": [comparison_to_proto(each) for each in analysis.primary.comparisons],
        "metrics": metrics_to_proto(analysis),
        "winner": decision.winner,
        "verdict": decision.verdict.name.lower(),
        "recommendation": decision.recommendation,
        "reasons": decision.reasons,
        "decision_method": test.design.decision_method.label,
        "confidence_level": test.design.confidence_level,
        "warnings": analysis.warnings,
        "sample_ratio_p_value": ratio.check.fixed_p_value if ratio else None,
        "sequential_sample_ratio_p_value": ratio.check.sequential_p_value if ratio else None,
        "sample_ratio_checks": [sample_ratio_to_proto(each) for each in analysis.sample_ratios],
        "segment_breakdown": segments_to_proto(analysis.segments) if analysis.segments else None,
        "novelty": novelty_to_proto(analysis.days) if analysis.days else None,
        "pre_exposure_checks": past_to_proto(test.design, analysis.past),
        "time_to_decision": _expected_to_proto(analysis.expected, kept.analyzed_at),
        "number_methods": _methods_to_proto(test, analysis),
        "look_number": decision.look_number,
        "information_fraction": decision.look_progress,
        "result_number": kept.number,
        "analyzed_time": datetime_to_timestamp(kept.analyzed_at),
    }


def _compared_fields(compared: Comparison | None) -> dict[str, Any]:
    """Return the fields of a result that are of one comparison; none where nobody can be compared."""
    if compared is None:
        return {}
    comparison = comparison_to_proto(compared)
    found = {field.name: value for field, value in comparison.ListFields()}
    return {name: found[name] for name in _COMPARED if name in found}


def _expected_to_proto(
    expected: ExpectedDecision | None, analyzed_at: datetime
) -> comparisons_pb2.TimeToDecision | None:
    if expected is None:
        return None
    remaining = expected.remaining
    return comparisons_pb2.TimeToDecision(
        expected_days=None if remaining is None else remaining / timedelta(days=1),
        expected_time=None if remaining is None else datetime_to_timestamp(analyzed_at + remaining),
        remaining_users=expected.remaining_users,
        basis=expected.basis,
    )


def _methods_to_proto(test: ABTest, analysis: Analysis) -> list[comparisons_pb2.NumberMethod]:
    compared = analysis.compared
    methods = list_number_methods(
        test.design.metrics[0].kind,
        decision_method=test.design.decision_method,
        test_method=compared.test.method if compared and compared.test else None,
        posterior_method=compared.posterior_method if compared else None,
    )
    return [
        comparisons_pb2.NumberMethod(field=each.field, method=each.method, citation=each.citation)
        for each in methods
    ]


def _group_result_to_proto(group: GroupResult) -> pb.GroupResult:
    return pb.GroupResult(
        group=group.name,
        users=group.counts.users,
        conversions=group.counts.conversions,
        conversion_rate=group.counts.conversion_rate,
        conversion_rate_interval=interval_to_proto(group.conversion_rate_interval),
    )


_COMPARED: Final = (
    "p_value",
    "log10_p_value",
    "anytime_p_value",
    "statistic",
    "power",
    "absolute_lift",
    "absolute_lift_interval",
    "relative_lift",
    "relative_lift_interval",
    "improvement_percent",
    "method",
    "anytime_relative_lift_interval",
    "probability_to_beat_control",
    "expected_loss",
    "credible_interval",
)
"""What TestResult has of one GroupComparison, under the same names."""
