"""What a metric shows of a variant against control, over all weight epochs, whatever kind of metric it is.

Every decision method asks the same of it: how many standard errors from a lift, and how much is known.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from services.abtest.domain.covariates import CUPED, CUPED_WINSORIZED, adjust_by_covariate
from services.abtest.domain.estimates import GroupEstimate
from services.abtest.domain.means import WELCH, WELCH_WINSORIZED, estimate_mean
from services.abtest.domain.metrics import Metric
from services.abtest.domain.model import GroupCounts
from services.abtest.domain.poststratification import Weighting, compare_strata, stratum_weights
from services.abtest.domain.proportions import HypothesisTest, Interval
from services.abtest.domain.ratios import DELTA_METHOD, estimate_ratio
from services.abtest.domain.samples import CovariateSample, MeanSample, RatioSample, Stratum
from services.abtest.domain.stratified_rates import (
    compare_stratified,
    estimate_log_ratio,
    score_information,
    smallest_stratified_expected_count,
)

Sample = GroupCounts | MeanSample | CovariateSample | RatioSample
SampleT = TypeVar("SampleT", GroupCounts, CovariateSample, RatioSample)

SMALL_EXPECTED_COUNT = 10.0
"""Before every expected count reaches this, what holds at several looks says nothing.

It rests on a central limit theorem. Simulated A/A tests with several looks per conversion, at rates from
0.005 to 0.98, splits from 1:1 to 1:100 and confidence levels from 0.80 to 0.999, keep their level from here
on; without the threshold a 1:100 split is wrong up to 87 % of the time. For means and ratios the count is
that of `smallest_contributors`.
"""


class Contrast(Protocol):
    """A variant's value against control's, near enough to normal."""

    @property
    def effective_users(self) -> float:
        """Users per group of an even split that would give the same standard error."""

    @property
    def relative_lift(self) -> float | None:
        """Variant's value over control's less 1; None where control's is not positive."""

    def standardized(self, ratio: float = 1.0) -> float:
        """Return how many standard errors variant's value lies above `ratio` times control's."""

    def lift_interval(self, boundary: float) -> Interval | None:
        """Return the lifts that lie within `boundary` standard errors; None where they have no end."""


@dataclass(frozen=True, kw_only=True)
class LinearContrast:
    """Two groups' means or ratios of sums, and the squared standard errors of each.

    `unit_variance` is the variance that the difference would have with one user per group.
    """

    control: float
    variant: float
    control_variance: float
    variant_variance: float
    unit_variance: float

    @property
    def effective_users(self) -> float:
        """Users per group of an even split that would give the same standard error."""
        return self.unit_variance / (self.control_variance + self.variant_variance)

    @property
    def relative_lift(self) -> float | None:
        """Variant's value over control's less 1; None where control's is not positive."""
        return self.variant / self.control - 1.0 if self.control > 0.0 else None

    def standardized(self, ratio: float = 1.0) -> float:
        """Return how many standard errors variant's value lies above `ratio` times control's."""
        return (self.variant - ratio * self.control) / math.sqrt(
            self.variant_variance + ratio**2 * self.control_variance
        )

    def lift_interval(self, boundary: float) -> Interval | None:
        """Return the lifts that lie within `boundary` standard errors; None where they have no end.

        They have none where control's value is not that far above 0. Excludes 0 exactly where
        `standardized()` is beyond the boundary.

        Source: E. C. Fieller (1954), JRSS B 16, 175-185.
        """
        if math.isinf(boundary) or self.control <= 0.0:
            return None
        squared = boundary**2
        a = self.control**2 - squared * self.control_variance
        if a <= 0.0:
            return None
        b = self.control * self.variant
        c = self.variant**2 - squared * self.variant_variance
        root = math.sqrt(max(0.0, b * b - a * c))
        return Interval(lower=(b - root) / a - 1.0, upper=(b + root) / a - 1.0)


@dataclass(frozen=True, kw_only=True)
class MetricContrast:
    """A variant against control by one metric.

    `fixed` is the test that is right at a single look; None where it is undefined. `contrast` is None where
    nobody can be compared or nothing varies, and `is_ready` tells whether enough is known to trust its
    normality. `information` grows as the variance of the score does, which says how looks correlate.
    """

    contrast: Contrast | None
    fixed: HypothesisTest | None
    information: float
    is_ready: bool


def contrast_metric(
    metric: Metric, strata: Sequence[Stratum[Sample]], variant: int, *, confidence_level: float = 0.95
) -> MetricContrast:
    """Return group `variant` against control; strata count by what they can tell (docs/decisions/0011)."""
    counts = strata_of_kind(strata, GroupCounts)
    if counts is not None:
        return contrast_rates(counts, variant)
    estimates, method = estimate_strata(metric, strata)
    pairs = [(stratum.groups[0], stratum.groups[variant]) for stratum in estimates]
    effect = compare_strata(estimates, variant, confidence_level=confidence_level, method=method)
    contrast = _linear_contrast(_comparable_pairs(estimates, variant))
    return MetricContrast(
        contrast=contrast,
        fixed=effect.test,
        information=sum(_score_variance(*pair) for pair in pairs),
        is_ready=contrast is not None and smallest_contributors(strata, variant) >= SMALL_EXPECTED_COUNT,
    )


def contrast_linear(metric: Metric, strata: Sequence[Stratum[Sample]], variant: int) -> LinearContrast | None:
    """Return group `variant` against control by the values' difference; None where nothing varies."""
    estimates, _ = estimate_strata(metric, strata)
    return _linear_contrast(_comparable_pairs(estimates, variant))


def contrast_rates(strata: Sequence[Stratum[GroupCounts]], variant: int) -> MetricContrast:
    """Return group `variant`'s conversion rate against control's."""
    return MetricContrast(
        contrast=estimate_log_ratio(strata, variant),
        fixed=compare_stratified(strata, variant),
        information=score_information(strata, variant),
        is_ready=smallest_stratified_expected_count(strata, variant) >= SMALL_EXPECTED_COUNT,
    )


def smallest_contributors(strata: Sequence[Stratum[Sample]], variant: int) -> float:
    """Return how many users' worth of value the smaller group expects if both have the same values.

    The effective number of users who contribute is (sum y)^2 / sum y^2: of a conversion exactly the
    conversions, of revenue fewer than its buyers. A metric whose mean is small beside its spread needs many
    users to have some.

    Source: L. Kish (1965), Survey Sampling, section 11.7 (the effective number of unequal weights).
    """
    together = MeanSample()
    users = [0, 0]
    for stratum in strata:
        pair = [amounts_of(stratum.groups[index]) for index in (0, variant)]
        if all(sample.users for sample in pair):
            together = together + pair[0] + pair[1]
            users = [count + sample.users for count, sample in zip(users, pair, strict=True)]
    if not together.users:
        return 0.0
    squares = together.squared_deviations + together.total**2 / together.users
    return min(users) / together.users * together.total**2 / squares if squares else 0.0


def estimate_strata(
    metric: Metric, strata: Sequence[Stratum[Sample]]
) -> tuple[list[Stratum[GroupEstimate]], str]:
    """Return every group's value in every stratum, less its past where that is given; and the method."""
    winsorized = metric.winsorize_quantile is not None
    covariates = strata_of_kind(strata, CovariateSample)
    adjusted = adjust_by_covariate(covariates) if covariates else None
    if adjusted is not None:
        return list(adjusted.strata), CUPED_WINSORIZED if winsorized else CUPED
    estimates = [
        Stratum(label=stratum.label, groups=tuple(_estimate(sample) for sample in stratum.groups))
        for stratum in strata
    ]
    if strata_of_kind(strata, RatioSample):
        return estimates, DELTA_METHOD
    return estimates, WELCH_WINSORIZED if winsorized else WELCH


def _estimate(sample: Sample) -> GroupEstimate:
    return estimate_ratio(sample) if isinstance(sample, RatioSample) else estimate_mean(amounts_of(sample))


def amounts_of(sample: Sample) -> MeanSample:
    """Return what the users of a group contributed, whatever is put beside it."""
    match sample:
        case GroupCounts():
            return MeanSample.from_counts(sample)
        case CovariateSample():
            return sample.outcome
        case RatioSample():
            return sample.numerator
    return sample


def strata_of_kind(strata: Sequence[Stratum[Sample]], kind: type[SampleT]) -> list[Stratum[SampleT]] | None:
    """Return the strata as being of this kind of sample; None where one is not."""
    found = []
    for stratum in strata:
        groups = tuple(sample for sample in stratum.groups if isinstance(sample, kind))
        if len(groups) < len(stratum.groups):
            return None
        found.append(Stratum(label=stratum.label, groups=groups))
    return found


def _comparable_pairs(
    strata: Sequence[Stratum[GroupEstimate]], variant: int
) -> list[tuple[GroupEstimate, GroupEstimate]]:
    pairs = [(stratum.groups[0], stratum.groups[variant]) for stratum in strata]
    return [pair for pair in pairs if all(group.degrees_of_freedom for group in pair)]


def _linear_contrast(pairs: Sequence[tuple[GroupEstimate, GroupEstimate]]) -> LinearContrast | None:
    """Return the strata's values and variances put together; None where nothing varies.

    A stratum's variance is that of the groups' own spreads or that of one spread in both, whichever is
    larger, as for rates and for the same reason.
    """
    if not pairs:
        return None
    shares = stratum_weights([(pair[0].users, pair[1].users) for pair in pairs], Weighting.INFORMATION)
    values, variances, unit = [0.0, 0.0], [0.0, 0.0], 0.0
    for pair, share in zip(pairs, shares, strict=True):
        factor = _common_spread_factor(*pair)
        for index, group in enumerate(pair):
            squared_error = group.squared_standard_error or 0.0
            values[index] += share * (group.value or 0.0)
            variances[index] += share**2 * factor * squared_error
            unit += share * squared_error * group.users
    if not sum(variances):
        return None
    return LinearContrast(
        control=values[0],
        variant=values[1],
        control_variance=variances[0],
        variant_variance=variances[1],
        unit_variance=unit,
    )


def _common_spread_factor(control: GroupEstimate, variant: GroupEstimate) -> float:
    """Return by what the difference's variance grows if both groups have their common spread; at least 1."""
    squared_errors = [group.squared_standard_error or 0.0 for group in (control, variant)]
    degrees = [group.users - 1.0 for group in (control, variant)]
    own = sum(squared_errors)
    common = (
        squared_errors[0] * control.users * degrees[0] + squared_errors[1] * variant.users * degrees[1]
    ) / sum(degrees)
    return max(1.0, common * (1.0 / control.users + 1.0 / variant.users) / own) if own else 1.0


def _score_variance(control: GroupEstimate, variant: GroupEstimate) -> float:
    if not control.degrees_of_freedom or not variant.degrees_of_freedom:
        return 0.0
    weight = control.users * variant.users / (control.users + variant.users)
    return weight**2 * ((control.squared_standard_error or 0.0) + (variant.squared_standard_error or 0.0))
