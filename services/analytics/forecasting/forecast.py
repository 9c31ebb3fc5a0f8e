"""The forecast of one series: candidates, their rolling-origin backtest, the choice, and the days ahead."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from services.analytics.forecasting import paths as ways
from services.analytics.forecasting.paths import Paths
from services.analytics.forecasting.quantiles import LEVELS, predict_quantiles
from services.analytics.forecasting.scores import Scores, judge, weighted_interval_scores
from services.analytics.forecasting.series import (
    HORIZON,
    MINIMUM_DAYS,
    WEEK,
    Floats,
    Ints,
    Series,
    coming,
    targets_of,
)

ENDED = "ended"
FIRST_ORIGIN_DAYS = 21
LATEST_ORIGIN_DAYS = WEEK
LONGEST_BACKTEST_DAYS = 150
MOST_ORIGINS = 24
_MEDIAN = 2
_SMOOTHED_SHARE = 0.5
"""Smoothing weights are not estimated from days most of which are empty."""


@dataclass(frozen=True, kw_only=True)
class Backtest:
    """What forecasting in this way would have done; `scores` and `baseline` are over the same points.

    `days` are the different days among the points; each is forecast from many origins.
    `scores` are those of the whole procedure: at every origin the method that had done best until then.
    """

    scores: Scores
    baseline: Scores
    days: int

    @property
    def beats_baseline(self) -> bool:
        """Whether the procedure did better than the seasonal-naive baseline by weighted interval score."""
        return self.scores.weighted_interval_score < self.baseline.weighted_interval_score

    @property
    def served(self) -> Scores:
        """The scores of what is served: the baseline's where nothing beats it."""
        return self.scores if self.beats_baseline else self.baseline


@dataclass(frozen=True, kw_only=True)
class SeriesForecast:
    """The coming days of a series.

    `expected` (HORIZON) is the mean for a sparse series and the median for a dense one; `quantiles` (HORIZON,
    levels). `backtest` is None where the history is too short for one.
    """

    method: str
    expected: Floats
    quantiles: Floats
    backtest: Backtest | None


def forecast(series: Series, further: Sequence[Paths] = ()) -> SeriesForecast:
    """Forecast a series of at least MINIMUM_DAYS days; `further` candidates come before the common ones."""
    if series.days < MINIMUM_DAYS:
        raise ValueError(f"{series.days} days are too few to forecast")
    origins = backtest_origins(series.days)
    baseline = ways.seasonal_naive(series.values)
    judged = [*origins, series.days - 1]
    candidates = [way for way in further if np.isfinite(way.mean[judged]).all()]
    candidates += _candidates(series, int(judged[0]))
    targets = targets_of(series.values)[origins]
    targets[coming(series.presence)[origins] <= 0] = np.nan  # no merit in knowing that what is over is over
    known = np.isfinite(targets)
    if not known.any():
        return _look_ahead(series, candidates[0], None)
    naive = predict_quantiles(series, baseline, origins)
    tried = np.stack([predict_quantiles(series, way, origins) for way in candidates])
    chosen, best = _choose(targets, tried, origins)
    backtest = Backtest(
        scores=judge(series.values, targets[known], chosen[known]),
        baseline=judge(series.values, targets[known], naive[known]),
        days=len(np.unique((origins[:, np.newaxis] + np.arange(1, HORIZON + 1))[known])),
    )
    return _look_ahead(series, candidates[best] if backtest.beats_baseline else baseline, backtest)


def backtest_origins(days: int) -> Ints:
    """Return the indexes of the days at whose ends forecasting is tried, evenly spaced."""
    first = max(FIRST_ORIGIN_DAYS, days - LONGEST_BACKTEST_DAYS) - 1
    last = days - 1 - LATEST_ORIGIN_DAYS
    if last < first:
        return np.arange(0)
    step = max(1, -(-(last - first) // (MOST_ORIGINS - 1)))
    return np.arange(last, first - 1, -step)[::-1]


def _candidates(series: Series, first_origin: int) -> list[Paths]:
    """Return the methods that suit a series, the one to trust without evidence first."""
    average = ways.weekday_average(series.values)
    if not series.is_dense or float(np.mean(series.values[:first_origin] > 0)) < _SMOOTHED_SHARE:
        return [average]
    smoothed = ways.ets(series.values, ways.refit_days(series.days, first_origin))
    if not np.isfinite(smoothed.mean[MINIMUM_DAYS - 1 :]).all():
        return [average]  # nothing is left to estimate where every week is like the one before
    return [average, ways.average_of(smoothed, average, ways.ETS_AND_WEEKDAY_AVERAGE), smoothed]


def _choose(targets: Floats, tried: Floats, origins: Ints) -> tuple[Floats, int]:
    """Return at every origin the quantiles of the method that was best until then, and the best at the end.

    A forecast counts from the day on which all of its horizon is over, so that the choice at an origin knows
    nothing of what came after it.
    """
    known = np.isfinite(targets)
    scores = np.where(known, weighted_interval_scores(np.nan_to_num(targets), tried), 0.0).sum(axis=2)
    chosen = np.empty_like(tried[0])
    for index, origin in enumerate(origins):
        over = origins + HORIZON <= origin
        chosen[index] = tried[int(scores[:, over].sum(axis=1).argmin()), index]
    return chosen, int(scores.sum(axis=1).argmin())


def _look_ahead(series: Series, way: Paths, backtest: Backtest | None) -> SeriesForecast:
    if not series.presence[series.days :].any():
        nothing = np.zeros((HORIZON, len(LEVELS)))
        return SeriesForecast(method=ENDED, expected=nothing[:, 0], quantiles=nothing, backtest=backtest)
    quantiles = predict_quantiles(series, way, np.array([series.days - 1]))[0]
    mean = np.maximum(way.mean[-1] * series.presence[series.days :], 0.0)
    return SeriesForecast(
        method=way.method,
        expected=quantiles[:, _MEDIAN] if series.is_dense else mean,
        quantiles=quantiles,
        backtest=backtest,
    )
