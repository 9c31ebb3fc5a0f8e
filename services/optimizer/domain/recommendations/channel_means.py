"""The mean rate of a channel whose campaigns' rates may be skewed.

Of three campaigns that spread widely most lie below the mean, and close together, so that no number of
degrees of freedom keeps a t-test to its level: it asks how few campaigns there are, and the trouble is that
the large ones are missing. So rates are taken to be logit-normal behind their counts, with the spread s
integrated out under a half-Cauchy prior (Gelman, "Prior distributions for variance parameters in hierarchical
models", Bayesian Analysis 1, 2006, section 3.2): what the mean of the rates may be grows with s, which few
campaigns leave open. With normal logs and the prior 1 / s^2 it would be the generalized interval of a
log-normal mean (Krishnamoorthy & Mathew, J. Statistical Planning and Inference 115, 2003).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final, Self

import numpy as np
from scipy.special import ndtri

from services.optimizer.domain.features import FloatArray
from services.optimizer.domain.response.logit_normal import DEVIATIONS, Counts, fit_logit_normal
from services.optimizer.domain.response.response import logistic

PRIOR_SCALE: Final = 1.0
"""The spread of campaigns' logits that is as likely exceeded as not, before anything is known."""
_MEANS: Final[FloatArray] = ndtri((np.arange(21) + 0.5) / 21)
_CAMPAIGNS: Final[FloatArray] = ndtri((np.arange(40) + 0.5) / 40)
_LARGEST_LOG_RATIO: Final = 10.0
_HALVINGS: Final = 30


@dataclass(frozen=True, kw_only=True)
class MeanLaw:
    """The log of a channel's mean rate, as values in ascending order and their probabilities."""

    values: FloatArray
    probabilities: FloatArray

    @classmethod
    def of(cls, impressions: Sequence[int], conversions: Sequence[int]) -> Self:
        """What campaigns' counts make likely."""
        trials, places = np.array(impressions), np.arange(len(impressions))
        successes = np.minimum(np.array(conversions), trials)
        law = fit_logit_normal(Counts.of(places, trials, successes, np.zeros(len(trials))))
        logs = law.heights + np.log(DEVIATIONS) - np.log1p((DEVIATIONS / PRIOR_SCALE) ** 2)
        share = np.exp(logs - logs.max())
        means = law.means[:, np.newaxis] + np.sqrt(law.mean_variances)[:, np.newaxis] * _MEANS
        logits = means[:, :, np.newaxis] + DEVIATIONS[:, np.newaxis, np.newaxis] * _CAMPAIGNS
        values = np.log(logistic(logits).mean(axis=2)).ravel()
        order = np.argsort(values, kind="stable")
        probabilities = np.repeat(share / share.sum() / len(_MEANS), len(_MEANS))
        return cls(values=values[order], probabilities=probabilities[order])

    def probability_below(self, other: "MeanLaw", log_ratio: float = 0.0) -> float:
        """The probability that this mean over the other's is `exp(log_ratio)` or less."""
        places = np.searchsorted(self.values, other.values + log_ratio, side="right")
        return min(float(other.probabilities @ self._reached[places]), 1.0)

    @cached_property
    def _reached(self) -> FloatArray:
        """The probability of the first values, by how many they are."""
        return np.concatenate([[0.0], np.cumsum(self.probabilities)])

    def quantile_over(self, other: "MeanLaw", probability: float) -> float:
        """The log ratio of this mean to the other's that is not exceeded with the probability."""
        low, high = -_LARGEST_LOG_RATIO, _LARGEST_LOG_RATIO
        for _ in range(_HALVINGS):
            middle = (low + high) / 2.0
            is_below = self.probability_below(other, middle) < probability
            low, high = (middle, high) if is_below else (low, middle)
        return (low + high) / 2.0
