"""From the wire to the domain: shapes are checked here, each by its field path."""

import math
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

from gen.campaigns.abtest.v1 import abtest_service_pb2 as pb
from services.abtest.domain.model import (
    CONTROL,
    VARIANT,
    DecisionMethod,
    Group,
    TestDesign,
)
from services.abtest.operations import NewTest
from services.common.errors import (
    DomainError,
    FieldViolation,
    UnimplementedError,
    invalid_field,
    invalid_fields,
)
from services.common.paging import decode_page_token

DEFAULT_CONFIDENCE_LEVEL: Final = 0.95
DEFAULT_POWER: Final = 0.8
DEFAULT_HISTORY_LIMIT: Final = 10
_LOWEST_CONFIDENCE_LEVEL, _HIGHEST_CONFIDENCE_LEVEL = 0.80, 0.999
_LARGEST_TARGET = 1_000_000_000
_LARGEST_EFFECT = 100.0
_LARGEST_HISTORY_LIMIT = 1000
_SMALLEST_WEIGHT = 0.0001
_WEIGHT_SUM_TOLERANCE = 1e-9
_MORE_THAN_A_SHARE = 1e9
_LONGEST_NAME, _LONGEST_ID = 256, 128
GROUPS: Final = 2
"""A test has a control and one variant."""
_NOT_BUILT_METHODS = frozenset({"group_sequential"})


class _Violations:
    """What is wrong with a request, gathered so that one answer names it all."""

    def __init__(self) -> None:
        self._found: list[FieldViolation] = []

    def check(self, holds: bool, field: str, description: str, reason: str = "INVALID_FIELD") -> None:
        if not holds:
            self._found.append(FieldViolation(field=field, description=description, reason=reason))

    def check_text(self, text: str, field: str, *, longest: int, required: bool = True) -> None:
        if required:
            self.check(bool(text.strip()), field, "must not be empty", "FIELD_REQUIRED")
        self.check(len(text) <= longest, field, f"must have at most {longest} characters", "TEXT_INVALID")
        self.check("\0" not in text, field, "must not hold a NUL character", "TEXT_INVALID")

    def check_id(self, text: str, field: str) -> None:
        """Check what names a user, a test or a campaign: blanks are a name as any other."""
        self.check(bool(text), field, "must not be empty", "FIELD_REQUIRED")
        self.check_text(text, field, longest=_LONGEST_ID, required=False)

    def check_confidence_level(self, level: float) -> None:
        self.check(
            _LOWEST_CONFIDENCE_LEVEL <= level <= _HIGHEST_CONFIDENCE_LEVEL,
            "confidence_level",
            f"must lie between {_LOWEST_CONFIDENCE_LEVEL} and {_HIGHEST_CONFIDENCE_LEVEL}",
            "VALUE_OUT_OF_RANGE",
        )

    def check_effect(self, effect: float) -> None:
        self.check(
            -1.0 < effect <= _LARGEST_EFFECT and effect != 0.0,
            "minimum_detectable_effect",
            f"must lie between -1 (not itself) and {_LARGEST_EFFECT:g}, and not be 0",
            "VALUE_OUT_OF_RANGE",
        )

    def raise_any(self) -> None:
        if self._found:
            raise invalid_fields(self._found)


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
    violations = _Violations()
    violations.check_text(request.test_name, "test_name", longest=_LONGEST_NAME)
    _check_campaigns(request, violations)
    _check_target(request.target_sample_size, violations)
    violations.check_confidence_level(level)
    _check_weights(weights, violations)
    violations.check(0.0 < coverage <= 1.0, "coverage", "must be above 0 and at most 1", "VALUE_OUT_OF_RANGE")
    violations.check_text(request.hash_seed, "hash_seed", longest=_LONGEST_ID, required=False)
    violations.check_text(request.request_id, "request_id", longest=_LONGEST_ID, required=False)
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


def _check_campaigns(request: pb.CreateTestRequest, violations: _Violations) -> None:
    violations.check_id(request.control_campaign_id, "control_campaign_id")
    violations.check_id(request.variant_campaign_id, "variant_campaign_id")
    if request.control_campaign_id:
        violations.check(
            request.variant_campaign_id != request.control_campaign_id,
            "variant_campaign_id",
            "must be another campaign than control_campaign_id",
            "DUPLICATE_ENTRY",
        )


def _check_target(target: int, violations: _Violations) -> None:
    violations.check(
        GROUPS <= target <= _LARGEST_TARGET,
        "target_sample_size",
        f"must lie between 2 and {_LARGEST_TARGET} users per group",
        "VALUE_OUT_OF_RANGE",
    )


def _check_weights(weights: Sequence[float], violations: _Violations) -> None:
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


def _decision_method(name: str, violations: _Violations) -> DecisionMethod:
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


def checked_test_id(test_id: str) -> str:
    """Return a test_id that may exist."""
    violations = _Violations()
    violations.check_id(test_id, "test_id")
    violations.raise_any()
    return test_id


def assignment_key_from_proto(request: pb.AssignUserRequest | pb.GetUserTestGroupRequest) -> tuple[str, str]:
    """Return the test_id and the user_id of a request."""
    violations = _Violations()
    violations.check_id(request.test_id, "test_id")
    violations.check_id(request.user_id, "user_id")
    violations.raise_any()
    return request.test_id, request.user_id


def history_limit_from_proto(request: pb.ListTestHistoryRequest) -> int:
    """Return how many tests a page has."""
    limit = request.limit if request.HasField("limit") else DEFAULT_HISTORY_LIMIT
    if not 1 <= limit <= _LARGEST_HISTORY_LIMIT:
        raise invalid_field("limit", f"must lie between 1 and {_LARGEST_HISTORY_LIMIT}", "VALUE_OUT_OF_RANGE")
    return limit


def history_start_from_proto(request: pb.ListTestHistoryRequest) -> tuple[datetime, str] | None:
    """Return after which test a page starts, None for the first."""
    cursor = decode_page_token(request.page_token)
    if not cursor:
        return None
    try:
        created_at = datetime.fromisoformat(str(cursor["created_at"]))
        test_id = str(cursor["test_id"])
        if created_at.tzinfo is None or "\0" in test_id:
            raise ValueError("not of this list")
        return created_at.astimezone(UTC), test_id
    except (KeyError, ValueError, OverflowError) as error:
        raise _foreign_token() from error


def _foreign_token() -> DomainError:
    return invalid_field("page_token", "is not a token of an earlier page of this list", "PAGE_TOKEN_INVALID")


def sample_size_from_proto(request: pb.EstimateSampleSizeRequest) -> dict[str, float]:
    """Return the arguments of `estimate_sample_size`."""
    baseline, effect = request.baseline_conversion_rate, request.minimum_detectable_effect
    level = request.confidence_level if request.HasField("confidence_level") else DEFAULT_CONFIDENCE_LEVEL
    power = request.power if request.HasField("power") else DEFAULT_POWER
    violations = _Violations()
    for field in ("baseline_conversion_rate", "minimum_detectable_effect"):
        violations.check(request.HasField(field), field, "is required", "FIELD_REQUIRED")
    violations.check_confidence_level(level)
    violations.check(0.5 < power < 1.0, "power", "must be above 0.5 and below 1", "VALUE_OUT_OF_RANGE")  # noqa: PLR2004
    violations.raise_any()
    violations.check(
        0.0 < baseline < 1.0, "baseline_conversion_rate", "must be above 0 and below 1", "VALUE_OUT_OF_RANGE"
    )
    violations.check_effect(effect)
    violations.raise_any()
    violations.check(
        baseline * (1.0 + effect) < 1.0,
        "minimum_detectable_effect",
        "must leave the variant's conversion rate below 1",
        "VALUE_OUT_OF_RANGE",
    )
    violations.check(
        baseline * (1.0 + effect) not in (0.0, baseline),
        "minimum_detectable_effect",
        "changes the baseline by less than a number can hold",
        "VALUE_OUT_OF_RANGE",
    )
    violations.raise_any()
    return {
        "baseline_conversion_rate": baseline,
        "minimum_detectable_effect": effect,
        "confidence_level": level,
        "power": power,
    }
