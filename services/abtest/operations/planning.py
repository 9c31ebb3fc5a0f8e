"""What a test needs before it begins."""

from dataclasses import dataclass
from typing import Final

from services.abtest.domain.planning import (
    Plan,
    minimum_detectable_effect,
    planned_power,
    required_sample_sizes,
    warn_of_plan,
)
from services.common.errors import invalid_field

LARGEST_SAMPLE_SIZE: Final = 10**12


@dataclass(frozen=True, kw_only=True)
class SampleSizes:
    """Users that each group needs, and how many times those of a fixed horizon that is."""

    plan: Plan
    per_group: tuple[int, ...]
    inflation_factor: float
    warnings: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class DetectableEffect:
    """The least relative increase that is found; None where no rate below 1 is enough."""

    plan: Plan
    effect: float | None
    warnings: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Power:
    """How likely each comparison finds the effect."""

    plan: Plan
    power: float
    warnings: tuple[str, ...]


def estimate_sample_sizes(plan: Plan, *, effect: float, power: float) -> SampleSizes:
    """Return the users per group that find a relative effect with `power`.

    Raises:
        InvalidArgumentError: more users than anybody has.
    """
    try:
        sizes = required_sample_sizes(plan, effect, power)
    except OverflowError:  # more than a double holds
        sizes = (LARGEST_SAMPLE_SIZE + 1,)
    if max(sizes) > LARGEST_SAMPLE_SIZE:
        raise invalid_field(
            "minimum_detectable_effect",
            f"is so small that more than {LARGEST_SAMPLE_SIZE} users per group were needed",
            "EFFECT_TOO_SMALL",
        )
    return SampleSizes(
        plan=plan,
        per_group=sizes,
        inflation_factor=plan.inflation(power),
        warnings=warn_of_plan(plan, min(sizes)),
    )


def estimate_detectable_effect(plan: Plan, *, smallest_users: int, power: float) -> DetectableEffect:
    """Return the least increase that so many users find with `power`."""
    return DetectableEffect(
        plan=plan,
        effect=minimum_detectable_effect(plan, smallest_users, power),
        warnings=warn_of_plan(plan, smallest_users),
    )


def estimate_power(plan: Plan, *, effect: float, smallest_users: int) -> Power:
    """Return how likely so many users find a relative effect."""
    return Power(
        plan=plan,
        power=planned_power(plan, effect, smallest_users),
        warnings=warn_of_plan(plan, smallest_users),
    )
