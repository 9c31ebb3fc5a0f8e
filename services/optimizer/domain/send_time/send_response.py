"""What an answer to a delivery depends on: campaign, hour or weekday, the user and the user's activity then.

One logistic regression with normal priors (ridge penalties; le Cessie & van Houwelingen 1992), fitted to
users' pooled deliveries:

    logit rate = intercept + type + campaign + cell + cell for the type + influence + the user's level

Campaigns have effects, because those that send at an hour differ from those that do not. A cell where nothing
was sent gets the effect 0: untried is not bad.
"""

from dataclasses import dataclass, replace
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit

from services.optimizer.domain.send_time.activity import Influence, log_activity
from services.optimizer.domain.send_time.counts import TYPES, FloatArray, IntArray

LEAST_SUCCESSES: Final = 50
LEAST_TRIALS_OF_CELL: Final = 30
LEAST_CELLS: Final = 3
MOST_CAMPAIGNS: Final = 400
"""Campaigns with an effect of their own, those with most trials; the others share one."""
BINS: Final = 16
DEVIATIONS: Final = {
    "intercept": 10.0,
    "type": 1.0,
    "campaign": 0.7,
    "cell": 0.3,
    "type_cell": 0.15,
    "influence": 1.0,
}
"""Standard deviations of the priors, on the logit; those of cells are where the search for them starts."""
USUAL_INFLUENCE: Final = Influence(of_log=0.5, of_share=0.0)
LEVEL_ROUNDS: Final = 10
LEVEL_STEPS: Final = 100
LEVEL_TOLERANCE: Final = 1e-6
FIRST_LEVEL_VARIANCE: Final = 0.25
LEAST_VARIANCE: Final = 1e-4
NEARLY_NOTHING: Final = 1e-3
_STEPS: Final = 100
_TOLERANCE: Final = 1e-3


@dataclass(frozen=True, kw_only=True)
class Response:
    """logit rate = `offset` (types, cells) + `influence` of activity + the user's level.

    Levels have the mean 0 and the variance given. `uncertainty` (types, cells, cells) is the covariance of a
    type's logits at mean activity: what users share is not known exactly either. Type 0 stands for all types
    as they were sent. None where it was not kept.
    """

    offset: FloatArray
    influence: Influence
    level_variance: float = 0.0
    uncertainty: FloatArray | None = None

    def logit_of(self, relative: FloatArray) -> FloatArray:
        """Logit of the rate of each type at relative activity (..., cells), level 0: (..., types, cells)."""
        return np.asarray(
            self.offset + self.influence.logit_of(relative)[..., np.newaxis, :], dtype=np.float64
        )


@dataclass(frozen=True, kw_only=True)
class Outcomes:
    """Trials and successes (deliveries and views, or views and conversions) by user, campaign and cell.

    `relative` is the user's relative activity in the cell; `campaign` numbers campaigns from 0.
    """

    campaign: IntArray
    campaign_type: IntArray
    cell: IntArray
    relative: FloatArray
    trials: FloatArray
    successes: FloatArray


def fit_response(outcomes: Outcomes, cells: int) -> Response | None:
    """Fit the response; None where what the cell does cannot be told from what was sent in it.

    That is where fewer than 50 trials succeeded, or fewer than three cells were tried 30 times, or the fit
    does not settle, as where activity alone parts the trials that succeeded from the rest.
    """
    tried = np.bincount(outcomes.cell, outcomes.trials, cells)
    if outcomes.successes.sum() < LEAST_SUCCESSES or (tried >= LEAST_TRIALS_OF_CELL).sum() < LEAST_CELLS:
        return None
    features, activity_bin = _bins(outcomes.relative, outcomes.trials)
    campaign = _often(outcomes.campaign, outcomes.trials)
    key = np.stack([campaign, outcomes.campaign_type, outcomes.cell, activity_bin], axis=1)
    groups, group = np.unique(key, axis=0, return_inverse=True)
    n = np.bincount(group.ravel(), outcomes.trials).astype(np.float64)
    y = np.bincount(group.ravel(), outcomes.successes).astype(np.float64)
    fitted = _fit_ridge(groups, features, n, y, cells)
    if fitted is None:
        return None
    coefficients, covariance = fitted
    first_cell = 1 + TYPES
    of_cell = coefficients[first_cell : first_cell + cells]
    of_both = coefficients[first_cell + cells : first_cell + cells * (1 + TYPES)].reshape(TYPES, cells)
    kinds = coefficients[0] + coefficients[1:first_cell]
    offset = kinds[:, np.newaxis] + of_cell + of_both
    share = np.bincount(outcomes.campaign_type, outcomes.trials, TYPES) / outcomes.trials.sum()
    return Response(
        offset=offset,
        uncertainty=_uncertainty(covariance, offset, share),
        influence=Influence(
            of_log=float(coefficients[_log_column(cells)]),
            of_share=float(coefficients[_log_column(cells) + 1]),
        ),
    )


def _uncertainty(covariance: FloatArray, offset: FloatArray, share: FloatArray) -> FloatArray:
    """`Response.uncertainty` from the coefficients' covariance; for all types by the delta method."""
    cells = offset.shape[1]
    kind, cell = np.divmod(np.arange(TYPES * cells), cells)
    row = np.arange(TYPES * cells)
    columns = np.zeros((TYPES * cells, len(covariance)))
    columns[:, 0] = 1.0
    columns[row, 1 + kind] = 1.0
    columns[row, 1 + TYPES + cell] = 1.0
    columns[row, 1 + TYPES + cells + row] = 1.0
    columns[:, _log_column(cells)] = log_activity(np.ones(1))
    columns[:, _log_column(cells) + 1] = 1.0
    joint = (columns @ covariance @ columns.T).reshape(TYPES, cells, TYPES, cells)
    rate = expit(offset)
    mean = share @ rate
    weight = share[:, np.newaxis] * rate * (1.0 - rate) / (mean * (1.0 - mean))
    of_types = np.array([joint[each, :, each, :] for each in range(TYPES)], dtype=np.float64)
    of_types[0] = np.einsum("kh,khlj,lj->hj", weight, joint, weight)
    return of_types


def user_levels(
    response: Response, relative: FloatArray, trials: FloatArray, successes: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Each user's level on the logit and its variance (users), by Laplace's approximation.

    `relative` activity (users, cells), `trials` and `successes` (users, types, cells). Users without trials
    have the prior's: 0 and `level_variance`.

    Newton's steps of at most 1 reach the mode, wherever it is: within a distance of 1 the information changes
    by a factor of e at most, so that a step goes past the mode by less than it was away from it.
    """
    base = response.logit_of(relative)
    level = np.zeros(len(relative))
    precision = 1.0 / max(response.level_variance, LEAST_VARIANCE)
    information = np.full(len(relative), precision)
    for _ in range(LEVEL_STEPS):
        rate = expit(base + level[:, np.newaxis, np.newaxis])
        gradient = (successes - trials * rate).sum(axis=(1, 2)) - precision * level
        information = (trials * rate * (1.0 - rate)).sum(axis=(1, 2)) + precision
        step = np.clip(gradient / information, -1.0, 1.0)
        level = level + step
        if np.abs(step).max(initial=0.0) < LEVEL_TOLERANCE:
            break
    return level, 1.0 / information


def fit_levels(
    response: Response, relative: FloatArray, trials: FloatArray, successes: FloatArray
) -> Response:
    """The response with the likeliest mean (kept in the offset) and variance of users' levels, by EM."""
    answered = trials.sum(axis=(1, 2)) > 0
    response = replace(response, level_variance=FIRST_LEVEL_VARIANCE)
    for _ in range(LEVEL_ROUNDS if answered.any() else 0):
        level, uncertainty = user_levels(response, relative[answered], trials[answered], successes[answered])
        mean = float(level.mean())
        response = replace(
            response,
            offset=response.offset + mean,
            level_variance=float(((level - mean) ** 2 + uncertainty).mean()),
        )
    return response


def _bins(relative: FloatArray, trials: FloatArray) -> tuple[FloatArray, IntArray]:
    """Mean log activity and activity of bins of equal trials (bins, 2), and each row's bin (rows)."""
    order = np.argsort(relative, kind="stable")
    reached = np.cumsum(trials[order])
    activity_bin = np.empty(len(relative), dtype=np.intp)
    activity_bin[order] = np.minimum((reached * BINS / reached[-1]).astype(np.intp), BINS - 1)
    total = np.maximum(np.bincount(activity_bin, trials, BINS), 1e-12)
    features = [
        np.bincount(activity_bin, trials * feature, BINS) / total
        for feature in (log_activity(relative), relative)
    ]
    return np.stack(features, axis=1), activity_bin


def _log_column(cells: int) -> int:
    """The column of log activity; that of activity comes after it, and campaigns after that."""
    return 1 + TYPES + cells * (1 + TYPES)


def _often(campaign: IntArray, trials: FloatArray) -> IntArray:
    """Campaigns by their trials, the most first, from 0; all beyond the most share the last number."""
    total = np.bincount(campaign, trials)
    rank = np.empty(len(total), dtype=np.intp)
    rank[np.argsort(-total, kind="stable")] = np.arange(len(total))
    return np.minimum(rank, MOST_CAMPAIGNS)[campaign]


def _fit_ridge(
    groups: IntArray, features: FloatArray, n: FloatArray, y: FloatArray, cells: int
) -> tuple[FloatArray, FloatArray] | None:
    """Coefficients in the order of `_Design`'s columns, and their covariance; None where they do not settle.

    Influences that come out below 0 are held at 0.
    """
    design = _Design.of(groups, features, cells)
    centre = np.zeros(design.size)
    centre[0] = logit(np.clip(y.sum() / n.sum(), 1e-4, 1 - 1e-4))
    centre[_log_column(cells)] = USUAL_INFLUENCE.of_log
    influence = _log_column(cells) + np.arange(2)
    while True:
        fitted = _fit_quasi_likelihood(design, centre, n, y)
        if fitted is None:
            return None
        coefficients, covariance = fitted
        is_held = design.variance[influence] <= NEARLY_NOTHING**4
        below = influence[~is_held & (coefficients[influence] < -NEARLY_NOTHING)]
        if not below.size:
            coefficients[influence] = np.maximum(coefficients[influence], 0.0)
            return coefficients, covariance
        centre[below] = 0.0
        design.variance[below] = NEARLY_NOTHING**4


def _fit_quasi_likelihood(
    design: "_Design", centre: FloatArray, n: FloatArray, y: FloatArray
) -> tuple[FloatArray, FloatArray] | None:
    """Penalised quasi-likelihood (Breslow & Clayton 1993) around the prior's centre, with its covariance.

    None where the last of 100 steps was still large.

    Newton's steps, each followed by the variances of cells' effects that its own estimates imply: hours that
    do not matter shall not seem to.
    """
    variance = design.variance.copy()
    coefficients = centre.copy()
    covariance: FloatArray = np.diag(variance)
    used = np.flatnonzero(design.is_used)
    for _ in range(_STEPS):
        gradient, curvature = design.derivatives(coefficients, n, y)
        gradient -= (coefficients - centre) / variance
        covariance = np.diag(variance)  # of what no row has, nothing is learned
        block = np.ix_(used, used)
        covariance[block] = np.linalg.inv(curvature[block] + np.diag(1.0 / variance[used]))
        step = covariance @ gradient
        coefficients = coefficients + step * min(1.0, 2.0 / max(float(np.abs(step).max()), 1e-12))
        spread = coefficients**2 + np.diag(covariance)
        for effects in (design.cells, design.type_cells):
            tried = np.intersect1d(effects, used)
            variance[effects] = max(float(spread[tried].mean()), LEAST_VARIANCE)
        if np.abs(step).max() < _TOLERANCE:
            return coefficients, covariance
    return None


@dataclass(frozen=True, kw_only=True)
class _Design:
    """The regression's columns: every row has seven entries (`column`, `value`) that are not zero.

    The normal equations are therefore sums over pairs of them (`pairs`).
    """

    column: IntArray
    value: FloatArray
    pairs: IntArray
    variance: FloatArray
    cells: IntArray
    type_cells: IntArray

    @classmethod
    def of(cls, groups: IntArray, features: FloatArray, cells: int) -> Self:
        """Lay out the columns for groups (campaign, type, cell, bin of activity)."""
        campaign, kind, cell, activity_bin = groups.T
        first_cell, log_column = 1 + TYPES, _log_column(cells)
        blocks = {
            "intercept": 1,
            "type": TYPES,
            "cell": cells,
            "type_cell": TYPES * cells,
            "influence": 2,
            "campaign": int(campaign.max()) + 1,
        }
        size = sum(blocks.values())
        column = np.stack(
            [
                np.zeros_like(kind),
                1 + kind,
                first_cell + cell,
                first_cell + cells + kind * cells + cell,
                np.full_like(kind, log_column),
                np.full_like(kind, log_column + 1),
                log_column + 2 + campaign,
            ],
            axis=1,
        )
        value = np.ones(column.shape)
        value[:, 4:6] = features[activity_bin]
        return cls(
            column=column,
            value=value,
            pairs=(column[:, :, np.newaxis] * size + column[:, np.newaxis, :]).ravel(),
            variance=np.concatenate(
                [np.full(width, DEVIATIONS[name] ** 2) for name, width in blocks.items()]
            ),
            cells=np.arange(first_cell, first_cell + cells),
            type_cells=np.arange(first_cell + cells, log_column),
        )

    @property
    def size(self) -> int:
        """Number of columns."""
        return len(self.variance)

    @property
    def is_used(self) -> NDArray[np.bool_]:
        """Which columns have any rows."""
        return np.bincount(self.column.ravel(), minlength=self.size) > 0

    def derivatives(
        self, coefficients: FloatArray, n: FloatArray, y: FloatArray
    ) -> tuple[FloatArray, FloatArray]:
        """Gradient and negative Hessian of the binomial log likelihood."""
        rate = expit((self.value * coefficients[self.column]).sum(axis=1))
        error = (y - n * rate)[:, np.newaxis] * self.value
        weighted = (n * rate * (1.0 - rate))[:, np.newaxis] * self.value
        products = weighted[:, :, np.newaxis] * self.value[:, np.newaxis, :]
        size = self.size
        gradient = np.bincount(self.column.ravel(), error.ravel(), size).astype(np.float64)
        curvature = np.bincount(self.pairs, products.ravel(), size * size).reshape(size, size)
        return gradient, curvature.astype(np.float64)
