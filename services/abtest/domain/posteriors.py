"""Bayesian answers: how likely a variant beats control, and what shipping it is expected to cost.

They hold for whoever shares the prior; a verdict never rests on them, since looking until the probability is
high enough finds winners where there are none.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, special

from services.abtest.domain.contrasts import LinearContrast, Sample, contrast_linear, strata_of_kind
from services.abtest.domain.metrics import Metric
from services.abtest.domain.model import GroupCounts
from services.abtest.domain.proportions import Interval, normal_quantile
from services.abtest.domain.samples import Stratum
from services.abtest.domain.stratified_rates import usable_pairs

BETA_BINOMIAL = "beta_binomial_uniform_prior"
NORMAL = "normal_flat_prior"
NORMAL_STRATIFIED = "normal_flat_prior_post_stratified"
_FARTHEST_Z, _STEP = 8.5, 0.1

Array = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Posterior:
    """What a posterior says of a variant against control.

    `expected_loss` is what shipping the variant is expected to lose where it is worse, in the metric's unit;
    `credible_interval` has equal tails and is of the absolute lift. `method` names likelihood and prior.
    """

    probability_to_beat_control: float
    expected_loss: float
    credible_interval: Interval
    method: str


def compare_posteriors(
    metric: Metric, strata: Sequence[Stratum[Sample]], variant: int, *, confidence_level: float
) -> Posterior | None:
    """Return the posterior of group `variant` against control; None where nothing supports one.

    Rates in a single stratum have Beta posteriors, each rate's prior uniform; anything else has the normal
    one of the difference within strata, its prior flat.
    """
    counts = strata_of_kind(strata, GroupCounts)
    pairs = usable_pairs(counts, variant) if counts else []
    if len(pairs) == 1:
        return compare_rates(
            *pairs[0], confidence_level=confidence_level, higher_is_better=metric.higher_is_better
        )
    contrast = contrast_linear(metric, strata, variant)
    if contrast is None:
        return None
    return compare_normal(
        contrast,
        confidence_level=confidence_level,
        higher_is_better=metric.higher_is_better,
        method=NORMAL if len(strata) == 1 else NORMAL_STRATIFIED,
    )


def compare_normal(
    contrast: LinearContrast, *, confidence_level: float, higher_is_better: bool, method: str = NORMAL
) -> Posterior:
    """Return the posterior of a difference that is normal around the truth, with a flat prior.

    Source: A. Gelman et al. (2013), Bayesian Data Analysis, 3rd ed., section 2.5; the expected loss of a
    normal is that of H. Raiffa, R. Schlaifer (1961), Applied Statistical Decision Theory, section 5.4.
    """
    error = math.sqrt(contrast.control_variance + contrast.variant_variance)
    difference = contrast.variant - contrast.control
    radius = normal_quantile(confidence_level) * error
    z = difference / error if higher_is_better else -difference / error
    density = math.exp(-0.5 * z * z) / math.sqrt(2.0 * math.pi)
    return Posterior(
        probability_to_beat_control=float(special.ndtr(z)),
        expected_loss=max(0.0, error * (density - z * float(special.ndtr(-z)))),
        credible_interval=Interval(lower=difference - radius, upper=difference + radius),
        method=method,
    )


def compare_rates(
    control: GroupCounts, variant: GroupCounts, *, confidence_level: float, higher_is_better: bool = True
) -> Posterior:
    """Return the posterior of two rates that had uniform priors.

    The integral over the narrower posterior runs over its normal scores, where equal steps converge faster
    than any power of the step; the other one's part is in closed form.

    Source: T. Bayes (1763), Phil. Trans. 53, 370-418 (the uniform prior); C. Stucchio (2015), Bayesian A/B
    Testing at VWO (expected loss); L. N. Trefethen, J. A. C. Weideman (2014), SIAM Review 56, 385-458 (the
    rule).
    """
    better, other = (variant, control) if higher_is_better else (control, variant)
    win, loss = _win_and_loss(_Beta.of(better), _Beta.of(other))
    tail = (1.0 - confidence_level) / 2.0
    below = _difference_cdf(_Beta.of(control), _Beta.of(variant))
    return Posterior(
        probability_to_beat_control=win,
        expected_loss=loss,
        credible_interval=Interval(lower=_quantile(below, tail), upper=_quantile(below, 1.0 - tail)),
        method=BETA_BINOMIAL,
    )


@dataclass(frozen=True, kw_only=True)
class _Beta:
    """A rate's posterior: Beta(a, b)."""

    a: float
    b: float

    @classmethod
    def of(cls, counts: GroupCounts) -> "_Beta":
        return cls(a=1.0 + counts.conversions, b=1.0 + counts.users - counts.conversions)

    @property
    def mean(self) -> float:
        return self.a / (self.a + self.b)

    @property
    def variance(self) -> float:
        return self.mean * (1.0 - self.mean) / (self.a + self.b + 1.0)

    def below(self, x: Array) -> Array:
        return np.asarray(special.betainc(self.a, self.b, np.clip(x, 0.0, 1.0)))

    def mean_below(self, x: Array) -> Array:
        """Return E[X; X <= x]."""
        return np.asarray(self.mean * special.betainc(self.a + 1.0, self.b, np.clip(x, 0.0, 1.0)))

    def nodes(self) -> tuple[Array, Array]:
        """Return values and weights with which sums are expectations over this posterior."""
        scores = np.arange(-_FARTHEST_Z, _FARTHEST_Z + _STEP / 2.0, _STEP)
        weights = np.exp(-0.5 * scores**2)
        # Above the median by the complement, whose digits the probability itself would lose.
        values = np.where(
            scores < 0.0,
            special.betaincinv(self.a, self.b, special.ndtr(scores)),
            1.0 - special.betaincinv(self.b, self.a, special.ndtr(-scores)),
        )
        return values, weights / weights.sum()


def _win_and_loss(first: _Beta, second: _Beta) -> tuple[float, float]:
    """Return P(first > second), and E[second - first; second > first]."""
    if first.variance < second.variance:
        values, weights = first.nodes()
        above = 1.0 - second.below(values)
        loss = weights @ (second.mean - second.mean_below(values) - values * above)
        return float(weights @ second.below(values)), max(0.0, float(loss))
    values, weights = second.nodes()
    below = first.below(values)
    loss = weights @ (values * below - first.mean_below(values))
    return float(weights @ (1.0 - below)), max(0.0, float(loss))


def _difference_cdf(control: _Beta, variant: _Beta) -> Callable[[float], float]:
    """Return the distribution function of variant's rate less control's."""
    if control.variance < variant.variance:
        values, weights = control.nodes()
        return lambda difference: float(weights @ variant.below(values + difference))
    values, weights = variant.nodes()
    return lambda difference: float(weights @ (1.0 - control.below(values - difference)))


def _quantile(distribution: Callable[[float], float], probability: float) -> float:
    return float(optimize.brentq(lambda x: distribution(x) - probability, -1.0, 1.0, xtol=1e-12))
