"""A test that is asked for, and as it was created."""

import math
from collections.abc import Sequence
from typing import Final

from gen.campaigns.abtest.v1 import tests_pb2 as pb
from services.abtest.convert.groups import groups_to_proto
from services.abtest.convert.violations import (
    DEFAULT_CONFIDENCE_LEVEL,
    LONGEST_ID,
    LONGEST_NAME,
    Violations,
)
from services.abtest.domain.model import CONTROL, VARIANT, ABTest, DecisionMethod, Group, TestDesign
from services.abtest.operations.creation import NewTest
from services.common.errors import FieldViolation, UnimplementedError
from services.common.wire import datetime_to_timestamp

GROUPS: Final = 2
"""A test has a control and one variant."""
_LARGEST_TARGET = 1_000_000_000
_SMALLEST_WEIGHT = 0.0001
_WEIGHT_SUM_TOLERANCE = 1e-9
_MORE_THAN_A_SHARE = 1e9
_NOT_BUILT_METHODS = frozenset({"group_sequential"})


def new_test_from_proto(request: pb.CreateTestRequest) -> NewTest:
    """Return the test that is asked for.

    Raises:
        InvalidArgumentError: naming every field that is wrong.
        UnimplementedError: a decision method that the contract names and this version lacks.
    """
    level = request.confidence_level if request.HasField("confidence_level") else DEFAULT_CONFIDENCE_LEVEL
    coverage = request.coverage if request.HasField("coverage") else 1.0
    effect = request.minimum_detectable_effect if request.HasField("minimum_detectable_effect") else None
    weights = tuple(request.traffic_weights) or (1.0 / GROUPS,) * GROUPS
    violations = Violations()
    violations.check_text(request.test_name, "test_name", longest=LONGEST_NAME)
    _check_campaigns(request, violations)
    _check_target(request.target_sample_size, violations)
    violations.check_confidence_level(level)
    _check_weights(weights, violations)
    violations.check(0.0 < coverage <= 1.0, "coverage", "must be above 0 and at most 1", "VALUE_OUT_OF_RANGE")
    violations.check_text(request.hash_seed, "hash_seed", longest=LONGEST_ID, required=False)
    violations.check_text(request.request_id, "request_id", longest=LONGEST_ID, required=False)
    if effect is not None:
        violations.check_effect(effect)
    method = _decision_method(request.decision_method, violations)
    violations.raise_any()
    design = TestDesign(
        test_name=request.test_name,
        groups=(
            Group(name=CONTROL, campaign_id=request.control_campaign_id),
            Group(name=VARIANT, campaign_id=request.variant_campaign_id),
        ),
        target_sample_size=request.target_sample_size,
        confidence_level=level,
        decision_method=method,
        minimum_detectable_effect=effect,
        seed=request.hash_seed,
    )
    return NewTest(design=design, weights=weights, coverage=coverage, request_id=request.request_id or None)


def _check_campaigns(request: pb.CreateTestRequest, violations: Violations) -> None:
    violations.check_id(request.control_campaign_id, "control_campaign_id")
    violations.check_id(request.variant_campaign_id, "variant_campaign_id")
    if request.control_campaign_id:
        violations.check(
            request.variant_campaign_id != request.control_campaign_id,
            "variant_campaign_id",
            "must be another campaign than control_campaign_id",
            "DUPLICATE_ENTRY",
        )


def _check_target(target: int, violations: Violations) -> None:
    violations.check(
        GROUPS <= target <= _LARGEST_TARGET,
        "target_sample_size",
        f"must lie between 2 and {_LARGEST_TARGET} users per group",
        "VALUE_OUT_OF_RANGE",
    )


def _check_weights(weights: Sequence[float], violations: Violations) -> None:
    field = "traffic_weights"
    violations.check(len(weights) == GROUPS, field, "must be one per group, control first", "WEIGHTS_INVALID")
    for index, weight in enumerate(weights):
        violations.check(
            weight >= _SMALLEST_WEIGHT,  # false for NaN too
            f"{field}[{index}]",
            f"must be at least {_SMALLEST_WEIGHT}, one bucket of 10,000",
            "VALUE_OUT_OF_RANGE",
        )
    summable = all(
        abs(weight) < _MORE_THAN_A_SHARE for weight in weights
    )  # a double may not hold others' sum
    total = math.fsum(weights) if summable else math.nan
    violations.check(abs(total - 1.0) <= _WEIGHT_SUM_TOLERANCE, field, "must sum to 1", "WEIGHTS_INVALID")


def _decision_method(name: str, violations: Violations) -> DecisionMethod:
    if name in _NOT_BUILT_METHODS:
        raise UnimplementedError(
            f"decision_method: {name} is not offered yet; use anytime or fixed_horizon",
            reason="METHOD_NOT_OFFERED",
            violations=[FieldViolation(field="decision_method", description="use anytime or fixed_horizon")],
            metadata={"decision_method": name},
        )
    methods = {method.label: method for method in DecisionMethod}
    violations.check(
        not name or name in methods,
        "decision_method",
        "must be anytime, group_sequential or fixed_horizon",
        "VALUE_UNKNOWN",
    )
    return methods.get(name, DecisionMethod.ANYTIME)


def created_test_to_proto(test: ABTest) -> pb.CreateTestResponse:
    """Return a test as it was created."""
    return pb.CreateTestResponse(
        test_id=test.test_id,
        is_active=test.is_active,
        test_name=test.design.test_name,
        groups=groups_to_proto(test, (0,) * len(test.design.groups)),
        target_sample_size=test.design.target_sample_size,
        confidence_level=test.design.confidence_level,
        decision_method=test.design.decision_method.label,
        coverage=test.epoch.coverage,
        hash_seed=test.design.seed,
        start_time=datetime_to_timestamp(test.created_at),
        minimum_detectable_effect=test.design.minimum_detectable_effect,
    )
