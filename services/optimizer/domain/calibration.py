"""Whether predicted rates mean what they say: of views predicted to convert at 10 %, a tenth should.

Slope and intercept come from a logistic recalibration of the observed conversions on the predicted rates
(Cox 1958, "Two further applications of a model for binary regression"; Van Calster et al. 2016, "A
calibration hierarchy for risk models was defined", J. Clin. Epidemiol. 74):

    logit(rate) = intercept + logit(predicted)            calibration in the large
    logit(rate) = a + slope * logit(predicted)            1: right; below 1: predictions too extreme

One user's, one campaign's and one day's views are not independent. Intervals come from a sandwich clustered
by campaign and by day at once (Cameron, Gelbach and Miller 2011, "Robust inference with multiway clustering",
equation 2.13), with Student's t of as many degrees of freedom as the fewer clusters allow.
"""

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy.special import stdtrit

from services.optimizer.domain.features import FloatArray, IntArray
from services.optimizer.domain.response import logistic, logit

CONFIDENCE_LEVEL: Final = 0.95
BINS: Final = 10
_SMALLEST_RATE: Final = 1e-6
_FEWEST_CLUSTERS: Final = 3
_STEPS: Final = 50
_SMALL_STEP: Final = 1e-10


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

    `slope` is None where predictions do not vary, or nothing or everything converted; `intercept` in the
    latter case, or where there are fewer than three campaigns or days to tell chance by. `expected_error` is
    the mean of |observed - predicted| over the bins, by views (Naeini, Cooper and Hauskrecht 2015);
    `error_by_chance` what rates that were exactly right would show for it, since bins scatter.
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
    def degrees_of_freedom(self) -> int:
        """One less than the fewer of campaigns and days."""
        return min(len(np.unique(self.campaign)), len(np.unique(self.day))) - 1


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
    freedom = outcomes.degrees_of_freedom
    if not 0.0 < mean < 1.0 or freedom < _FEWEST_CLUSTERS - 1:
        return None
    if with_slope and np.ptp(offset) <= 0.0:
        return None
    ones = np.ones(len(offset))
    design = np.column_stack([ones, offset]) if with_slope else ones[:, np.newaxis]
    fixed = np.zeros(len(offset)) if with_slope else offset
    coefficients = np.zeros(design.shape[1])
    coefficients[0] = 0.0 if not with_slope else logit(np.array([mean]))[0]
    for _ in range(_STEPS):
        rates = logistic(design @ coefficients + fixed)
        information = design.T @ (design * (outcomes.views * rates * (1.0 - rates))[:, np.newaxis])
        score = design.T @ (outcomes.views * (outcomes.observed - rates))
        step = np.linalg.solve(information, score)
        coefficients = coefficients + step
        if float(np.max(np.abs(step))) < _SMALL_STEP:
            break
    residual = outcomes.views * (outcomes.observed - logistic(design @ coefficients + fixed))
    influence = np.asarray(np.linalg.solve(information, (design * residual[:, np.newaxis]).T)[-1])
    return _estimate(float(coefficients[-1]), _clustered_error(influence, outcomes), freedom)


def _clustered_error(influence: FloatArray, outcomes: Outcomes) -> float:
    """Return the standard error of a sum of influences (rows,) that campaigns and days share.

    The two-way variance can come out smaller than that of one way alone, by chance; the largest is taken.
    """
    ways = [_sum_of_squares(influence, key) for key in (outcomes.campaign, outcomes.day)]
    both = outcomes.campaign * (int(outcomes.day.max()) + 1) + outcomes.day
    return math.sqrt(max(*ways, sum(ways) - _sum_of_squares(influence, both)))


def _sum_of_squares(influence: FloatArray, key: IntArray) -> float:
    """Return the sum of the clusters' squared sums, corrected for the number of clusters."""
    clusters, inverse = np.unique(key, return_inverse=True)
    count = len(clusters)
    return float(np.sum(np.bincount(inverse, weights=influence) ** 2)) * count / max(count - 1, 1)


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
    freedom = rows.degrees_of_freedom
    if freedom < _FEWEST_CLUSTERS - 1:
        return None
    views = float(rows.views.sum())
    rate = float(np.average(rows.observed, weights=rows.views))
    predicted = float(np.average(rows.predicted, weights=rows.views))
    error = _clustered_error(rows.views * (rows.observed - rate) / views, rows)
    gap = rows.observed - rows.predicted - (rate - predicted)
    estimate = _estimate(rate, error, freedom)
    return (
        ReliabilityBin(
            views=int(views),
            predicted_rate=predicted,
            observed_rate=Estimate(
                point=rate, lower=max(0.0, estimate.lower), upper=min(1.0, estimate.upper)
            ),
        ),
        _clustered_error(rows.views * gap / views, rows),
    )


def _estimate(point: float, error: float, freedom: int) -> Estimate:
    reach = float(stdtrit(freedom, (1.0 + CONFIDENCE_LEVEL) / 2.0)) * error
    return Estimate(point=point, lower=point - reach, upper=point + reach)
