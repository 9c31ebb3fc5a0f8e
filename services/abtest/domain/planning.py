"""How many users a test needs, what so many users find, and how likely: for any metric and any weights."""

import math
from dataclasses import dataclass

from scipy import optimize, special

from services.abtest.domain.inflation import ANYTIME_LOOKS, inflation_factor, look_bounds, sequential_power
from services.abtest.domain.metrics import MetricKind
from services.abtest.domain.model import DEFAULT_PLANNED_LOOKS, DecisionMethod
from services.abtest.domain.proportions import normal_quantile

POOLED_Z, UNPOOLED_Z = "two_proportion_pooled_z", "two_proportion_unpooled_z"
MEAN_Z, RATIO_Z = "two_mean_z", "two_ratio_delta_method_z"
CITATIONS = {
    POOLED_Z: "J. L. Fleiss, B. Levin, M. C. Paik (2003), Statistical Methods for Rates and Proportions, "
    "3rd ed., equations 4.14 and 4.19, without continuity correction",
    UNPOOLED_Z: "S.-C. Chow, J. Shao, H. Wang (2008), Sample Size Calculations in Clinical Research, "
    "2nd ed., section 4.2",
    MEAN_Z: "S.-C. Chow, J. Shao, H. Wang (2008), Sample Size Calculations in Clinical Research, 2nd ed., "
    "section 3.2",
    RATIO_Z: "A. Deng, U. Knoblich, J. Lu (2018), KDD, 233-242 (the delta method's variance, in the formula "
    "for means)",
}
_COVERED_CONVERSIONS = 5
_FEWEST_USERS = 2
_LARGEST_EFFECT = 1e15


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A test to plan.

    Attributes:
        kind: what is compared.
        baseline: control's rate in (0, 1), mean or ratio (not 0).
        standard_deviation: of one user's value; of a ratio, the delta method's. None for a rate.
        weights: the groups' shares, control's first, summing to 1.
        confidence_level: of all comparisons with control together.
        decision_method: how the verdict is to be reached.
        planned_looks: of a group-sequential test.
        pooled: of a rate, whether the variance under no difference is that of both groups together.
    """

    kind: MetricKind
    baseline: float
    standard_deviation: float | None
    weights: tuple[float, ...]
    confidence_level: float
    decision_method: DecisionMethod = DecisionMethod.FIXED_HORIZON
    planned_looks: int = DEFAULT_PLANNED_LOOKS
    pooled: bool = True

    @property
    def comparisons(self) -> int:
        """Variants that are compared with control."""
        return len(self.weights) - 1

    @property
    def level(self) -> float:
        """The significance level of each comparison: Bonferroni's, which is Holm's first step."""
        return (1.0 - self.confidence_level) / self.comparisons

    @property
    def bounds(self) -> tuple[float, ...]:
        """The |z| that each look asks."""
        return look_bounds(
            self.decision_method,
            significance_level=1.0 - self.confidence_level,
            comparisons=self.comparisons,
            planned_looks=self.planned_looks,
        )

    @property
    def formula(self) -> str:
        """The formula's name."""
        if self.kind is MetricKind.PROPORTION:
            return POOLED_Z if self.pooled else UNPOOLED_Z
        return MEAN_Z if self.kind is MetricKind.MEAN else RATIO_Z

    def inflation(self, power: float) -> float:
        """Return how many times the users of a fixed horizon the decision method needs."""
        if self.decision_method is DecisionMethod.FIXED_HORIZON:
            return 1.0
        return inflation_factor(self.bounds, level=self.level, power=power)


def required_sample_sizes(plan: Plan, effect: float, power: float) -> tuple[int, ...]:
    """Return the users each group needs so that every comparison finds a relative `effect` with `power`.

    Groups that weigh alike need alike. The far tail is left out, as the formulas have it.

    Raises:
        OverflowError: more than a double holds.
    """
    inflation = plan.inflation(power)
    control_weight = plan.weights[0]
    # Users of all groups, by the variant that needs most.
    total = max(
        _required_control_users(plan, effect, power, weight / control_weight) * inflation / control_weight
        for weight in plan.weights[1:]
    )
    return tuple(_ceil(total * weight) for weight in plan.weights)


def planned_power(plan: Plan, effect: float, smallest_users: float) -> float:
    """Return the probability that each comparison finds a relative `effect`: of several, the least.

    `smallest_users` has the group that weighs least; both tails count.
    """
    total = smallest_users / min(plan.weights)
    fixed = min(
        _fixed_power(plan, effect, total * plan.weights[0], total * weight) for weight in plan.weights[1:]
    )
    if plan.decision_method is DecisionMethod.FIXED_HORIZON:
        return fixed
    return sequential_power(plan.bounds, fixed, level=plan.level)


def minimum_detectable_effect(plan: Plan, smallest_users: float, power: float) -> float | None:
    """Return the least relative increase that is found with `power`.

    None where no rate below 1 is enough, or no increase that a number can hold.
    """
    if plan.kind is MetricKind.PROPORTION:
        largest = min(_LARGEST_EFFECT, (1.0 / plan.baseline - 1.0) * (1.0 - 1e-9))
    else:
        largest = 1.0
        while planned_power(plan, largest, smallest_users) < power and largest < _LARGEST_EFFECT:
            largest *= 2.0
    if planned_power(plan, largest, smallest_users) < power:
        return None
    found = optimize.brentq(
        lambda effect: planned_power(plan, effect, smallest_users) - power,
        0.0,
        largest,
        xtol=1e-15,
        rtol=1e-12,
    )
    return float(found)


def _required_control_users(plan: Plan, effect: float, power: float, ratio: float) -> float:
    """Return control's users where the variant has `ratio` times as many, at one look."""
    threshold, quantile = normal_quantile(1.0 - plan.level), float(special.ndtri(power))
    null_error, error = _unit_errors(plan, effect, ratio)
    difference = plan.baseline * (1.0 + effect) - plan.baseline
    return ((threshold * null_error + quantile * error) / difference) ** 2


def _fixed_power(plan: Plan, effect: float, control_users: float, variant_users: float) -> float:
    null_error, error = _unit_errors(plan, effect, variant_users / control_users)
    difference = abs(effect * plan.baseline) * math.sqrt(control_users)
    threshold = normal_quantile(1.0 - plan.level) * null_error
    return float(
        special.ndtr((difference - threshold) / error) + special.ndtr((-difference - threshold) / error)
    )


def _unit_errors(plan: Plan, effect: float, ratio: float) -> tuple[float, float]:
    """Return the difference's standard error under no effect and under `effect`, with one user in control."""
    if plan.standard_deviation is not None:
        error = plan.standard_deviation * math.sqrt(1.0 + 1.0 / ratio)
        return error, error
    control, variant = plan.baseline, plan.baseline * (1.0 + effect)
    error = math.sqrt(control * (1.0 - control) + variant * max(0.0, 1.0 - variant) / ratio)
    if not plan.pooled:
        return error, error
    mean = (control + ratio * variant) / (1.0 + ratio)
    return math.sqrt(mean * max(0.0, 1.0 - mean) * (1.0 + 1.0 / ratio)), error


def _ceil(users: float) -> int:
    """Return the users rounded up, at least 2, where rounding error does not ask for one more."""
    return max(_FEWEST_USERS, math.ceil(users * (1.0 - 1e-12)))


def warn_of_plan(plan: Plan, smallest_users: float) -> tuple[str, ...]:
    """Return what the reader of a plan should know."""
    found = []
    rarer = min(plan.baseline, 1.0 - plan.baseline)
    if plan.kind is MetricKind.PROPORTION and smallest_users * rarer < _COVERED_CONVERSIONS:
        found.append(
            f"the smallest group would expect under {_COVERED_CONVERSIONS} users who convert, or who do not: "
            "the formula's normal approximation does not hold there"
        )
    if plan.kind is not MetricKind.PROPORTION:
        found.append(
            "the formula takes the groups' values for normal: skewed amounts such as revenue need many users"
        )
    if plan.decision_method is DecisionMethod.ANYTIME:
        found.append(
            f"told for {ANYTIME_LOOKS} equally spaced looks up to the target; such a test may go on after it"
        )
    return tuple(found)
