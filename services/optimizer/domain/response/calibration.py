"""Whether predicted rates mean what they say: of views predicted to convert at 10 %, a tenth should.

Slope and intercept come from a logistic recalibration of the observed conversions on the predicted rates
(Cox 1958, "Two further applications of a model for binary regression"; Van Calster et al. 2016, "A
calibration hierarchy for risk models was defined", J. Clin. Epidemiol. 74):

    logit(rate) = intercept + logit(predicted)            calibration in the large
    logit(rate) = a + slope * logit(predicted)            1: right; below 1: predictions too extreme

One user's, one campaign's and one day's views are not independent. Intervals come from a sandwich clustered
by campaign and by day at once (`domain/clusters.py`), with Student's t of as many degrees of freedom as the
fewer clusters allow.
"""

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy.special import expit, stdtrit

from services.optimizer.domain.clusters import Spread, spread_of_sum
from services.optimizer.domain.features import FloatArray, IntArray
from services.optimizer.domain.response.climb import climb
from services.optimizer.domain.response.response import logit

CONFIDENCE_LEVEL: Final = 0.95
BINS: Final = 10
_SMALLEST_RATE: Final = 1e-6
_FEWEST_CLUSTERS: Final = 3
_SMALL_STEP: Final = 1e-8
_LARGEST_ERROR: Final = 1e3
"""Beyond it views tell no slope: predictions part conversions from the rest, or hardly vary."""


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A figure with its 95 % confidence interval."""

    point: float
    lower: float
    upper: float


@dataclass(frozen=True, kw_only=True)
class ReliabilityBin:
    """Views with like predictions: their mean prediction beside the rate that came."""

    views: int
    predicted_rate: float
    observed_rate: Estimate


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """How predictions compare with what came.

    `slope` is None where predictions do not vary or part what converted from the rest, or nothing or
    everything converted; `intercept` in the latter case, or where there are fewer than three campaigns or
    days to tell chance by. `expected_error` is the mean of |observed - predicted| over the bins, by views
    (Naeini, Cooper and Hauskrecht 2015); `error_by_chance` what rates that were exactly right would show for
    it, since bins scatter.
    """

    slope: Estimate | None
    intercept: Estimate | None
    expected_error: float | None
    error_by_chance: float | None
    bins: tuple[ReliabilityBin, ...]


@dataclass(frozen=True, kw_only=True)
class Outcomes:
    """Rows of rates: observed and predicted, their views, and the campaign and day that each belongs to."""

    observed: FloatArray
    predicted: FloatArray
    views: FloatArray
    campaign: IntArray
    day: IntArray

    def select(self, rows: IntArray) -> "Outcomes":
        """Return some of the rows, by position."""
        return Outcomes(
            observed=self.observed[rows],
            predicted=self.predicted[rows],
            views=self.views[rows],
            campaign=self.campaign[rows],
            day=self.day[rows],
        )

    @property
    def clusters(self) -> int:
        """How many campaigns or days there are, whichever are fewer."""
        return min(len(np.unique(self.campaign)), len(np.unique(self.day)))

    def spread(self, influence: FloatArray) -> Spread:
        """Return the spread of the sum of `influence` (rows,)."""
        return spread_of_sum(influence, self.campaign, self.day, self.views)


def measure_calibration(outcomes: Outcomes) -> Calibration:
    """Return how `outcomes.predicted` compares with what came."""
    if len(outcomes.predicted) == 0:
        return Calibration(slope=None, intercept=None, expected_error=None, error_by_chance=None, bins=())
    bins = tuple(_bin(outcomes.select(rows)) for rows in _equal_bins(outcomes))
    measured = [found for found in bins if found is not None]
    reliability = tuple(each for each, _ in measured)
    weights = np.array([each.views for each in reliability], dtype=np.float64)
    gaps = np.array([abs(each.observed_rate.point - each.predicted_rate) for each in reliability])
    by_chance = np.array([error for _, error in measured]) * math.sqrt(2.0 / math.pi)
    offset = logit(np.clip(outcomes.predicted, _SMALLEST_RATE, 1.0 - _SMALLEST_RATE))
    return Calibration(
        slope=_recalibrate(outcomes, offset, with_slope=True),
        intercept=_recalibrate(outcomes, offset, with_slope=False),
        expected_error=float(np.average(gaps, weights=weights)) if reliability else None,
        error_by_chance=float(np.average(by_chance, weights=weights)) if reliability else None,
        bins=reliability,
    )


def _recalibrate(outcomes: Outcomes, offset: FloatArray, *, with_slope: bool) -> Estimate | None:
    """Return the slope, or the intercept with the slope held at 1; None where it is undefined."""
    mean = float(np.average(outcomes.observed, weights=outcomes.views))
    if not 0.0 < mean < 1.0 or outcomes.clusters < _FEWEST_CLUSTERS:
        return None
    if with_slope and np.ptp(offset) <= 0.0:
        return None
    ones, middle = np.ones(len(offset)), float(np.average(offset, weights=outcomes.views))
    regression = _Regression(
        design=np.column_stack([ones, offset - middle]) if with_slope else ones[:, np.newaxis],
        offset=np.zeros(len(offset)) if with_slope else offset,
        views=outcomes.views,
        conversions=outcomes.views * outcomes.observed,
    )
    start = np.zeros(regression.design.shape[1])
    start[0] = logit(np.array([mean]))[0] - (0.0 if with_slope else middle)
    found = climb(start, regression.step, regression.log_likelihood, small_step=_SMALL_STEP)
    if found is None:
        return None
    information = regression.information(found)
    if float(np.linalg.inv(information)[-1, -1]) > _LARGEST_ERROR**2:
        return None
    influence = np.linalg.solve(information, (regression.design * regression.missing(found)[:, np.newaxis]).T)
    return _estimate(float(found[-1]), outcomes.spread(np.asarray(influence[-1], dtype=np.float64)))


@dataclass(frozen=True, kw_only=True)
class _Regression:
    """The logistic regression of rows' conversions on `design` (rows, k) beside a fixed `offset` (rows,)."""

    design: FloatArray
    offset: FloatArray
    views: FloatArray
    conversions: FloatArray

    def log_likelihood(self, coefficients: FloatArray) -> float:
        """Return the binomial log likelihood, up to a constant."""
        predictor = self.design @ coefficients + self.offset
        return float(np.sum(self.conversions * predictor - self.views * np.logaddexp(0.0, predictor)))

    def missing(self, coefficients: FloatArray) -> FloatArray:
        """Return the rows' conversions beyond those expected."""
        return np.asarray(self.conversions - self.views * expit(self.design @ coefficients + self.offset))

    def information(self, coefficients: FloatArray) -> FloatArray:
        """Return Fisher's information (k, k)."""
        rates = expit(self.design @ coefficients + self.offset)
        return np.asarray(self.design.T @ (self.design * (self.views * rates * (1.0 - rates))[:, np.newaxis]))

    def step(self, coefficients: FloatArray) -> FloatArray:
        """Return Newton's step."""
        score = self.design.T @ self.missing(coefficients)
        return np.asarray(np.linalg.solve(self.information(coefficients), score), dtype=np.float64)


def _equal_bins(outcomes: Outcomes) -> list[IntArray]:
    """Return the positions of the rows, by prediction, in bins of about as many views each.

    Equal predictions stay together.
    """
    order = np.argsort(outcomes.predicted, kind="stable")
    views = outcomes.views[order]
    middle = (np.cumsum(views) - views / 2.0) / views.sum()
    values, place = np.unique(outcomes.predicted[order], return_inverse=True)
    first = np.searchsorted(place, np.arange(len(values)))
    number = np.minimum((middle[first][place] * BINS).astype(np.int64), BINS - 1)
    return [order[number == each] for each in np.unique(number)]


def _bin(rows: Outcomes) -> tuple[ReliabilityBin, float] | None:
    """Return one bin and the standard error of its gap; None with too few campaigns or days to tell it."""
    if rows.clusters < _FEWEST_CLUSTERS:
        return None
    views = float(rows.views.sum())
    rate = float(np.average(rows.observed, weights=rows.views))
    predicted = float(np.average(rows.predicted, weights=rows.views))
    gap = rows.observed - rows.predicted - (rate - predicted)
    estimate = _estimate(rate, rows.spread(rows.views * (rows.observed - rate) / views))
    return (
        ReliabilityBin(
            views=int(views),
            predicted_rate=predicted,
            observed_rate=Estimate(
                point=rate, lower=max(0.0, estimate.lower), upper=min(1.0, estimate.upper)
            ),
        ),
        rows.spread(rows.views * gap / views).error,
    )


def _estimate(point: float, spread: Spread) -> Estimate:
    reach = float(stdtrit(spread.degrees_of_freedom, (1.0 + CONFIDENCE_LEVEL) / 2.0)) * spread.error
    return Estimate(point=point, lower=point - reach, upper=point + reach)
