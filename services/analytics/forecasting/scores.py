"""How good quantile forecasts were."""

from dataclasses import dataclass

import numpy as np

from services.analytics.forecasting.series import WEEK, Bools, Floats

_MEDIAN = 2
_INTERVALS = ((1, 3, 0.2), (0, 4, 0.05))
"""Columns of the lower and upper quantile, and the probability outside: the 80 % and the 95 % interval."""


@dataclass(frozen=True, kw_only=True)
class Scores:
    """What a backtest found; fractions in [0, 1], scores in the unit of the series.

    Coverage leaves out the days that were sure to be 0 and were (`is_sure`); None where none is left.
    `mean_absolute_scaled_error` is None where the series repeats itself week by week exactly.
    """

    points: int
    coverage_80: float | None
    coverage_95: float | None
    weighted_interval_score: float
    mean_absolute_scaled_error: float | None


def weighted_interval_scores(values: Floats, quantiles: Floats) -> Floats:
    """Return the weighted interval score of each value; lower is better.

    Bracher, Ray, Gneiting & Reich 2021, equation 2, with K = 2 intervals:
    (|y - m| / 2 + sum over k of alpha_k / 2 * IS_k) / (K + 1/2), where
    IS = (u - l) + 2/alpha * max(l - y, 0) + 2/alpha * max(y - u, 0).
    """
    total = np.abs(values - quantiles[..., _MEDIAN]) / 2
    for lower, upper, outside in _INTERVALS:
        low, high = quantiles[..., lower], quantiles[..., upper]
        misses = np.maximum(low - values, 0.0) + np.maximum(values - high, 0.0)
        total = total + outside / 2 * (high - low) + misses
    return np.asarray(total / (len(_INTERVALS) + 0.5), dtype=np.float64)


def covers(values: Floats, quantiles: Floats, *, interval: int) -> Bools:
    """Return whether each value lies in the interval: 0 is that of 80 %, 1 that of 95 %."""
    lower, upper, _ = _INTERVALS[interval]
    return np.asarray((values >= quantiles[..., lower]) & (values <= quantiles[..., upper]))


def is_sure(values: Floats, quantiles: Floats) -> Bools:
    """Return which values of 0 the 80 % interval had left no doubt about, as on days without a sending.

    They say nothing of an interval's width, and would flatter its coverage. A value on such a day is a miss.
    """
    return np.asarray((quantiles[..., _INTERVALS[0][1]] <= 0) & (values <= 0))


def judge(history: Floats, values: Floats, quantiles: Floats) -> Scores:
    """Score forecasts of `values` (points) by `quantiles` (points, levels).

    The scaled error is the mean absolute error of the medians over that of the value of a week before, within
    the history (Hyndman & Koehler 2006).
    """
    naive = float(np.abs(history[WEEK:] - history[:-WEEK]).mean()) if len(history) > WEEK else 0.0
    error = float(np.abs(values - quantiles[:, _MEDIAN]).mean())
    open_points = ~is_sure(values, quantiles)
    return Scores(
        points=len(values),
        coverage_80=_mean(covers(values, quantiles, interval=0)[open_points]),
        coverage_95=_mean(covers(values, quantiles, interval=1)[open_points]),
        weighted_interval_score=float(weighted_interval_scores(values, quantiles).mean()),
        mean_absolute_scaled_error=error / naive if naive > 0 else None,
    )


def _mean(covered: Bools) -> float | None:
    return float(covered.mean()) if len(covered) else None
