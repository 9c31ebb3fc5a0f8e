"""How good predictions are: exposure-weighted scores, and conformal intervals that hold their coverage."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from services.optimizer.domain.features import FloatArray, IntArray

INTERVAL_LEVELS: Final = (0.8, 0.9, 0.95)


def r2_score(observed: FloatArray, predicted: FloatArray, weights: FloatArray) -> float | None:
    """Return the weighted coefficient of determination; None where `observed` does not vary.

    1 - sum w (y - p)^2 / sum w (y - mean)^2, the mean weighted too.
    """
    mean = np.average(observed, weights=weights)
    spread = float(np.sum(weights * (observed - mean) ** 2))
    if spread <= 0.0:
        return None
    return 1.0 - float(np.sum(weights * (observed - predicted) ** 2)) / spread


def mean_absolute_error(observed: FloatArray, predicted: FloatArray, weights: FloatArray) -> float:
    """Return the weighted mean of |observed - predicted|."""
    return float(np.average(np.abs(observed - predicted), weights=weights))


def noise_ceiling(observed: FloatArray, rates: FloatArray, views: IntArray) -> float | None:
    """Return the R² that a perfect forecast of the rates would reach, at most about 1.

    A daily rate of `views` views scatters around its expectation by rate * (1 - rate) / views (binomial),
    which no model can explain; `rates` are the best estimates of the expectations. None where `observed`
    does not vary.
    """
    weights = views.astype(np.float64)
    mean = np.average(observed, weights=weights)
    spread = float(np.sum(weights * (observed - mean) ** 2))
    if spread <= 0.0:
        return None
    return 1.0 - float(np.sum(rates * (1.0 - rates))) / spread


@dataclass(frozen=True, kw_only=True)
class Conformal:
    """What turns a predicted rate into an interval for an observed daily rate.

    The score of a held-out row is |observed - predicted| / scale, where scale² = p (1 - p) / views +
    `model_variance`. `quantiles` holds, per coverage level, the ceil((n + 1) * level)-th smallest score: by
    exchangeability an interval of predicted ± quantile * scale covers a new row with at least that
    probability (Lei et al. 2018, "Distribution-free predictive inference for regression", theorem 2.2 and
    section 5.2).
    """

    model_variance: float
    quantiles: Mapping[float, float]

    def interval(
        self, rate: float, views: float, level: float = 0.9, *, more_variance: float = 0.0
    ) -> tuple[float, float]:
        """Return the interval, within [0, 1], for the rate of a day with `views` views.

        `more_variance` is what makes `rate` less certain than the rates that were calibrated on.
        """
        scale = _scale(np.array([rate]), np.array([views]), self.model_variance + more_variance)
        reach = self.quantiles[level] * float(scale[0])
        return max(0.0, rate - reach), min(1.0, rate + reach)


def calibrate(
    observed: FloatArray,
    predicted: FloatArray,
    views: IntArray,
    *,
    expected_views: FloatArray | None = None,
) -> Conformal:
    """Return the conformal scores' quantiles on held-out rows; a level that few rows cannot hold is left out.

    `expected_views` are the views that an interval of each row would have been made for, where these are not
    the row's own: intervals are then right for days that turn out smaller or larger than expected, as often
    as they do. `model_variance` is what the rows scatter beyond binomial noise, by moments, and at least a
    hundredth of the noise, so that no scale is 0.
    """
    counts = views.astype(np.float64)
    noise = predicted * (1.0 - predicted) / counts
    excess = np.average((observed - predicted) ** 2 - noise, weights=counts)
    model_variance = max(float(excess), 0.01 * float(np.average(noise, weights=counts)), 1e-12)
    sizes = counts if expected_views is None else expected_views
    scores = np.sort(np.abs(observed - predicted) / _scale(predicted, sizes, model_variance))
    ranks = {level: math.ceil((len(scores) + 1) * level) for level in INTERVAL_LEVELS}
    quantiles = {level: float(scores[rank - 1]) for level, rank in ranks.items() if rank <= len(scores)}
    return Conformal(model_variance=model_variance, quantiles=quantiles)


def _scale(rates: FloatArray, views: FloatArray, model_variance: float) -> FloatArray:
    return np.asarray(np.sqrt(rates * (1.0 - rates) / np.maximum(views, 1.0) + model_variance))
