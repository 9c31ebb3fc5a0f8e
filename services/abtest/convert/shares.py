"""Checks of a design's sizes and shares, the same wherever a request has them."""

import math
from collections.abc import Sequence
from typing import Final

from services.abtest.convert.violations import Violations

FEWEST_GROUPS: Final = 2
MOST_GROUPS: Final = 10
LARGEST_TARGET: Final = 1_000_000_000
_SMALLEST_TARGET = 2
_SMALLEST_WEIGHT = 0.0001
_WEIGHT_SUM_TOLERANCE = 1e-9
_MORE_THAN_A_SHARE = 1e9


def check_target(target: int, violations: Violations) -> None:
    """Check the users planned per group."""
    violations.check(
        _SMALLEST_TARGET <= target <= LARGEST_TARGET,
        "target_sample_size",
        f"must lie between {_SMALLEST_TARGET} and {LARGEST_TARGET} users per group",
        "VALUE_OUT_OF_RANGE",
    )


def check_coverage(coverage: float, violations: Violations) -> None:
    """Check the share of users who are enrolled."""
    violations.check(
        _SMALLEST_WEIGHT <= coverage <= 1.0,
        "coverage",
        f"must lie between {_SMALLEST_WEIGHT}, one bucket of 10,000, and 1",
        "VALUE_OUT_OF_RANGE",
    )


def check_weights(weights: Sequence[float], groups: int | None, violations: Violations) -> None:
    """Check the shares of so many groups, `control` first; None: of however many a test may have."""
    field = "traffic_weights"
    if groups is None:
        violations.check(
            FEWEST_GROUPS <= len(weights) <= MOST_GROUPS,
            field,
            f"must be {FEWEST_GROUPS} to {MOST_GROUPS}, one per group",
            "WEIGHTS_INVALID",
        )
    else:
        violations.check(
            len(weights) == groups, field, "must be one per group, control first", "WEIGHTS_INVALID"
        )
    for index, weight in enumerate(weights):
        violations.check(
            weight >= _SMALLEST_WEIGHT,  # false for NaN too
            f"{field}[{index}]",
            f"must be at least {_SMALLEST_WEIGHT}, one bucket of 10,000",
            "VALUE_OUT_OF_RANGE",
        )
    summable = all(abs(weight) < _MORE_THAN_A_SHARE for weight in weights)
    total = math.fsum(weights) if summable else math.nan  # a double may not hold others' sum
    violations.check(abs(total - 1.0) <= _WEIGHT_SUM_TOLERANCE, field, "must sum to 1", "WEIGHTS_INVALID")
