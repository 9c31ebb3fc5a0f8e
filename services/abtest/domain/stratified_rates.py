"""Two groups' conversion rates compared within weight epochs: the test of equal rates, and the log ratio.

Epochs of other weights mix users of other times, so rates pooled over them may differ without any effect.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from scipy import special

from services.abtest.domain.model import GroupCounts
from services.abtest.domain.proportions import (
    SMALL_EXPECTED_COUNT,
    HypothesisTest,
    Interval,
    compare_proportions,
    floor_p_value,
    lift_from_log,
    one_degree_test,
)

COCHRAN, EXACT_STRATIFIED = "cochran_stratified", "exact_stratified"
CountPair = tuple[GroupCounts, GroupCounts]
_EXACT_TOLERANCE = 1e-7
_LOG_NEGLIGIBLE = 2000.0
_LN10 = math.log(10.0)


class Counted(Protocol):
    """Whatever has every group's counts, the control's first: a weight epoch, a stratum."""

    @property
    def groups(self) -> Sequence[GroupCounts]:
        """The groups' counts."""


@dataclass(frozen=True, kw_only=True)
class LogRatio:
    """The stratified log of variant's rate over control's, with its standard error.

    `unit_variance` is the variance that one user per group would have.
    """

    point_estimate: float
    standard_error: float
    unit_variance: float

    @property
    def effective_users(self) -> float:
        """Users per group of an even split that would give the same standard error."""
        return self.unit_variance / self.standard_error**2

    @property
    def relative_lift(self) -> float:
        """The ratio less 1."""
        return lift_from_log(self.point_estimate)

    def standardized(self, ratio: float = 1.0) -> float:
        """Return how many standard errors the estimate lies above this ratio."""
        return (self.point_estimate - math.log(ratio)) / self.standard_error

    def lift_interval(self, boundary: float) -> Interval | None:
        """Return the lifts within `boundary` standard errors; None where all are."""
        if math.isinf(boundary):
            return None
        radius = boundary * self.standard_error
        return Interval(
            lower=lift_from_log(self.point_estimate - radius),
            upper=lift_from_log(self.point_estimate + radius),
        )


def usable_pairs(strata: Sequence[Counted], variant: int) -> list[CountPair]:
    """Return control's and the variant's counts where both have users: other strata compare nothing."""
    pairs = [(stratum.groups[0], stratum.groups[variant]) for stratum in strata]
    return [pair for pair in pairs if pair[0].users and pair[1].users]


def smallest_stratified_expected_count(strata: Sequence[Counted], variant: int) -> float:
    """Return the least count expected under equal rates within each stratum; 0 without users."""
    converted = [0.0, 0.0]
    others = [0.0, 0.0]
    for pair in usable_pairs(strata, variant):
        rate = sum(counts.conversions for counts in pair) / sum(counts.users for counts in pair)
        for index, counts in enumerate(pair):
            converted[index] += counts.users * rate
            others[index] += counts.users * (1.0 - rate)
    return min(*converted, *others)


def score_information(strata: Sequence[Counted], variant: int) -> float:
    """Return the variance, under equal rates, of the sum that Cochran's test looks at.

    It grows with the users as a score's information does, which is how looks correlate.
    """
    return sum(_cochran_terms(*pair)[1] for pair in usable_pairs(strata, variant))


def compare_stratified(strata: Sequence[Counted], variant: int = 1) -> HypothesisTest | None:
    """Return the test of equal rates within every stratum; in a single one, Pearson's or Fisher's.

    Where a count expected over all strata is under 5, the exact test given every stratum's margins takes the
    place of Cochran's, as Fisher's takes that of Pearson's. None where nothing can be compared: no stratum
    with users in both groups, or nobody or everybody converting in each.

    Source: W. G. Cochran (1954), Biometrics 10, 417-451: the sum over strata of observed minus expected
    conversions, over its standard deviation. With one stratum its square is Pearson's chi-squared.
    """
    pairs = usable_pairs(strata, variant)
    if len(pairs) == 1:
        return compare_proportions(*pairs[0])
    terms = [_cochran_terms(*pair) for pair in pairs]
    variance = sum(term[1] for term in terms)
    if variance == 0.0:
        return None
    asymptotic = one_degree_test(sum(term[0] for term in terms) ** 2 / variance, method=COCHRAN)
    if smallest_stratified_expected_count(strata, variant) >= SMALL_EXPECTED_COUNT:
        return asymptotic
    log10_p_value = exact_stratified_log10_p_value(pairs)
    return HypothesisTest(
        statistic=asymptotic.statistic,
        p_value=floor_p_value(log10_p_value),
        log10_p_value=log10_p_value,
        method=EXACT_STRATIFIED,
    )


def _cochran_terms(control: GroupCounts, variant: GroupCounts) -> tuple[float, float]:
    """Return variant's conversions less those expected at equal rates, and their variance."""
    total, converted = control.users + variant.users, control.conversions + variant.conversions
    excess = variant.conversions - variant.users * converted / total
    return excess, control.users * variant.users * converted * (total - converted) / total**3


def exact_stratified_log10_p_value(pairs: Sequence[CountPair]) -> float:
    """Return log10 of the exact two-sided p-value of equal rates in every stratum, given its margins.

    The control's conversions over all strata are a sum of independent hypergeometric ones; the p-value adds
    up the sums no likelier than the one seen. With one stratum it is Fisher's.

    Source: A. Agresti (2013), Categorical Data Analysis, 3rd ed., section 7.3.5; R's
    `mantelhaen.test(exact = TRUE)`, of which this takes the tables within 1e-7 relative as equally likely.
    """
    log_masses = np.zeros(1)
    seen = 0
    for control, variant in pairs:
        stratum, place = _log_hypergeometric(control, variant)
        log_masses = _convolve(log_masses, stratum)
        seen += place
    as_unlikely = log_masses[log_masses <= log_masses[seen] + math.log1p(_EXACT_TOLERANCE)]
    natural = float(special.logsumexp(as_unlikely) - special.logsumexp(log_masses))
    return min(0.0, natural / _LN10)


def _log_hypergeometric(control: GroupCounts, variant: GroupCounts) -> tuple[NDArray[np.float64], int]:
    """Return log weights of control's conversions given the margins, and the place of those seen.

    Weights under e^-2000 of the largest are left out, unless the ones seen lie there.
    """
    converted = control.conversions + variant.conversions
    lowest, highest = max(0, converted - variant.users), min(control.users, converted)
    # Ratios of neighbours, as in Fisher's test: no digit is lost to log-factorials.
    k = np.arange(lowest, highest, dtype=np.float64)
    ratios = (control.users - k) * (converted - k) / ((k + 1.0) * (variant.users - converted + k + 1.0))
    weights = np.concatenate(([0.0], np.cumsum(np.log(ratios))))
    seen = control.conversions - lowest
    kept = np.flatnonzero(weights >= weights.max() - _LOG_NEGLIGIBLE)
    first, last = min(int(kept[0]), seen), max(int(kept[-1]), seen)
    return weights[first : last + 1], seen - first


def _convolve(first: NDArray[np.float64], second: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the log masses of the sum of two independent counts.

    In logarithms, so that no tail underflows; the shorter of the two is small where this is called, for a
    margin of every stratum is.
    """
    if len(first) < len(second):
        first, second = second, first
    total = np.full(len(first) + len(second) - 1, -math.inf)
    for shift, log_mass in enumerate(second):
        part = total[shift : shift + len(first)]
        np.logaddexp(part, first + log_mass, out=part)
    return total


def estimate_log_ratio(strata: Sequence[Counted], variant: int) -> LogRatio | None:
    """Return the log ratio of group `variant` over the control, each rate stratified over epochs.

    A group's rate is the mean of its rates in each epoch, weighted alike for both groups, so that weights
    which changed while rates drifted do not pass for an effect. An epoch weighs as much as it can tell,
    n0 n1 / (n0 + n1): weighted by its users, an epoch that gave one group few would drown the others in that
    group's noise, and a change of weights would lose information, under which no sequence holds its level.
    Half a conversion and half a non-conversion are added to each group, shared over the epochs, which keeps
    the estimate finite. None where no epoch has users in both.

    The variance is that of the groups' own rates or that of equal rates, whichever is larger: the former
    alone is too small where chance lifts the rate of a small group, and lopsided A/A tests are then wrong up
    to ten times as often as a significance level of 0.001 allows.

    Source: W. G. Cochran (1954), Biometrics 10, 417-451; N. Mantel, W. Haenszel (1959), JNCI 22, 719-748 (the
    epochs' weights); delta method for the logarithm as in Katz et al. (1978); half-counts by J. B. S. Haldane
    (1956) and F. J. Anscombe (1956).
    """
    pairs = usable_pairs(strata, variant)
    if not pairs:
        return None
    information = [
        control.users * treated.users / (control.users + treated.users) for control, treated in pairs
    ]
    shares = [each / sum(information) for each in information]
    control = _stratify([pair[0] for pair in pairs], shares)
    treated = _stratify([pair[1] for pair in pairs], shares)
    own_variance = treated[1] / treated[0] ** 2 + control[1] / control[0] ** 2
    return LogRatio(
        point_estimate=math.log(treated[0] / control[0]),
        standard_error=math.sqrt(max(own_variance, _variance_at_equal_rates(pairs, shares))),
        unit_variance=(1.0 - treated[0]) / treated[0] + (1.0 - control[0]) / control[0],
    )


def _stratify(groups: Sequence[GroupCounts], shares: Sequence[float]) -> tuple[float, float]:
    """Return a group's stratified rate and the rate's variance."""
    rate = variance = 0.0
    for counts, share in zip(groups, shares, strict=True):
        users = counts.users + share
        stratum_rate = (counts.conversions + 0.5 * share) / users
        rate += share * stratum_rate
        variance += share**2 * stratum_rate * (1.0 - stratum_rate) / users
    return rate, variance


def _variance_at_equal_rates(pairs: Sequence[CountPair], shares: Sequence[float]) -> float:
    """Return the variance of the log ratio if both groups had the pooled rate in each epoch."""
    rate = variance = 0.0
    for (control, treated), share in zip(pairs, shares, strict=True):
        sizes = (control.users + share, treated.users + share)
        pooled = (control.conversions + treated.conversions + share) / sum(sizes)
        rate += share * pooled
        variance += share**2 * pooled * (1.0 - pooled) * (1.0 / sizes[0] + 1.0 / sizes[1])
    return variance / rate**2
