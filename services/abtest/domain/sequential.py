"""Evidence that may be looked at whenever one likes: a confidence sequence on the log ratio of rates."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from services.abtest.domain.model import EpochCounts, GroupCounts
from services.abtest.domain.proportions import Interval, floor_p_value, lift_from_log

SMALL_EXPECTED_COUNT = 10.0
"""Before every expected count reaches this, the sequence says nothing.

The sequence rests on a central limit theorem. Simulated A/A tests with several looks per conversion, at rates
from 0.005 to 0.98, splits from 1:1 to 1:100 and confidence levels from 0.80 to 0.999, keep their level from
here on; without the threshold a 1:100 split is wrong up to 87 % of the time.
"""
_LN10 = math.log(10.0)


@dataclass(frozen=True, kw_only=True)
class LogRatio:
    """The stratified log of variant's rate over control's, with its standard error.

    `unit_variance` is the variance that one user per group would have.
    """

    point_estimate: float
    standard_error: float
    unit_variance: float


@dataclass(frozen=True, kw_only=True)
class AnytimeEvidence:
    """What a confidence sequence says at one look.

    `relative_lift_interval` covers the true lift at all looks together with the confidence level;
    `p_value` is under the significance level exactly where the interval excludes 0.
    """

    relative_lift_interval: Interval
    p_value: float


def strata(epochs: Sequence[EpochCounts]) -> list[EpochCounts]:
    """Return the epochs in which every group has users: the others compare nothing."""
    return [epoch for epoch in epochs if all(counts.users for counts in epoch.groups)]


def smallest_stratified_expected_count(epochs: Sequence[EpochCounts], variant: int) -> float:
    """Return the least count expected under equal rates within each epoch; 0 without users."""
    converted = [0.0, 0.0]
    others = [0.0, 0.0]
    for epoch in strata(epochs):
        pair = (epoch.groups[0], epoch.groups[variant])
        rate = sum(counts.conversions for counts in pair) / sum(counts.users for counts in pair)
        for index, counts in enumerate(pair):
            converted[index] += counts.users * rate
            others[index] += counts.users * (1.0 - rate)
    return min(*converted, *others)


def estimate_log_ratio(epochs: Sequence[EpochCounts], variant: int) -> LogRatio | None:
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
    usable = strata(epochs)
    if not usable:
        return None
    pairs = [(epoch.groups[0], epoch.groups[variant]) for epoch in usable]
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


def _variance_at_equal_rates(
    pairs: Sequence[tuple[GroupCounts, GroupCounts]], shares: Sequence[float]
) -> float:
    """Return the variance of the log ratio if both groups had the pooled rate in each epoch."""
    rate = variance = 0.0
    for (control, treated), share in zip(pairs, shares, strict=True):
        sizes = (control.users + share, treated.users + share)
        pooled = (control.conversions + treated.conversions + share) / sum(sizes)
        rate += share * pooled
        variance += share**2 * pooled * (1.0 - pooled) * (1.0 / sizes[0] + 1.0 / sizes[1])
    return variance / rate**2


def tightest_mixing_precision(significance_level: float) -> float:
    """Return rho^2 t at which the sequence is tightest at time t: the x with x = log((1 + x) / alpha^2).

    Source: I. Waudby-Smith, D. Arbour, R. Sinha, E. H. Kennedy, A. Ramdas (2024), Annals of Statistics 52,
    2613-2640, appendix on tuning: -W_{-1}(-alpha^2 / e) - 1, here by its contracting fixed point.
    """
    x = 1.0
    for _ in range(100):
        x = math.log1p(x) - 2.0 * math.log(significance_level)
    return x


def anytime_evidence(
    log_ratio: LogRatio, *, significance_level: float, target_sample_size: int
) -> AnytimeEvidence:
    """Return the confidence sequence at this look, tightest when each group has `target_sample_size` users.

    With z = estimate / standard error and x = rho^2 t, the mixture's likelihood ratio against no lift is
    exp(z^2 x / (2 (1 + x))) / sqrt(1 + x): a supermartingale in the limit, so it exceeds 1 / alpha at any
    look with probability at most alpha (Ville), and its inverse is a p-value at any stopping time.

    Source: Waudby-Smith et al. (2024), theorem 2.2 (asymptotic confidence sequences); H. Robbins (1970),
    Annals of Mathematical Statistics 41, 1397-1409 (the normal mixture); R. Johari, P. Koomen, L. Pekelis,
    D. Walsh (2022), Operations Research 70, 1806-1821 (the p-value). Time is information: users per group of
    an even split that would give the same standard error.
    """
    effective_users = log_ratio.unit_variance / log_ratio.standard_error**2
    x = tightest_mixing_precision(significance_level) * effective_users / target_sample_size
    radius = log_ratio.standard_error * math.sqrt(
        (1.0 + 1.0 / x) * (math.log1p(x) - 2.0 * math.log(significance_level))
    )
    z = log_ratio.point_estimate / log_ratio.standard_error
    log_e_value = 0.5 * (z * z * x / (1.0 + x) - math.log1p(x))
    return AnytimeEvidence(
        relative_lift_interval=Interval(
            lower=lift_from_log(log_ratio.point_estimate - radius),
            upper=lift_from_log(log_ratio.point_estimate + radius),
        ),
        p_value=floor_p_value(-log_e_value / _LN10),
    )
