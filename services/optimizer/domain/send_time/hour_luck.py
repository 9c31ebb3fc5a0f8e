"""How far hours of a campaign do better or worse than predicted, for all its users alike."""

from dataclasses import dataclass
from typing import Final

import numpy as np

from services.optimizer.domain.features import FloatArray
from services.optimizer.domain.grids import finer
from services.optimizer.domain.send_time.timing_gain import HOURS_ALIKE

USUAL_DEVIATION: Final = 0.2
PRIOR_WIDTH: Final = 0.7
"""Before anything is known hours of a campaign differ by 0.2 of the log, give or take a factor of two."""
LEAST_EXPECTED: Final = 0.25
"""Expected conversions below which an hour of a campaign tells nothing."""
_COARSE: Final[FloatArray] = np.linspace(np.log(0.02), np.log(1.2), 15)
_FINER: Final = 8
_GRID: Final[FloatArray] = finer(_COARSE, _FINER)
_UNKNOWN: Final = 1e6


@dataclass(frozen=True, kw_only=True)
class HourLuck:
    """The `variance` of an hour's log rate in a campaign, and the standard `error` that it is known to."""

    variance: float
    error: float


def estimate_hour_luck(conversions: FloatArray, means: FloatArray) -> HourLuck:
    """Return the luck of hours from conversions and their expectation (campaigns, 24).

    Of a campaign the relative residuals e = y / m - 1 have the covariance V = diag(1 / m) + s^2 K, K being
    `HOURS_ALIKE`, around a level of its own. That the level is fitted hides most of the luck where one hour
    has most of the deliveries, so s is found by the restricted likelihood, which has it integrated out
    (Patterson & Thompson, Biometrika 58, 1971): -1/2 (log |V| + log 1'V^-1 1 + r'V^-1 r) of r, the residuals
    less their weighted mean. Few campaigns leave the likeliest s anywhere, 0 included, so log s has a normal
    prior (Gelman, Bayesian Analysis 1, 2006), and the mean and deviation of s^2 given the data are returned.
    """
    tells = means >= LEAST_EXPECTED
    noise = np.where(tells, 1.0 / np.maximum(means, LEAST_EXPECTED), _UNKNOWN)
    apart = np.where(tells, conversions * noise - 1.0, 0.0)
    heights = np.zeros(len(_COARSE))
    for place, deviation in enumerate(np.exp(_COARSE)):
        covariance = noise[:, :, np.newaxis] * np.eye(means.shape[1]) + deviation**2 * HOURS_ALIKE
        precision = np.linalg.inv(covariance)
        weights = precision.sum(axis=1)
        total = weights.sum(axis=1)
        residual = apart - ((weights * apart).sum(axis=1) / total)[:, np.newaxis]
        squares = np.einsum("ch,chk,ck->c", residual, precision, residual)
        heights[place] = -0.5 * float((np.linalg.slogdet(covariance)[1] + np.log(total) + squares).sum())
    logs = finer(heights, _FINER) - 0.5 * np.square((_GRID - np.log(USUAL_DEVIATION)) / PRIOR_WIDTH)
    share = np.exp(logs - logs.max())
    share /= share.sum()
    variances = np.exp(2.0 * _GRID)
    mean = float(share @ variances)
    return HourLuck(variance=mean, error=float(np.sqrt(share @ np.square(variances - mean))))
