"""Plans on the wire."""

import math
from typing import Any, Final, Literal

from gen.campaigns.abtest.v1 import planning_pb2 as pb
from services.abtest.convert.shares import MOST_GROUPS, check_weights
from services.abtest.convert.violations import DEFAULT_CONFIDENCE_LEVEL, Violations
from services.abtest.domain.metrics import MetricKind
from services.abtest.domain.model import DEFAULT_PLANNED_LOOKS, DecisionMethod
from services.abtest.domain.planning import CITATIONS, Plan
from services.abtest.operations.planning import DetectableEffect, Power, SampleSizes

DEFAULT_POWER: Final = 0.8
_LEAST_POWER: Final = 0.5
_KINDS: Final = {
    "": MetricKind.PROPORTION,
    "conversion": MetricKind.PROPORTION,
    "mean": MetricKind.MEAN,
    "ratio": MetricKind.RATIO,
}
_METHODS: Final = {"": DecisionMethod.FIXED_HORIZON, **{method.label: method for method in DecisionMethod}}
_POOLED: Final = {"": True, "pooled": True, "unpooled": False}
_FEWEST_USERS, _MOST_USERS = 2, 1_000_000_000
_MOST_LOOKS: Final = 100

_Baseline = Literal["baseline_conversion_rate", "baseline_mean", "standard_deviation"]
Request = pb.EstimateSampleSizeRequest | pb.EstimateMinimumDetectableEffectRequest | pb.EstimatePowerRequest


def sample_size_from_proto(request: pb.EstimateSampleSizeRequest) -> dict[str, Any]:
    """Return the arguments of `estimate_sample_sizes`."""
    violations = Violations()
    plan = _plan(request, violations)
    effect = _effect(request, violations)
    power = _power(request, violations)
    violations.raise_any()
    _check_variant(plan, effect, violations)
    return {"plan": plan, "effect": effect, "power": power}


def detectable_effect_from_proto(request: pb.EstimateMinimumDetectableEffectRequest) -> dict[str, Any]:
    """Return the arguments of `estimate_detectable_effect`."""
    violations = Violations()
    plan = _plan(request, violations)
    power = _power(request, violations)
    users = _users(request, violations)
    violations.raise_any()
    return {"plan": plan, "smallest_users": users, "power": power}


def power_from_proto(request: pb.EstimatePowerRequest) -> dict[str, Any]:
    """Return the arguments of `estimate_power`."""
    violations = Violations()
    plan = _plan(request, violations)
    effect = _effect(request, violations)
    users = _users(request, violations)
    violations.raise_any()
    _check_variant(plan, effect, violations)
    return {"plan": plan, "effect": effect, "smallest_users": users}


def sample_sizes_to_proto(sizes: SampleSizes) -> pb.EstimateSampleSizeResponse:
    """Return how many users each group needs."""
    return pb.EstimateSampleSizeResponse(
        required_sample_size_per_variant=min(sizes.per_group),
        required_sample_size_total=sum(sizes.per_group),
        required_sample_sizes=sizes.per_group,
        inflation_factor=sizes.inflation_factor,
        **_source(sizes.plan),
        warnings=sizes.warnings,
    )


def detectable_effect_to_proto(found: DetectableEffect) -> pb.EstimateMinimumDetectableEffectResponse:
    """Return the least effect that is found."""
    absolute = None if found.effect is None else found.effect * abs(found.plan.baseline)
    return pb.EstimateMinimumDetectableEffectResponse(
        minimum_detectable_effect=found.effect,
        absolute_minimum_detectable_effect=absolute,
        **_source(found.plan),
        warnings=found.warnings,
    )


def power_to_proto(found: Power) -> pb.EstimatePowerResponse:
    """Return how likely an effect is found."""
    return pb.EstimatePowerResponse(power=found.power, **_source(found.plan), warnings=found.warnings)


def _source(plan: Plan) -> dict[str, Any]:
    return {
        "formula": plan.formula,
        "citation": CITATIONS[plan.formula],
        "significance_level_per_comparison": round(plan.level, 15),
    }


def _plan(request: Request, violations: Violations) -> Plan:
    level = request.confidence_level if request.HasField("confidence_level") else DEFAULT_CONFIDENCE_LEVEL
    violations.check_confidence_level(level)
    kind = _KINDS.get(request.metric_type)
    violations.check(
        kind is not None, "metric_type", "must be conversion, mean or ratio", "VALUE_OUT_OF_RANGE"
    )
    method = _METHODS.get(request.decision_method)
    violations.check(
        method is not None,
        "decision_method",
        "must be anytime, group_sequential or fixed_horizon",
        "VALUE_OUT_OF_RANGE",
    )
    kind, method = kind or MetricKind.PROPORTION, method or DecisionMethod.FIXED_HORIZON
    return Plan(
        kind=kind,
        baseline=_baseline(request, kind, violations),
        standard_deviation=_standard_deviation(request, kind, violations),
        weights=_weights(request, violations),
        confidence_level=level,
        decision_method=method,
        planned_looks=_looks(request, method, violations),
        pooled=_pooled(request, kind, violations),
    )


def _baseline(request: Request, kind: MetricKind, violations: Violations) -> float:
    if kind is MetricKind.PROPORTION:
        field, rate = "baseline_conversion_rate", request.baseline_conversion_rate
        _check_set(request, "baseline_mean", False, violations)
        if _check_set(request, "baseline_conversion_rate", True, violations):
            violations.check(0.0 < rate < 1.0, field, "must be above 0 and below 1", "VALUE_OUT_OF_RANGE")
        return rate
    field, mean = "baseline_mean", request.baseline_mean
    _check_set(request, "baseline_conversion_rate", False, violations)
    if _check_set(request, "baseline_mean", True, violations):
        holds = math.isfinite(mean) and mean != 0.0
        violations.check(holds, field, "must be a number, and not 0", "VALUE_OUT_OF_RANGE")
    return mean


def _standard_deviation(request: Request, kind: MetricKind, violations: Violations) -> float | None:
    if kind is MetricKind.PROPORTION:
        _check_set(request, "standard_deviation", False, violations)
        return None
    if _check_set(request, "standard_deviation", True, violations):
        holds = 0.0 < request.standard_deviation < math.inf
        violations.check(holds, "standard_deviation", "must be above 0", "VALUE_OUT_OF_RANGE")
    return request.standard_deviation


def _check_set(request: Request, field: _Baseline, wanted: bool, violations: Violations) -> bool:
    """Note a field that is missing, or set where it means nothing; return whether it is set."""
    is_set = request.HasField(field)
    if wanted:
        violations.check(is_set, field, "is required for this metric_type", "FIELD_REQUIRED")
    else:
        violations.check(not is_set, field, "does not belong to this metric_type", "INVALID_FIELD")
    return is_set


def _weights(request: Request, violations: Violations) -> tuple[float, ...]:
    variants = request.variants if request.HasField("variants") else 1
    holds = 1 <= variants < MOST_GROUPS
    violations.check(holds, "variants", f"must lie between 1 and {MOST_GROUPS - 1}", "VALUE_OUT_OF_RANGE")
    groups = variants + 1 if holds else 2
    if not request.traffic_weights:
        return (1.0 / groups,) * groups
    if holds:
        check_weights(request.traffic_weights, groups, violations)
    return tuple(request.traffic_weights)


def _looks(request: Request, method: DecisionMethod, violations: Violations) -> int:
    if not request.HasField("planned_looks"):
        return DEFAULT_PLANNED_LOOKS
    violations.check(
        method is DecisionMethod.GROUP_SEQUENTIAL,
        "planned_looks",
        "belongs to decision_method group_sequential only",
    )
    holds = 1 <= request.planned_looks <= _MOST_LOOKS
    violations.check(holds, "planned_looks", f"must lie between 1 and {_MOST_LOOKS}", "VALUE_OUT_OF_RANGE")
    return request.planned_looks


def _pooled(request: Request, kind: MetricKind, violations: Violations) -> bool:
    if not isinstance(request, pb.EstimateSampleSizeRequest) or not request.variance:
        return True
    violations.check(kind is MetricKind.PROPORTION, "variance", "belongs to metric_type conversion only")
    violations.check(
        request.variance in _POOLED, "variance", "must be pooled or unpooled", "VALUE_OUT_OF_RANGE"
    )
    return _POOLED.get(request.variance, True)


def _effect(request: pb.EstimateSampleSizeRequest | pb.EstimatePowerRequest, violations: Violations) -> float:
    field = "minimum_detectable_effect"
    if request.HasField("minimum_detectable_effect"):
        violations.check_effect(request.minimum_detectable_effect)
    else:
        violations.check(False, field, "is required", "FIELD_REQUIRED")
    return request.minimum_detectable_effect


def _power(
    request: pb.EstimateSampleSizeRequest | pb.EstimateMinimumDetectableEffectRequest,
    violations: Violations,
) -> float:
    power = request.power if request.HasField("power") else DEFAULT_POWER
    violations.check(
        _LEAST_POWER < power < 1.0, "power", "must be above 0.5 and below 1", "VALUE_OUT_OF_RANGE"
    )
    return power


def _users(
    request: pb.EstimateMinimumDetectableEffectRequest | pb.EstimatePowerRequest, violations: Violations
) -> int:
    users = request.sample_size_per_variant
    violations.check(
        _FEWEST_USERS <= users <= _MOST_USERS,
        "sample_size_per_variant",
        f"must lie between {_FEWEST_USERS} and {_MOST_USERS}",
        "VALUE_OUT_OF_RANGE",
    )
    return users


def _check_variant(plan: Plan, effect: float, violations: Violations) -> None:
    """Raise where the effect leads to a value that a variant cannot have, or to none that differs."""
    variant = plan.baseline * (1.0 + effect)
    field = "minimum_detectable_effect"
    if plan.kind is MetricKind.PROPORTION:
        violations.check(
            variant < 1.0, field, "must leave the variant's conversion rate below 1", "VALUE_OUT_OF_RANGE"
        )
    violations.check(
        math.isfinite(variant) and variant not in (0.0, plan.baseline),
        field,
        "changes the baseline by less than a number can hold",
        "VALUE_OUT_OF_RANGE",
    )
    violations.raise_any()
