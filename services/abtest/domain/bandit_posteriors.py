"""Where each group's value lies, given the data: posteriors over all weight epochs.

A bandit's weights follow its outcomes, so values pooled over epochs mix up groups and times: whoever had more
traffic on a good day looks better, and users assigned just now, who had no time to convert, pull the leader
down. So an epoch weighs alike for all groups, by the harmonic mean of the groups' users.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt
from scipy import special

from services.abtest.domain.contrasts import Sample, estimate_strata
from services.abtest.domain.metrics import Metric
from services.abtest.domain.model import GroupCounts
from services.abtest.domain.proportions import Interval
from services.abtest.domain.samples import Stratum

Floats = npt.NDArray[np.float64]
_TAILS = np.array([0.025, 0.975])


class Posterior(Protocol):
    """Where one group's value lies."""

    @property
    def mean(self) -> float:
        """The value expected."""

    def quantiles(self, levels: Floats) -> Floats:
        """Return the values that are not exceeded with these probabilities."""

    def distribution(self, values: Floats) -> Floats:
        """Return the probability of at most each of these values."""


@dataclass(frozen=True, kw_only=True)
class BetaPosterior:
    """The posterior of a rate under a uniform prior.

    Source: A. Gelman et al. (2013), Bayesian Data Analysis, 3rd ed., section 2.4.
    """

    alpha: float
    beta: float

    @property
    def mean(self) -> float:
        """The rate expected."""
        return self.alpha / (self.alpha + self.beta)

    def quantiles(self, levels: Floats) -> Floats:
        """Return the rates that are not exceeded with these probabilities."""
        return np.asarray(special.betaincinv(self.alpha, self.beta, levels))

    def distribution(self, values: Floats) -> Floats:
        """Return the probability of at most each of these rates."""
        return np.asarray(special.betainc(self.alpha, self.beta, np.clip(values, 0.0, 1.0)))


@dataclass(frozen=True, kw_only=True)
class NormalPosterior:
    """The posterior of a mean or a ratio of sums, by the central limit theorem under a flat prior.

    Source: A. Gelman et al. (2013), Bayesian Data Analysis, 3rd ed., section 4.1.
    """

    mean: float
    standard_error: float

    def quantiles(self, levels: Floats) -> Floats:
        """Return the values that are not exceeded with these probabilities."""
        return np.asarray(self.mean + self.standard_error * special.ndtri(levels))

    def distribution(self, values: Floats) -> Floats:
        """Return the probability of at most each of these values."""
        return np.asarray(special.ndtr((values - self.mean) / self.standard_error))


def credible_interval(posterior: Posterior) -> Interval:
    """Return where the value lies with 95 % probability, equal tails."""
    lower, upper = posterior.quantiles(_TAILS)
    return Interval(lower=float(lower), upper=float(upper))


def stratified_posteriors(metric: Metric, strata: Sequence[Stratum[Sample]]) -> tuple[Posterior, ...] | None:
    """Return each group's posterior, post-stratified over weight epochs; None while a group's is undefined.

    A rate counts as many users as give the stratified rate's variance; with one epoch that is the
    beta-binomial posterior itself.

    Source: weights as W. G. Cochran (1954), Biometrics 10, 417-451; effective users as L. Kish (1965), Survey
    Sampling, section 11.7.
    """
    counted = [[group for group in stratum.groups if isinstance(group, GroupCounts)] for stratum in strata]
    if all(len(groups) == len(stratum.groups) for groups, stratum in zip(counted, strata, strict=True)):
        return _rate_posteriors([groups for groups in counted if all(each.users for each in groups)])
    return _value_posteriors(metric, strata)


def _rate_posteriors(epochs: Sequence[Sequence[GroupCounts]]) -> tuple[Posterior, ...] | None:
    if not epochs:
        return None
    users = np.array([[counts.users for counts in groups] for groups in epochs], dtype=np.float64)
    conversions = np.array([[counts.conversions for counts in groups] for groups in epochs])
    shares = _epoch_shares(users)
    rates = (shares * conversions / users).sum(axis=0)
    effective = 1.0 / (shares**2 / users).sum(axis=0)
    return tuple(
        BetaPosterior(alpha=round(1.0 + rate * size, 9), beta=round(1.0 + (1.0 - rate) * size, 9))
        for rate, size in zip(rates.tolist(), effective.tolist(), strict=True)
    )


def _value_posteriors(metric: Metric, strata: Sequence[Stratum[Sample]]) -> tuple[Posterior, ...] | None:
    estimates, _ = estimate_strata(metric, strata)
    usable = [
        [(group.users, group.value, group.squared_standard_error or 0.0) for group in stratum.groups]
        for stratum in estimates
        if all(group.degrees_of_freedom for group in stratum.groups)
    ]
    if not usable:
        return None
    table = np.array(usable, dtype=np.float64)
    shares = _epoch_shares(table[:, :, 0])
    means = (shares * table[:, :, 1]).sum(axis=0)
    errors = np.sqrt((shares**2 * table[:, :, 2]).sum(axis=0))
    if not errors.all():
        return None
    return tuple(
        NormalPosterior(mean=mean, standard_error=error)
        for mean, error in zip(means.tolist(), errors.tolist(), strict=True)
    )


def _epoch_shares(users: Floats) -> Floats:
    """Return each epoch's share, as a column, from users by epoch and group."""
    information = 1.0 / (1.0 / users).sum(axis=1)
    return np.asarray((information / math.fsum(information))[:, None])
