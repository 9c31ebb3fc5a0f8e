"""A normal law of logits behind binomial counts: its mean and spread by their marginal likelihood.

Levels estimated one by one and then compared mislead where counts are few: half a success added pulls them
towards 1/2, and the variance of their error goes with themselves. So the levels are integrated out, by
adaptive Gauss-Hermite quadrature (Pinheiro & Bates, "Approximations to the log-likelihood function in the
nonlinear mixed-effects model", J. Comput. Graph. Stat. 4 (1995), section 2.4); the mean too, as in restricted
likelihood (Harville, JASA 72 (1977)). The logarithm of the deviation has a weak prior, or the likeliest one
of few groups would often be 0, and so has the mean, or it would be infinite where nothing succeeded.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

from services.optimizer.domain.features import FloatArray, IntArray
from services.optimizer.domain.grids import finer
from services.optimizer.domain.response.response import logistic, logit

USUAL_DEVIATION: Final = 0.4
"""What groups' logits differ by before anything is known, give or take a factor of e."""
MEAN_SPREAD: Final = 5.0
"""Prior standard deviation of the mean around 0: rates of 0.03 % to 99.97 % are usual."""
_NODES, _WEIGHTS = np.polynomial.hermite_e.hermegauss(9)
_COARSE: Final = np.linspace(np.log(0.01), np.log(4.0), 25)
_FINER: Final = 8
_GRID: Final = finer(_COARSE, _FINER)
DEVIATIONS: Final = np.exp(_GRID)
"""What groups' logits may differ by, each 3 % above the one before, since a thousand groups tell it to 2 %.
The likelihood is integrated at every eighth of them, and smooth between."""
_ROUNDS: Final = 25
"""Three to ten are enough, but where nothing or all succeeded, and there the rest moves no interval."""
_STEPS: Final = 3
_LARGEST_STEP: Final = 1.0
_DONE: Final = 1e-4
_LEAST_INFORMATION: Final = 1e-9


@dataclass(frozen=True, kw_only=True)
class Counts:
    """Trials and successes in rows of groups 0, 1, ..., sorted by group, none of which is without a row.

    `effect` is what is known of a row's logit beside its group's level; `starts` are groups' first rows.
    """

    position: IntArray
    trials: FloatArray
    successes: FloatArray
    effect: FloatArray
    starts: IntArray

    @classmethod
    def of(cls, position: IntArray, trials: IntArray, successes: IntArray, effect: FloatArray) -> "Counts":
        """Add up rows of one group and effect, which nothing tells apart."""
        keys, place = np.unique(np.stack([position.astype(np.float64), effect]), axis=1, return_inverse=True)
        place = place.reshape(-1)
        groups = keys[0].astype(np.int64)
        return cls(
            position=groups,
            trials=np.bincount(place, trials).astype(np.float64),
            successes=np.bincount(place, successes).astype(np.float64),
            effect=keys[1],
            starts=np.searchsorted(groups, np.arange(groups[-1] + 1)),
        )

    def total(self, values: FloatArray) -> FloatArray:
        """Return the sums of rows' values (rows, deviations) by group."""
        return np.asarray(np.add.reduceat(values, self.starts, axis=0))

    def slope(self, levels: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return the log likelihood's first derivative and its information at groups' levels."""
        rates = logistic(levels[self.position] + self.effect[:, None])
        missing = self.successes[:, None] - self.trials[:, None] * rates
        return self.total(missing), self.total(self.trials[:, None] * rates * (1.0 - rates))

    def log_likelihood(self, levels: FloatArray) -> FloatArray:
        """Return it by group, up to a constant."""
        logits = levels[self.position] + self.effect[:, None]
        return self.total(self.successes[:, None] * logits - self.trials[:, None] * np.logaddexp(0.0, logits))


@dataclass(frozen=True, kw_only=True)
class LogitNormal:
    """The likeliest law, what each group told, and how likely others are.

    `levels` are groups' likeliest ones under the law, `responses` what their counts alone say of them (to
    first order, Breslow & Clayton, JASA 88 (1993), section 2.3), with the variances `errors`. By each of
    `DEVIATIONS`: `heights` are the restricted log likelihoods before any prior of the deviation, `means` the
    likeliest means and `mean_variances` their errors.
    """

    mean: float
    variance: float
    levels: FloatArray
    responses: FloatArray
    errors: FloatArray
    heights: FloatArray
    means: FloatArray
    mean_variances: FloatArray


def fit_logit_normal(counts: Counts) -> LogitNormal:
    """Return the law of groups' levels."""
    heights, means, mean_variances = (finer(each, _FINER) for each in _climb(counts, np.exp(_COARSE))[:3])
    deviation = np.exp(_peak(_GRID, heights - 0.5 * (_GRID - np.log(USUAL_DEVIATION)) ** 2))
    _, mean, _, levels = _climb(counts, np.array([deviation]))
    missing, information = counts.slope(levels)
    known = np.maximum(information[:, 0], _LEAST_INFORMATION)
    return LogitNormal(
        mean=float(mean[0]),
        variance=float(deviation**2),
        levels=levels[:, 0],
        responses=levels[:, 0] + missing[:, 0] / known,
        errors=1.0 / known,
        heights=heights,
        means=means,
        mean_variances=mean_variances,
    )


def _climb(counts: Counts, deviations: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
    """Return by deviation the restricted log likelihood, the likeliest mean, its variance, groups' levels."""
    variances = deviations**2
    start = logit(np.array([(counts.successes.sum() + 0.5) / (counts.trials.sum() + 1.0)]))
    mean = start - np.average(counts.effect, weights=np.maximum(counts.trials, 1e-9)) + 0.0 * deviations
    levels = np.tile(mean, (len(counts.starts), 1))
    for _ in range(_ROUNDS):
        for _ in range(_STEPS):
            missing, information = counts.slope(levels)
            apart = (missing - (levels - mean) / variances) / (information + 1.0 / variances)
            levels = levels + np.clip(apart, -_LARGEST_STEP, _LARGEST_STEP)
        _, information = counts.slope(levels)
        heights, expected = _integrate(counts, levels, mean, variances, information)
        weight = np.sum(information / (1.0 + information * variances), axis=0) + MEAN_SPREAD**-2
        step = (np.sum(expected - mean, axis=0) / variances - mean / MEAN_SPREAD**2) / weight
        mean = mean + np.clip(step, -_LARGEST_STEP, _LARGEST_STEP)
        if max(float(np.abs(apart).max()), float(np.abs(step).max())) < _DONE:
            break
    restricted = heights - 0.5 * (mean / MEAN_SPREAD) ** 2 - 0.5 * np.log(weight)
    return restricted, mean, 1.0 / weight, levels


def _integrate(
    counts: Counts, levels: FloatArray, mean: FloatArray, variances: FloatArray, information: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Return the log marginal likelihood by deviation, and groups' expected levels, around the likeliest."""
    widths = (information + 1.0 / variances) ** -0.5
    logs, places = [], []
    for node, weight in zip(_NODES, _WEIGHTS, strict=True):
        place = levels + widths * node
        apart = 0.5 * (place - mean) ** 2 / variances
        logs.append(counts.log_likelihood(place) - apart + 0.5 * node**2 + np.log(weight))
        places.append(place)
    heights = np.logaddexp.reduce(logs, axis=0)
    expected = np.sum(np.exp(np.array(logs) - heights) * np.array(places), axis=0)
    return np.sum(heights + np.log(widths) - 0.5 * np.log(variances), axis=0), expected


def _peak(grid: FloatArray, heights: FloatArray) -> float:
    """Return where the parabola through the highest point and its neighbours peaks."""
    best = int(np.clip(np.argmax(heights), 1, len(grid) - 2))
    left, middle, right = heights[best - 1 : best + 2]
    bend = left - 2.0 * middle + right
    shift = 0.5 * (left - right) / bend if bend < 0.0 else 0.0
    return float(grid[best] + np.clip(shift, -1.0, 1.0) * (grid[1] - grid[0]))
