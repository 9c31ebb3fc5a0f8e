"""Comparisons that turn around within strata (Simpson's paradox).

A over B in total and B over A within the strata can both be true where A and B are mixed differently over
strata whose rates differ (E. H. Simpson, "The interpretation of interaction in contingency tables", JRSS B
13, 1951). Which of the two answers the question at hand is not to be read from the counts: it depends on
whether the stratum is a cause that both share or a step on the way (J. Pearl, "Understanding Simpson's
paradox", The American Statistician 68, 2014). So a reversal is a warning to look within, and never a
correction.

Two groups, such as segments or campaigns, are compared by a rate, successes / trials:

- pooled: p_A - p_B = sum a_i p_Ai - sum b_i p_Bi, where a_i and b_i are the shares of each group's trials in
  stratum i;
- stratified: sum w_i (p_Ai - p_Bi) with the weights of N. Mantel and W. Haenszel ("Statistical aspects of the
  analysis of data from retrospective studies of disease", JNCI 22, 1959), w_i ~ n_Ai n_Bi / (n_Ai + n_Bi),
  which is the direction that their test judges by; S. Greenland and J. Robins ("Estimation of a common effect
  parameter from sparse follow-up data", Biometrics 41, 1985) give it as the common risk difference.

Both are linear in the rates, and so is what lies between them: sum (a_i - w_i) p_Ai - sum (b_i - w_i) p_Bi.
It is 0 in expectation where a group's rates do not differ between strata, and where both groups are mixed
alike (then a_i = b_i = w_i): without confounding. Its variance has two parts: that of the rates given the
trials, and that of the mixes, which differ by chance too (multinomial, sum a_i c_i^2 - (sum a_i c_i)^2 over
the trials for the rates c_i of both groups together). A reversal is reported where the two differences have
opposite signs, the strata with the stratified sign hold most of the weight, and what lies between the two
differs from 0 by a z-test, Bonferroni-adjusted over the comparisons made. So without confounding at most
`significance_level` of all sets of comparisons warn at all, whatever the number of pairs.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from math import sqrt

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

from services.analytics.domain.intervals import ConfidenceInterval

MINIMUM_COMMON_STRATA = 2
MINIMUM_COMMON_SHARE = 0.5
"""Share of each group's trials that must lie in strata which both have: else too little is comparable."""
MAXIMUM_STRAY_SHARE = 0.05
"""Share of successes that may lie in strata without trials, such as conversions that name no channel."""
MOST = 0.5
"""Share of the weight that strata of the stratified direction must hold more than."""
MAXIMUM_GROUPS = 20
"""Most groups of which all pairs are compared: those with the most trials."""

Vector = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class StratifiedGroup:
    """A group's successes and trials by stratum.

    `design_effect` is the ratio of the variance of the group's rate with the user as the unit to that with
    the trial as the unit. `mix_design_effect` is the same of the shares of trials that strata have; users who
    keep to one stratum bring it to the sum of squares of users' trials over their sum, which is right as an
    upper bound where nothing better is known. Below 1 both count as 1.
    """

    name: str
    cells: Mapping[str, tuple[int, int]]
    design_effect: float = 1.0
    mix_design_effect: float = 1.0


@dataclass(frozen=True, kw_only=True)
class Reversal:
    """A pair whose order over everything contradicts its order within strata.

    `first` is higher over everything. Differences are first less second. `agreeing_weight` is the share of
    the Mantel-Haenszel weight in strata where first is lower; `adjusted_p_value` belongs to the test that
    both differences are the same, Bonferroni-adjusted.
    """

    first: str
    second: str
    stratified_by: str
    metric: str
    pooled_difference: float
    stratified_difference: float
    stratified_difference_interval: ConfidenceInterval
    agreeing_weight: float
    adjusted_p_value: float


@dataclass(frozen=True, kw_only=True)
class _Cells:
    """One group over strata in a common order; where it has no trials, rate and variance are 0."""

    successes: Vector
    trials: Vector
    rates: Vector
    variances: Vector
    mix_design_effect: float


def find_reversals(
    groups: Sequence[StratifiedGroup],
    *,
    stratified_by: str,
    metric: str,
    stratifications: int = 1,
    significance_level: float = 0.05,
) -> Sequence[Reversal]:
    """Return the reversals among all pairs of groups, the most certain first, then by name.

    Of more than `MAXIMUM_GROUPS` groups those with the most trials are compared. `stratifications` is how
    many ways to stratify are tried on the same groups: the adjustment is for pairs times stratifications.
    """
    largest = sorted(groups, key=lambda group: (-_count_trials(group), group.name))[:MAXIMUM_GROUPS]
    pairs = list(combinations(largest, 2))
    found = (
        find_reversal(
            first,
            second,
            stratified_by=stratified_by,
            metric=metric,
            comparisons=len(pairs) * stratifications,
            significance_level=significance_level,
        )
        for first, second in pairs
    )
    reversals = [reversal for reversal in found if reversal is not None]
    return sorted(
        reversals, key=lambda reversal: (reversal.adjusted_p_value, reversal.first, reversal.second)
    )


def find_reversal(
    first: StratifiedGroup,
    second: StratifiedGroup,
    *,
    stratified_by: str,
    metric: str,
    comparisons: int = 1,
    significance_level: float = 0.05,
) -> Reversal | None:
    """Return how the order of two groups turns around within strata; None where it does not."""
    strata = sorted(first.cells.keys() | second.cells.keys())
    a, b = _lay_out(first, strata), _lay_out(second, strata)
    common = (a.trials > 0) & (b.trials > 0)
    if not _is_comparable(a, common) or not _is_comparable(b, common):
        return None
    pooled = float(a.successes.sum() / a.trials.sum() - b.successes.sum() / b.trials.sum())
    if pooled < 0:
        first, second, a, b, pooled = second, first, b, a, -pooled
    weights = np.zeros(len(strata))
    weights[common] = a.trials[common] * b.trials[common] / (a.trials[common] + b.trials[common])
    weights /= weights.sum()
    stratified = float(weights @ (a.rates - b.rates))
    agreeing = float(weights[a.rates < b.rates].sum())
    if not (pooled > 0 > stratified and agreeing > MOST):
        return None
    p_value = _test_difference(pooled - stratified, a, b, weights) * comparisons
    if p_value > significance_level:
        return None
    spread = float(ndtri(0.975)) * sqrt(float(weights**2 @ (a.variances + b.variances)))
    return Reversal(
        first=first.name,
        second=second.name,
        stratified_by=stratified_by,
        metric=metric,
        pooled_difference=pooled,
        stratified_difference=stratified,
        stratified_difference_interval=ConfidenceInterval(
            lower=stratified - spread, upper=stratified + spread
        ),
        agreeing_weight=agreeing,
        adjusted_p_value=min(p_value, 1.0),
    )


def describe_reversal(reversal: Reversal) -> str:
    """Return what a reversal means, for a person."""
    first, second = reversal.first or "(no segment)", reversal.second or "(no segment)"
    certainty = (
        "within them it is lower beyond chance"
        if reversal.stratified_difference_interval.upper < 0
        else "within them the two may also be equal"
    )
    strata = reversal.stratified_by
    return (
        f"{first} is above {second} in {reversal.metric} over everything, but below it within {strata} "
        f"(in {reversal.agreeing_weight:.0%} of the comparable weight; {certainty}): the two are mixed "
        f"differently over {strata}. Compare them within it before acting on the order."
    )


def _lay_out(group: StratifiedGroup, strata: Sequence[str]) -> _Cells:
    cells = np.array([group.cells.get(stratum, (0, 0)) for stratum in strata], dtype=np.float64).reshape(
        -1, 2
    )
    successes, trials = cells[:, 0], cells[:, 1]
    filled, design_effect = np.maximum(trials, 1.0), max(group.design_effect, 1.0)
    # One success and one failure more, so that a small stratum in which all or nothing happened keeps a
    # variance (A. Agresti and B. Caffo, "Simple and effective confidence intervals", The American
    # Statistician 54, 2000). Past 1, where trials were lost on the way, the count of successes is taken for
    # Poisson's.
    share = (successes + 1.0) / (trials + 2.0)
    unit = np.where(share < 1.0, share * (1.0 - share), share)
    return _Cells(
        successes=successes,
        trials=trials,
        rates=np.where(trials > 0, successes / filled, 0.0),
        variances=np.where(trials > 0, design_effect * unit / filled, 0.0),
        mix_design_effect=max(group.mix_design_effect, 1.0),
    )


def _is_comparable(cells: _Cells, common: NDArray[np.bool_]) -> bool:
    if int(common.sum()) < MINIMUM_COMMON_STRATA:
        return False
    stray = cells.successes[cells.trials <= 0].sum()
    return bool(
        cells.trials[common].sum() >= MINIMUM_COMMON_SHARE * cells.trials.sum()
        and stray <= MAXIMUM_STRAY_SHARE * cells.successes.sum()
    )


def _test_difference(gap: float, a: _Cells, b: _Cells, weights: Vector) -> float:
    """Return the two-sided p-value of pooled less stratified."""
    rates = (a.successes + b.successes) / np.maximum(a.trials + b.trials, 1.0)
    variance = 0.0
    for cells in (a, b):
        total = float(cells.trials.sum())
        mix = cells.trials / total
        variance += float((mix - weights) ** 2 @ cells.variances)
        variance += cells.mix_design_effect * float(mix @ rates**2 - (mix @ rates) ** 2) / total
    return 2.0 * float(ndtr(-abs(gap) / sqrt(variance))) if variance > 0 else 1.0


def _count_trials(group: StratifiedGroup) -> int:
    return sum(trials for _, trials in group.cells.values())
