"""Sample-ratio mismatch: did the groups get the shares of users that their weights promise?

A mismatch means that users were lost or misplaced in one group, and then no comparison holds.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special

from services.abtest.domain.model import EpochCounts
from services.abtest.domain.proportions import SMALLEST_P_VALUE, floor_p_value

WARNING_BELOW = 0.01
"""A fixed test under this is worth a warning; looked at often, it is wrong more often than 1 %."""
ALARM_BELOW = 0.001
"""A sequential test under this invalidates the test; looked at ever so often, it is wrong at most 0.1 %."""
_PRIOR_CONCENTRATION = 20.0
_LN10 = math.log(10.0)


@dataclass(frozen=True, kw_only=True)
class SampleRatioCheck:
    """Both tests of the groups' shares: the fixed one (chi-squared), and the one safe at every look."""

    fixed_p_value: float
    sequential_p_value: float

    @property
    def warns(self) -> bool:
        """Whether the fixed test is under 0.01."""
        return self.fixed_p_value < WARNING_BELOW

    @property
    def alarms(self) -> bool:
        """Whether the sequential test is under 0.001."""
        return self.sequential_p_value < ALARM_BELOW


def check_sample_ratio(epochs: Sequence[EpochCounts]) -> SampleRatioCheck | None:
    """Return the tests over all weight epochs together, each against its own weights; None without users.

    Epochs are independent: their chi-squared statistics add up, and so do the logarithms of their Bayes
    factors.
    """
    statistic, degrees, log_e_value = 0.0, 0, 0.0
    for epoch in epochs:
        users = [counts.users for counts in epoch.groups]
        if sum(users):
            statistic += chi_squared_statistic(users, epoch.weights)
            degrees += len(users) - 1
            log_e_value += log_bayes_factor(users, epoch.weights)
    if not degrees:
        return None
    return SampleRatioCheck(
        fixed_p_value=max(SMALLEST_P_VALUE, float(special.chdtrc(degrees, statistic))),
        sequential_p_value=floor_p_value(-log_e_value / _LN10),
    )


def chi_squared_statistic(users: Sequence[int], weights: Sequence[float]) -> float:
    """Return Pearson's goodness-of-fit statistic of `users` against positive `weights` that sum to 1.

    Source: K. Pearson (1900); its use on assignments, A. Fabijan et al. (2019), KDD, 2156-2164.
    """
    total = sum(users)
    return sum(
        (seen - total * weight) ** 2 / (total * weight) for seen, weight in zip(users, weights, strict=True)
    )


def log_bayes_factor(users: Sequence[int], weights: Sequence[float]) -> float:
    """Return `log_bayes_factors` of one test's groups."""
    return float(log_bayes_factors(np.asarray(users), weights))


def log_bayes_factors(users: NDArray[np.int64], weights: Sequence[float]) -> NDArray[np.float64]:
    """Return the log Bayes factor of any shares against the promised ones: a martingale under the latter.

    The last axis of `users` is the groups; one factor is returned for each place on the other axes. The
    alternative is a Dirichlet prior around `weights` with total concentration 20: it finds 48/52 at 28,000
    users in over 95 % of tests, and an empty group of two after 30 users.

    Source: M. Lindon, A. Malek (2022), Anytime-valid inference for multinomial count data, NeurIPS 35.
    """
    promised = np.asarray(weights)
    prior = _PRIOR_CONCENTRATION * promised
    by_group = special.gammaln(prior + users) - special.gammaln(prior) - users * np.log(promised)
    total = special.gammaln(_PRIOR_CONCENTRATION + users.sum(axis=-1))
    return np.asarray(special.gammaln(_PRIOR_CONCENTRATION) - total + by_group.sum(axis=-1))
