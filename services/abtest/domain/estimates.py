"""Two groups' values compared: difference, lift, intervals and t-test, whatever kind of metric they are of.

A metric's own module (means, ratios, covariates, poststratification) makes a `GroupEstimate` of a group's
sample; here two of them become an `Effect`. What nothing supports is None.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from services.abtest.domain.proportions import HypothesisTest, Interval, lift_from_log
from services.abtest.domain.tails import student_quantile, student_test


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A number estimated with a positive standard error, around the truth as Student's t is around 0."""

    value: float
    standard_error: float
    degrees_of_freedom: float

    def interval(self, confidence_level: float) -> Interval:
        """Return the two-sided interval."""
        radius = student_quantile(confidence_level, self.degrees_of_freedom) * self.standard_error
        return Interval(lower=self.value - radius, upper=self.value + radius)

    def test(self, *, method: str) -> HypothesisTest:
        """Return the two-sided t-test of 0."""
        return student_test(self.value / self.standard_error, self.degrees_of_freedom, method=method)


@dataclass(frozen=True, kw_only=True)
class GroupEstimate:
    """A metric's value in one group, independent of the other groups', and how far it may be off.

    `value` is None where it is undefined (no users, no denominator). `squared_standard_error` is None where
    nothing tells the spread (a single user), and so are its `degrees_of_freedom`.
    """

    users: int
    value: float | None = None
    squared_standard_error: float | None = None
    degrees_of_freedom: float | None = None

    def interval(self, confidence_level: float) -> Interval | None:
        """Return the interval of the value; None where its spread is unknown or 0."""
        estimate = combine_estimates([(1.0, self)])
        return estimate.interval(confidence_level) if estimate else None


@dataclass(frozen=True, kw_only=True)
class Effect:
    """A group compared with control; whatever is undefined is None.

    `relative_lift` is a fraction of control's value, given where that is positive. `difference` belongs to
    `absolute_lift`, and `log_ratio`, given where both values are positive, to `relative_lift`: log(1 + lift).
    `test` is that of no difference. `method` names how values and standard errors were got.
    """

    control: GroupEstimate
    variant: GroupEstimate
    method: str
    absolute_lift: float | None
    absolute_lift_interval: Interval | None
    difference: Estimate | None
    relative_lift: float | None
    relative_lift_interval: Interval | None
    log_ratio: Estimate | None
    test: HypothesisTest | None


def compare_estimates(
    control: GroupEstimate, variant: GroupEstimate, *, confidence_level: float, method: str
) -> Effect:
    """Return variant's value compared with control's, by t with Satterthwaite's degrees of freedom.

    The lift's interval is that of the logarithm of the ratio, whose standard error the delta method gives; as
    the interval of two rates' ratio (Katz et al. 1978) it never falls below -1.

    Source: B. L. Welch (1938), Biometrika 29, 350-362 (difference); A. Deng, U. Knoblich, J. Lu (2018), KDD,
    233-242, section 3 (ratio of means).
    """
    before, after = control.value, variant.value
    difference = combine_estimates([(-1.0, control), (1.0, variant)])
    log_ratio = _estimate_log_ratio(control, variant)
    log_interval = log_ratio.interval(confidence_level) if log_ratio else None
    return Effect(
        control=control,
        variant=variant,
        method=method,
        absolute_lift=None if before is None or after is None else after - before,
        absolute_lift_interval=difference.interval(confidence_level) if difference else None,
        difference=difference,
        relative_lift=None if before is None or after is None or before <= 0.0 else after / before - 1.0,
        relative_lift_interval=None
        if log_interval is None
        else Interval(lower=lift_from_log(log_interval.lower), upper=lift_from_log(log_interval.upper)),
        log_ratio=log_ratio,
        test=difference.test(method=method) if difference else None,
    )


def combine_estimates(terms: Iterable[tuple[float, GroupEstimate]]) -> Estimate | None:
    """Return the weighted sum of independent groups' values; None where one is unknown, or nothing varies."""
    value = 0.0
    parts: list[tuple[float, float]] = []
    for weight, group in terms:
        if group.value is None or group.squared_standard_error is None or not group.degrees_of_freedom:
            return None
        value += weight * group.value
        parts.append((weight**2 * group.squared_standard_error, group.degrees_of_freedom))
    return _estimate_with_spread(value, parts) if any(variance for variance, _ in parts) else None


def combine_effects(terms: Iterable[tuple[float, Estimate]]) -> Estimate:
    """Return the weighted sum of independent estimates; the weights must not all be 0."""
    value = 0.0
    parts: list[tuple[float, float]] = []
    for weight, estimate in terms:
        value += weight * estimate.value
        parts.append(((weight * estimate.standard_error) ** 2, estimate.degrees_of_freedom))
    return _estimate_with_spread(value, parts)


def _estimate_with_spread(value: float, parts: Sequence[tuple[float, float]]) -> Estimate:
    """Return a sum whose parts have these variances, not all 0, and degrees of freedom.

    Source: F. E. Satterthwaite (1946), Biometrics Bulletin 2, 110-114.
    """
    variance = sum(part for part, _ in parts)
    inverse_degrees = sum((part / variance) ** 2 / degrees for part, degrees in parts)
    return Estimate(
        value=value,
        standard_error=math.sqrt(variance),
        degrees_of_freedom=1.0 / inverse_degrees if inverse_degrees else math.inf,
    )


def _estimate_log_ratio(control: GroupEstimate, variant: GroupEstimate) -> Estimate | None:
    """Return the log of variant's value over control's; None unless both are positive."""
    if control.value is None or variant.value is None or min(control.value, variant.value) <= 0.0:
        return None
    spread = combine_estimates([(1.0 / control.value, control), (1.0 / variant.value, variant)])
    if spread is None:
        return None
    return Estimate(
        value=math.log(variant.value) - math.log(control.value),
        standard_error=spread.standard_error,
        degrees_of_freedom=spread.degrees_of_freedom,
    )
