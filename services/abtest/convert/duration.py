"""Durations of planned tests on the wire."""

from datetime import timedelta
from typing import Final

from gen.campaigns.abtest.v1 import duration_pb2 as pb
from services.abtest.convert.comparisons import interval_to_proto
from services.abtest.convert.shares import check_coverage, check_target, check_weights
from services.abtest.convert.violations import Violations
from services.abtest.domain.duration import DurationQuestion
from services.abtest.operations.duration import PlannedDuration

DEFAULT_LOOKBACK_DAYS: Final = 56
_FEWEST_DAYS, _MOST_DAYS = 7, 180
_MOST_CAMPAIGNS = 10
_EVEN = (0.5, 0.5)


def duration_from_proto(
    request: pb.EstimateTestDurationRequest,
) -> tuple[tuple[str, ...], DurationQuestion, int]:
    """Return the campaigns, what the test needs, and the days to look back at."""
    campaign_ids = tuple(dict.fromkeys(request.campaign_ids))
    weights = tuple(request.traffic_weights) or _EVEN
    coverage = request.coverage if request.HasField("coverage") else 1.0
    days = request.lookback_days if request.HasField("lookback_days") else DEFAULT_LOOKBACK_DAYS
    violations = Violations()
    violations.check(bool(campaign_ids), "campaign_ids", "must name a campaign", "FIELD_REQUIRED")
    violations.check(
        len(campaign_ids) <= _MOST_CAMPAIGNS,
        "campaign_ids",
        f"must name at most {_MOST_CAMPAIGNS} campaigns",
        "VALUE_OUT_OF_RANGE",
    )
    for index, campaign_id in enumerate(campaign_ids[:_MOST_CAMPAIGNS]):
        violations.check_id(campaign_id, f"campaign_ids[{index}]")
    check_target(request.target_sample_size, violations)
    check_weights(weights, None, violations)
    check_coverage(coverage, violations)
    violations.check(
        _FEWEST_DAYS <= days <= _MOST_DAYS,
        "lookback_days",
        f"must lie between {_FEWEST_DAYS} and {_MOST_DAYS}",
        "VALUE_OUT_OF_RANGE",
    )
    violations.raise_any()
    question = DurationQuestion(
        target_sample_size=request.target_sample_size, weights=weights, coverage=coverage
    )
    return campaign_ids, question, days


def duration_to_proto(planned: PlannedDuration) -> pb.EstimateTestDurationResponse:
    """Return how long a test takes."""
    question, estimate, reached = planned.question, planned.estimate, planned.reached
    return pb.EstimateTestDurationResponse(
        required_sample_size_total=question.required_sample_size_total,
        required_users=question.required_users,
        duration_days=estimate.duration_days,
        duration_days_interval=interval_to_proto(estimate.interval),
        recommended_days=estimate.recommended_days,
        observed_starts=estimate.observed_starts,
        starts=estimate.starts,
        extrapolated=estimate.extrapolated,
        users=reached.users,
        converting_users=reached.conversions,
        conversion_rate=reached.conversion_rate,
        conversion_rate_interval=interval_to_proto(estimate.conversion_rate_interval),
        new_users_per_day=estimate.new_users_per_day,
        start_date=planned.start.isoformat(),
        end_date=(planned.end - timedelta(days=1)).isoformat(),
        warnings=estimate.warnings,
    )
