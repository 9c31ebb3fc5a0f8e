"""Simulations on the wire."""

import math
from collections.abc import Mapping
from typing import Any, Final

from google.protobuf import json_format

from gen.campaigns.abtest.v1 import simulation_pb2 as pb
from services.abtest.convert.comparisons import interval_to_proto
from services.abtest.convert.creation import MOST_LOOKS
from services.abtest.convert.shares import MOST_GROUPS, check_target, check_weights
from services.abtest.convert.violations import DEFAULT_CONFIDENCE_LEVEL, Violations
from services.abtest.domain.metrics import CONVERSION_RATE
from services.abtest.domain.model import (
    CONTROL,
    DEFAULT_PLANNED_LOOKS,
    VARIANT,
    DecisionMethod,
    Group,
    TestDesign,
)
from services.abtest.domain.simulated_amounts import RevenueModel
from services.abtest.domain.simulation import METHOD, REVENUE_METHOD, REVENUE_PER_USER, SimulationDesign
from services.abtest.domain.simulation_summary import (
    Duration,
    OutcomeSummary,
    Share,
    SimulationSummary,
)

DEFAULT_LOOKS: Final = 28
DEFAULT_SIMULATIONS: Final = 2000
DEFAULT_SEED: Final = 1
_MOST_LOOKS = 400
_SMALLEST_REVENUE, _LARGEST_REVENUE = 1e-6, 1e9
_LEAST_SPREAD, _MOST_SPREAD = 0.001, 100.0
_FEWEST_SIMULATIONS, _MOST_SIMULATIONS = 100, 20_000


def simulation_from_options(options: Mapping[str, Any]) -> SimulationDesign:
    """Return the design of these fields of SimulateTestRequest; those that are None are unset."""
    given = {name: value for name, value in options.items() if value is not None}
    return simulation_from_proto(json_format.ParseDict(given, pb.SimulateTestRequest()))


def simulation_from_proto(request: pb.SimulateTestRequest) -> SimulationDesign:
    """Return the design to try.

    Raises:
        InvalidArgumentError: naming every field that is wrong.
    """
    violations = Violations()
    effect = request.minimum_detectable_effect if request.HasField("minimum_detectable_effect") else None
    lifts = tuple(request.relative_lifts) or (() if effect is None else (effect,))
    weights = tuple(request.traffic_weights) or (1.0 / (len(lifts) + 1),) * (len(lifts) + 1)
    check_target(request.target_sample_size, violations)
    _check_rates(request, lifts, violations)
    if effect is not None:
        violations.check_effect(effect)
    check_weights(weights, len(lifts) + 1, violations)
    test = _test_from_proto(request, lifts, effect, violations)
    design = SimulationDesign(
        test=test,
        weights=weights,
        baseline_conversion_rate=request.baseline_conversion_rate,
        relative_lifts=lifts,
        looks=request.looks if request.HasField("looks") else DEFAULT_LOOKS,
        simulations=request.simulations if request.HasField("simulations") else DEFAULT_SIMULATIONS,
        seed=request.seed if request.HasField("seed") else DEFAULT_SEED,
        users_per_day=request.users_per_day if request.HasField("users_per_day") else None,
        revenue=_revenue_from_proto(request, violations),
    )
    _check_extent(design, violations)
    violations.raise_any()
    return design


def _test_from_proto(
    request: pb.SimulateTestRequest,
    lifts: tuple[float, ...],
    effect: float | None,
    violations: Violations,
) -> TestDesign:
    level = request.confidence_level if request.HasField("confidence_level") else DEFAULT_CONFIDENCE_LEVEL
    violations.check_confidence_level(level)
    methods = {method.label: method for method in DecisionMethod}
    violations.check(
        not request.decision_method or request.decision_method in methods,
        "decision_method",
        "must be anytime, group_sequential or fixed_horizon",
        "VALUE_UNKNOWN",
    )
    method = methods.get(request.decision_method, DecisionMethod.ANYTIME)
    planned = request.planned_looks if request.HasField("planned_looks") else DEFAULT_PLANNED_LOOKS
    violations.check(
        method is DecisionMethod.GROUP_SEQUENTIAL or not request.HasField("planned_looks"),
        "planned_looks",
        "belongs to the decision method group_sequential",
        "FIELDS_CONFLICT",
    )
    violations.check(
        1 <= planned <= MOST_LOOKS,
        "planned_looks",
        f"must lie between 1 and {MOST_LOOKS}",
        "VALUE_OUT_OF_RANGE",
    )
    names = [VARIANT] if len(lifts) == 1 else [f"{VARIANT}_{n}" for n in range(1, len(lifts) + 1)]
    return TestDesign(
        test_name="simulated",
        groups=tuple(Group(name=name, campaign_id=name) for name in (CONTROL, *names)),
        target_sample_size=request.target_sample_size,
        confidence_level=level,
        decision_method=method,
        minimum_detectable_effect=effect or next((lift for lift in lifts if lift), None),
        seed="simulated",
        planned_looks=planned,
        metrics=(REVENUE_PER_USER if request.HasField("revenue_per_conversion") else CONVERSION_RATE,),
    )


def _revenue_from_proto(request: pb.SimulateTestRequest, violations: Violations) -> RevenueModel | None:
    mean, deviation = request.revenue_per_conversion, request.revenue_standard_deviation
    if not request.HasField("revenue_per_conversion"):
        violations.check(
            not request.HasField("revenue_standard_deviation"),
            "revenue_standard_deviation",
            "belongs to revenue_per_conversion",
            "FIELDS_CONFLICT",
        )
        return None
    if not request.HasField("revenue_standard_deviation"):
        deviation = mean
    violations.check(
        _SMALLEST_REVENUE <= mean <= _LARGEST_REVENUE,
        "revenue_per_conversion",
        f"must lie between {_SMALLEST_REVENUE} and {_LARGEST_REVENUE:g}",
        "VALUE_OUT_OF_RANGE",
    )
    violations.check(
        deviation == 0.0 or _LEAST_SPREAD * mean <= deviation <= _MOST_SPREAD * mean,  # false for NaN too
        "revenue_standard_deviation",
        f"must be 0, or {_LEAST_SPREAD} to {_MOST_SPREAD:g} times the mean",
        "VALUE_OUT_OF_RANGE",
    )
    return RevenueModel(mean=mean, standard_deviation=deviation)


def _check_rates(request: pb.SimulateTestRequest, lifts: tuple[float, ...], violations: Violations) -> None:
    baseline = request.baseline_conversion_rate
    violations.check(
        request.HasField("baseline_conversion_rate"),
        "baseline_conversion_rate",
        "is required",
        "FIELD_REQUIRED",
    )
    if request.HasField("baseline_conversion_rate"):
        violations.check(
            0.0 < baseline < 1.0,
            "baseline_conversion_rate",
            "must be above 0 and below 1",
            "VALUE_OUT_OF_RANGE",
        )
    violations.check(bool(lifts), "relative_lifts", "name an effect to look for", "FIELD_REQUIRED")
    violations.check(
        len(lifts) < MOST_GROUPS,
        "relative_lifts",
        f"must be at most {MOST_GROUPS - 1}, one per variant",
        "VALUE_OUT_OF_RANGE",
    )
    for index, lift in enumerate(lifts):
        violations.check(
            lift > -1.0 and baseline * (1.0 + lift) < 1.0,  # false for NaN too
            f"relative_lifts[{index}]",
            "must be above -1 and leave the variant's conversion rate below 1",
            "VALUE_OUT_OF_RANGE",
        )


def _check_extent(design: SimulationDesign, violations: Violations) -> None:
    ranges = (
        ("looks", design.looks, 1, _MOST_LOOKS),
        ("simulations", design.simulations, _FEWEST_SIMULATIONS, _MOST_SIMULATIONS),
    )
    for field, value, least, most in ranges:
        violations.check(
            least <= value <= most, field, f"must lie between {least} and {most}", "VALUE_OUT_OF_RANGE"
        )
    violations.check(design.seed >= 0, "seed", "must not be negative", "VALUE_OUT_OF_RANGE")
    rate = design.users_per_day
    violations.check(
        rate is None or 0.0 < rate < math.inf, "users_per_day", "must be above 0", "VALUE_OUT_OF_RANGE"
    )


def simulation_to_proto(summary: SimulationSummary) -> pb.SimulateTestResponse:
    """Return what simulated tests show."""
    design = summary.design
    return pb.SimulateTestResponse(
        without_effect=_outcomes_to_proto(summary.without_effect),
        with_effect=None if summary.with_effect is None else _outcomes_to_proto(summary.with_effect),
        simulations=design.simulations,
        seed=design.seed,
        looks=len(design.look_users),
        decision_method=design.test.decision_method.label,
        confidence_level=design.test.confidence_level,
        method=METHOD if design.revenue is None else REVENUE_METHOD,
        warnings=summary.warnings,
    )


def simulation_to_json(summary: SimulationSummary) -> str:
    """Return what simulated tests show as REST does."""
    return json_format.MessageToJson(
        simulation_to_proto(summary),
        preserving_proto_field_name=True,
        always_print_fields_with_no_presence=True,
    )


def _outcomes_to_proto(outcomes: OutcomeSummary) -> pb.SimulatedOutcomes:
    return pb.SimulatedOutcomes(
        winner_named=_share_to_proto(outcomes.winner_named),
        best_named=_share_to_proto(outcomes.best_named),
        worse_named=_share_to_proto(outcomes.worse_named),
        undecided=_share_to_proto(outcomes.undecided),
        invalid=_share_to_proto(outcomes.invalid),
        users=_duration_to_proto(outcomes.users),
        days=_duration_to_proto(outcomes.days),
        mean_relative_lift_of_winners=outcomes.mean_lift_of_winners,
        by_look=[
            pb.SimulatedLook(
                look_number=look.number,
                users=look.users,
                winner_named_share=look.winner_named,
                over_share=look.over,
            )
            for look in outcomes.by_look
        ],
    )


def _share_to_proto(share: Share | None) -> pb.SimulatedShare | None:
    if share is None:
        return None
    return pb.SimulatedShare(count=share.count, share=share.share, interval=interval_to_proto(share.interval))


def _duration_to_proto(duration: Duration | None) -> pb.SimulatedDuration | None:
    if duration is None:
        return None
    return pb.SimulatedDuration(
        expected=duration.expected,
        expected_interval=interval_to_proto(duration.expected_interval),
        tenth_percentile=duration.tenth_percentile,
        median=duration.median,
        ninetieth_percentile=duration.ninetieth_percentile,
    )
