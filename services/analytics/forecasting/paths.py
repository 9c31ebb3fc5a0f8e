"""How each method's expectation looked from every day of the history: the material of every backtest.

A path is the expectation of the coming days as it stood at the end of a day. All paths of a method come from
one pass over the series, and each knows nothing of the days after its own (see `ets` for its weights).
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from statsmodels.tools.sm_exceptions import ConvergenceWarning
from statsmodels.tsa.exponential_smoothing.ets import ETSModel

from services.analytics.forecasting.series import HORIZON, MINIMUM_DAYS, WEEK, Floats

SEASONAL_NAIVE = "seasonal_naive"
WEEKDAY_AVERAGE = "weekday_average"
ETS = "ets"
ETS_AND_WEEKDAY_AVERAGE = "ets_and_weekday_average"
CAMPAIGN_SCHEDULE = "campaign_schedule"

FIRST_ORIGIN = WEEK - 1
_HALF_LIFE_WEEKS = 8.0
_POOLED_WEEKS = 0.05
_ITERATIONS = 60
_SEASON = np.arange(HORIZON) % WEEK


@dataclass(frozen=True, kw_only=True)
class Paths:
    """What a method expected.

    `mean` (n, HORIZON): row t, column h - 1 is the expectation at the end of day t of day t + h; nan before
    the method could say anything. `variance` (n, HORIZON) is the variance around it up to a common factor.
    """

    method: str
    mean: Floats
    variance: Floats

    def times(self, presence: Floats) -> "Paths":
        """Return the paths of a subject that runs only a share of each day."""
        return Paths(method=self.method, mean=self.mean * presence, variance=self.variance * presence)


def seasonal_naive(values: Floats) -> Paths:
    """The same weekday of the last week known (Hyndman & Athanasopoulos, FPP3, section 5.2).

    The variance grows with the number of weeks ahead, as a random walk's does (FPP3, table 5.2).
    """
    mean = np.full((len(values), HORIZON), np.nan)
    last_weeks = np.lib.stride_tricks.sliding_window_view(values, WEEK)
    mean[FIRST_ORIGIN:] = last_weeks[:, _SEASON]
    weeks_ahead = 1.0 + np.arange(HORIZON) // WEEK
    return Paths(method=SEASONAL_NAIVE, mean=mean, variance=mean * weeks_ahead)


def weekday_average(values: Floats) -> Paths:
    """Mean of each weekday, exponentially weighted by age with a half-life of eight weeks.

    A twentieth of a week of the overall mean is added to each weekday, so that a weekday without a value is
    not thought to be impossible. The variance holds the error of the mean: 1 + 1 / (weighted weeks).
    """
    days = len(values)
    mean, variance = np.full((days, HORIZON), np.nan), np.full((days, HORIZON), np.nan)
    kept = 0.5 ** (1 / _HALF_LIFE_WEEKS)
    sums, weights = np.zeros(WEEK), np.zeros(WEEK)
    for day, value in enumerate(values):
        weekday = day % WEEK
        sums[weekday] = kept * sums[weekday] + value
        weights[weekday] = kept * weights[weekday] + 1
        if day >= FIRST_ORIGIN:
            pooled = sums.sum() / weights.sum()
            weeks = weights + _POOLED_WEEKS
            level = (sums + _POOLED_WEEKS * pooled) / weeks
            ahead = (day + 1 + _SEASON) % WEEK
            mean[day] = level[ahead]
            variance[day] = (level * (1 + 1 / weeks))[ahead]
    return Paths(method=WEEKDAY_AVERAGE, mean=mean, variance=variance)


def ets(values: Floats, refits: Sequence[int]) -> Paths:
    """Exponential smoothing with additive errors and weekly season, ETS(A,N,A), on square roots.

    Roots make the spread of counts even (Anscombe 1948) and keep the expectation from falling below zero. The
    smoothing weights are estimated by maximum likelihood (statsmodels; Hyndman et al. 2008) from the days
    before each of `refits` and used until the next. Those of the first serve the paths before it too, whose
    errors are what the first backtest learns from: it knows all of these days.
    """
    roots = np.sqrt(np.maximum(values, 0.0))
    mean = np.full((len(values), HORIZON), np.nan)
    for index, known in enumerate(refits):
        until = refits[index + 1] if index + 1 < len(refits) else len(values)
        level, season = _smooth(roots, known, until)
        for day in range(known - 1 if index else MINIMUM_DAYS - 1, until):
            ahead = level[day] + season[day - FIRST_ORIGIN : day + 1][_SEASON]
            mean[day] = np.maximum(ahead, 0.0) ** 2
    return Paths(method=ETS, mean=mean, variance=np.maximum(mean, 1e-9))


def average_of(first: Paths, second: Paths, method: str) -> Paths:
    """The mean of two methods, which tends to beat both (FPP3, section 13.4)."""
    return Paths(
        method=method,
        mean=(first.mean + second.mean) / 2,
        variance=(first.variance + second.variance) / 2,
    )


def _smooth(roots: Floats, known: int, until: int) -> tuple[Floats, Floats]:
    """Return level and season at the end of each day before `until`, with the weights of the first days."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore", ConvergenceWarning)
        warnings.simplefilter("ignore", RuntimeWarning)  # of a series that repeats itself exactly
        fit = ETSModel(
            roots[:known],
            error="add",
            seasonal="add",
            seasonal_periods=WEEK,
            initialization_method="heuristic",
        ).fit(disp=0, maxiter=_ITERATIONS)
        smoothed = ETSModel(
            roots[:until],
            error="add",
            seasonal="add",
            seasonal_periods=WEEK,
            initialization_method="known",
            initial_level=fit.initial_level,
            initial_seasonal=fit.initial_seasonal,
        ).smooth(fit.params)
    states = np.asarray(smoothed.states, dtype=np.float64)
    return states[:, 0], states[:, 1]


def refit_days(days: int, first_origin: int) -> Sequence[int]:
    """Return after how many days ETS estimates its weights: before the backtest, amid it, and at the end."""
    first = max(first_origin + 1, MINIMUM_DAYS)
    return sorted({min(first, days), min((first + days) // 2, days), days})
