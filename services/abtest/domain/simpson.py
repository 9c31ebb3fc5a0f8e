"""Comparisons that turn around within strata (Simpson's paradox): a warning that the pooled numbers mislead.

Groups that were assigned at random by constant weights are mixed alike over segments; a change of weights, or
a sample-ratio mismatch, mixes them differently, and then the pooled difference is also one between segments
or days.

Source: E. H. Simpson (1951), JRSS B 13, 238-241; for experiments whose weights change, T. Crook, B. Frasca,
R. Kohavi, R. Longbotham (2009), KDD, 1105-1114.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from services.abtest.domain.estimates import Estimate
from services.abtest.domain.poststratification import Weighting, stratum_weights
from services.abtest.domain.proportions import HypothesisTest
from services.abtest.domain.samples import MeanSample, Stratum

MIX_TEST = "pooled_against_stratified_z"
_FEWEST_STRATA = 2


@dataclass(frozen=True, kw_only=True)
class PooledComparison:
    """A variant's difference from control in total, and as a mean over strata.

    `test` is that the two differ by chance alone; None where nothing varies. `reverses` says that they have
    opposite signs and differ beyond chance: the pooled numbers then name the wrong group.
    """

    pooled_difference: float
    stratified_difference: float
    test: HypothesisTest | None
    reverses: bool


def compare_pooled_with_strata(
    strata: Sequence[Stratum[MeanSample]], variant: int, *, significance_level: float
) -> PooledComparison | None:
    """Return whether the pooled comparison of group `variant` with control holds within strata.

    With a_h and b_h the shares of variant's and control's users in stratum h, and w_h those of what the
    stratum can tell, the difference of both is sum (a_h - w_h) y_h1 - sum (b_h - w_h) y_h0: without a
    difference in mix, or between strata, it is 0 but for chance. Its variance has that of the means, and that
    of the mixes, which differ by chance too (multinomial). Only strata in which both groups have two users
    count; None if fewer than two do.
    """
    pairs = [(stratum.groups[variant], stratum.groups[0]) for stratum in strata]
    pairs = [(treated, control) for treated, control in pairs if min(treated.users, control.users) > 1]
    if len(pairs) < _FEWEST_STRATA:
        return None
    weights = stratum_weights(
        [(control.users, treated.users) for treated, control in pairs], Weighting.INFORMATION
    )
    levels = [(treated + control).mean or 0.0 for treated, control in pairs]
    pooled = stratified = variance = 0.0
    for sign, samples in zip((1.0, -1.0), zip(*pairs, strict=True), strict=True):
        users = sum(sample.users for sample in samples)
        shares = [sample.users / users for sample in samples]
        means = [sample.mean or 0.0 for sample in samples]
        pooled += sign * math.fsum(share * mean for share, mean in zip(shares, means, strict=True))
        stratified += sign * math.fsum(weight * mean for weight, mean in zip(weights, means, strict=True))
        variance += math.fsum(
            (share - weight) ** 2 * (sample.variance or 0.0) / sample.users
            for share, weight, sample in zip(shares, weights, samples, strict=True)
        )
        variance += _mix_variance(shares, levels) / users
    test = _test_gap(pooled - stratified, variance)
    opposite = pooled * stratified < 0.0
    return PooledComparison(
        pooled_difference=pooled,
        stratified_difference=stratified,
        test=test,
        reverses=opposite and test is not None and test.p_value < significance_level,
    )


def _mix_variance(shares: Sequence[float], levels: Sequence[float]) -> float:
    mean = math.fsum(share * level for share, level in zip(shares, levels, strict=True))
    return math.fsum(share * (level - mean) ** 2 for share, level in zip(shares, levels, strict=True))


def _test_gap(gap: float, variance: float) -> HypothesisTest | None:
    if variance <= 0.0:
        return None
    estimate = Estimate(value=gap, standard_error=math.sqrt(variance), degrees_of_freedom=math.inf)
    return estimate.test(method=MIX_TEST)
