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
from dataclasses import dataclass, fields

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

PAIR = 2
Vector = NDArray[np.float64]
Matrix = NDArray[np.float64]


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
    """Pairs of groups over strata in a common order, one side of every pair: rows are pairs.

    Where there are no trials, rate and variance are 0. `mix_design_effect` has one entry per pair.
    """

    successes: Matrix
    trials: Matrix
    rates: Matrix
    variances: Matrix
    mix_design_effect: Vector

    def take(self, rows: NDArray[np.intp]) -> "_Cells":
        """Return the rows of that number in that order."""
        return _Cells(**{field.name: getattr(self, field.name)[rows] for field in fields(self)})


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
    largest = [group for group in largest if _count_trials(group) > 0]
    if len(largest) < PAIR:
        return []
    cells = _lay_out(largest)
    totals = cells.successes.sum(axis=1) / cells.trials.sum(axis=1)
    order = np.argsort(-totals, kind="stable")
    upper, lower = np.triu_indices(len(largest), k=1)
    first, second = order[upper], order[lower]
    a, b = cells.take(first), cells.take(second)
    common = (a.trials > 0) & (b.trials > 0)
    weights = np.where(common, a.trials * b.trials / np.maximum(a.trials + b.trials, 1.0), 0.0)
    weights /= np.maximum(weights.sum(axis=1, keepdims=True), 1e-300)
    pooled = totals[first] - totals[second]
    stratified = (weights * (a.rates - b.rates)).sum(axis=1)
    agreeing = (weights * (a.rates < b.rates)).sum(axis=1)
    p_values = _test_differences(pooled - stratified, a, b, weights) * (len(first) * stratifications)
    spread = float(ndtri(0.975)) * np.sqrt((weights**2 * (a.variances + b.variances)).sum(axis=1))
    is_reversed = (pooled > 0) & (stratified < 0) & (agreeing > MOST) & (p_values <= significance_level)
    is_reversed &= _are_comparable(a, common) & _are_comparable(b, common)
    reversals = [
        Reversal(
            first=largest[first[pair]].name,
            second=largest[second[pair]].name,
            stratified_by=stratified_by,
            metric=metric,
            pooled_difference=float(pooled[pair]),
            stratified_difference=float(stratified[pair]),
            stratified_difference_interval=ConfidenceInterval(
                lower=float(stratified[pair] - spread[pair]), upper=float(stratified[pair] + spread[pair])
            ),
            agreeing_weight=float(agreeing[pair]),
            adjusted_p_value=float(p_values[pair]),
        )
        for pair in np.flatnonzero(is_reversed)
    ]
    return sorted(
        reversals, key=lambda reversal: (reversal.adjusted_p_value, reversal.first, reversal.second)
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


def _lay_out(groups: Sequence[StratifiedGroup]) -> _Cells:
    strata = sorted({stratum for group in groups for stratum in group.cells})
    cells = np.array(
        [[group.cells.get(stratum, (0, 0)) for stratum in strata] for group in groups], dtype=np.float64
    )
    successes, trials = cells[:, :, 0], cells[:, :, 1]
    design_effects = np.array([[max(group.design_effect, 1.0)] for group in groups])
    filled = np.maximum(trials, 1.0)
    # One success and one failure more, so that a small stratum in which all or nothing happened keeps a
    # variance (A. Agresti and B. Caffo, "Simple and effective confidence intervals", The American
    # Statistician 54, 2000). Past 1, where trials were lost on the way, successes are taken for Poisson's.
    share = (successes + 1.0) / (trials + 2.0)
    unit = np.where(share < 1.0, share * (1.0 - share), share)
    return _Cells(
        successes=successes,
        trials=trials,
        rates=np.where(trials > 0, successes / filled, 0.0),
        variances=np.where(trials > 0, design_effects * unit / filled, 0.0),
        mix_design_effect=np.array([max(group.mix_design_effect, 1.0) for group in groups]),
    )


def _are_comparable(cells: _Cells, common: NDArray[np.bool_]) -> NDArray[np.bool_]:
    trials, successes = cells.trials.sum(axis=1), cells.successes.sum(axis=1)
    stray = (cells.successes * (cells.trials <= 0)).sum(axis=1)
    return np.asarray(
        (common.sum(axis=1) >= MINIMUM_COMMON_STRATA)
        & ((cells.trials * common).sum(axis=1) >= MINIMUM_COMMON_SHARE * trials)
        & (stray <= MAXIMUM_STRAY_SHARE * successes)
    )


def _test_differences(gaps: Vector, a: _Cells, b: _Cells, weights: Matrix) -> Vector:
    """Return the two-sided p-values of pooled less stratified differences."""
    rates = (a.successes + b.successes) / np.maximum(a.trials + b.trials, 1.0)
    variances = np.zeros(len(gaps))
    for cells in (a, b):
        totals = cells.trials.sum(axis=1)
        mix = cells.trials / totals[:, None]
        spread = (mix * rates**2).sum(axis=1) - (mix * rates).sum(axis=1) ** 2
        variances += ((mix - weights) ** 2 * cells.variances).sum(axis=1)
        variances += cells.mix_design_effect * np.maximum(spread, 0.0) / totals
    # Where nothing varies there is one mix and one rate, and no gap either.
    return np.asarray(2.0 * ndtr(-np.abs(gaps) / np.sqrt(np.maximum(variances, 1e-300))))


def _count_trials(group: StratifiedGroup) -> int:
    return sum(trials for _, trials in group.cells.values())
