"""How active users are around a cycle: circular smoothing, shrunk towards what is known of others.

A user's activity is a vector x over the cells of a cycle (hours of the day, days of the week); acts fall on
cell h with probability e_h exp(x_h) / sum e exp(x), the exposure e_h being how often the cell occurred.
Across users x is normal, with a covariance in which neighbouring cells move together: a Gaussian process on a
circle (Rasmussen & Williams 2006, ch. 2 and 4.2.3), whose posterior mean is what a von Mises kernel smoother
is, with a width and a shrinkage that the population's data chooses (empirical Bayes; Efron 2010, ch. 1)
instead of a hand. The posterior is normal by Laplace's approximation (Rasmussen & Williams 2006, sec. 3.4),
so that a best hour comes with its probability.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy.special import expit, softmax

from services.optimizer.domain.send_time.counts import FloatArray

NEWTON_STEPS: Final = 30
NEWTON_TOLERANCE: Final = 1e-3
LONGEST_STEP: Final = 2.0
EM_STEPS: Final = 15
PRIOR_USERS: Final = 50.0
"""As many users as the circular covariance counts for against the one that the data shows."""
JITTER: Final = 1e-3
ACTIVITY_FLOOR: Final = 0.05
EXPOSURE_FLOOR: Final = 1e-6
"""Instead of none: a weekday that has not occurred yet had no acts, and says nothing."""


@dataclass(frozen=True, kw_only=True)
class Influence:
    """How the relative activity a of a cell (1 where all are alike) moves the logit of an answer.

    By `of_log` log(a + 0.05) + `of_share` a, neither below 0: nobody answers less when they are more active.
    """

    of_log: float
    of_share: float

    def logit_of(self, relative: FloatArray) -> FloatArray:
        """The logit less its offset, at relative activities."""
        return np.asarray(self.of_log * log_activity(relative) + self.of_share * relative, dtype=np.float64)

    def slope_at(self, relative: FloatArray) -> FloatArray:
        """The derivative of the logit by log a."""
        return np.asarray(
            (self.of_log / (relative + ACTIVITY_FLOOR) + self.of_share) * relative, dtype=np.float64
        )


@dataclass(frozen=True, kw_only=True)
class Answers:
    """Deliveries and how they were answered, as further evidence of a user's activity.

    A delivery in cell h is answered with probability logistic(offset_h + influence + level), the level being
    the mean of x, of which acts say nothing: how ready a user is to answer at all. A cell without deliveries
    is not a bad one. `deliveries` and `answered` (users, types, cells), `offset` (types, cells).
    """

    deliveries: FloatArray
    answered: FloatArray
    offset: FloatArray
    influence: Influence


@dataclass(frozen=True, kw_only=True)
class Posterior:
    """What is known of users' activity: `mean` (users, cells), `covariance` (users, cells, cells)."""

    mean: FloatArray
    covariance: FloatArray

    @property
    def deviation(self) -> FloatArray:
        """Standard deviation of each cell (users, cells)."""
        return np.sqrt(np.diagonal(self.covariance, axis1=1, axis2=2))

    @property
    def relative_activity(self) -> FloatArray:
        """Each cell's activity over the mean of all (users, cells): log-normal means, put to the mean 1."""
        cells = self.mean.shape[1]
        return np.asarray(cells * softmax(self.mean + self.deviation**2 / 2, axis=1), dtype=np.float64)


def circular_covariance(cells: int, *, concentration: float, scale: float = 1.0) -> FloatArray:
    """Covariance that falls off as a von Mises density, and a tenth of it for each cell alone."""
    position = np.arange(cells)
    angle = 2 * np.pi * (position[:, np.newaxis] - position) / cells
    smooth = np.exp(concentration * (np.cos(angle) - 1.0))
    return np.asarray(scale * (0.9 * smooth + 0.1 * np.eye(cells)), dtype=np.float64)


def posterior(
    acts: FloatArray,
    mean: FloatArray,
    covariance: FloatArray,
    answers: Answers | None = None,
    *,
    start: FloatArray | None = None,
    exposure: FloatArray | None = None,
) -> Posterior:
    """Laplace's approximation of users' activity given their acts and answers.

    Newton's method on the log posterior, all users at once. `acts` and the prior `mean` (users, cells),
    `covariance` (cells, cells); `start` (users, cells) is where to begin, by default at the prior mean;
    `exposure` (users, cells) is how often each cell occurred, by default as often as the others.
    """
    precision = np.linalg.inv(covariance)
    mode = mean if start is None else start
    log_exposure = np.zeros_like(acts) if exposure is None else np.log(np.maximum(exposure, EXPOSURE_FLOOR))
    for _ in range(NEWTON_STEPS):
        gradient, curvature = _derivatives(acts, mode, answers, log_exposure)
        gradient -= (mode - mean) @ precision
        step = np.linalg.solve(curvature + precision, gradient[:, :, np.newaxis])[:, :, 0]
        longest = np.abs(step).max(axis=1, initial=0.0)
        mode = mode + step * np.minimum(1.0, LONGEST_STEP / np.maximum(longest, 1e-12))[:, np.newaxis]
        if longest.max(initial=0.0) < NEWTON_TOLERANCE:
            break
    _, curvature = _derivatives(acts, mode, answers, log_exposure)
    return Posterior(mean=mode, covariance=np.linalg.inv(curvature + precision))


def _derivatives(
    acts: FloatArray, x: FloatArray, answers: Answers | None, log_exposure: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Gradient (users, cells) and negative Hessian (users, cells, cells) of the log likelihood."""
    total = acts.sum(axis=1)[:, np.newaxis]
    share = softmax(x + log_exposure, axis=1)
    gradient = acts - total * share
    curvature = -(total * share)[:, :, np.newaxis] * share[:, np.newaxis, :]
    cells = np.arange(acts.shape[1])
    curvature[:, cells, cells] += total * share
    if answers is not None:
        of_answers, of_curvature = _answer_derivatives(answers, x, softmax(x, axis=1))
        gradient, curvature = gradient + of_answers, curvature + of_curvature
    return gradient, curvature


def _answer_derivatives(answers: Answers, x: FloatArray, share: FloatArray) -> tuple[FloatArray, FloatArray]:
    """What answers add to the gradient and, by Gauss and Newton, to the negative Hessian.

    With p the shares of n cells, the logit of cell h has the derivative s_h (1[h = k] - p_k) + 1 / n by x_k,
    s being the influence's slope.
    """
    cells = x.shape[1]
    relative = cells * share
    level = x.mean(axis=1)[:, np.newaxis]
    logits = answers.offset + (answers.influence.logit_of(relative) + level)[:, np.newaxis, :]
    rate = expit(logits)
    expected = answers.deliveries * rate
    error = (answers.answered - expected).sum(axis=1)
    weight = (expected * (1.0 - rate)).sum(axis=1)
    jacobian = (
        answers.influence.slope_at(relative)[:, :, np.newaxis] * (np.eye(cells) - share[:, np.newaxis, :])
        + 1.0 / cells
    )
    gradient = (error[:, np.newaxis, :] @ jacobian)[:, 0]
    return gradient, jacobian.transpose(0, 2, 1) @ (weight[:, :, np.newaxis] * jacobian)


def fit_population(
    acts: FloatArray, prior: FloatArray, exposure: FloatArray | None = None
) -> tuple[FloatArray, FloatArray]:
    """Mean (cells) and covariance (cells, cells) of activity across users, from their acts (users, cells).

    `exposure` is as in `posterior`.
    Expectation maximisation with the Laplace posterior as its E-step; the covariance is shrunk towards the
    circular `prior` as by an inverse Wishart of `PRIOR_USERS` users (Gelman et al. 2013, sec. 3.6), so that
    few users leave the plain circular smoother.
    """
    frequency = acts.sum(axis=0) + 0.5
    if exposure is not None and len(exposure):
        frequency = frequency / np.maximum(exposure.mean(axis=0), EXPOSURE_FLOOR)
    mean = np.log(frequency / frequency.sum())
    mean -= mean.mean()
    covariance = prior
    users, mode = len(acts), None
    for _ in range(EM_STEPS if users else 0):
        known = posterior(acts, np.broadcast_to(mean, acts.shape), covariance, start=mode, exposure=exposure)
        mode = known.mean
        mean = (known.mean.sum(axis=0) + PRIOR_USERS * mean) / (users + PRIOR_USERS)
        apart = known.mean - mean
        spread = apart.T @ apart + known.covariance.sum(axis=0)
        covariance = (spread + PRIOR_USERS * prior) / (users + PRIOR_USERS) + JITTER * np.eye(acts.shape[1])
    return mean, covariance


def centred(x: FloatArray) -> FloatArray:
    """Vectors less their mean over cells: acts tell cells apart, and nothing of the level."""
    return np.asarray(x - x.mean(axis=-1, keepdims=True), dtype=np.float64)


def log_activity(relative: FloatArray) -> FloatArray:
    """Log of relative activity, with a floor where there is none."""
    return np.asarray(np.log(relative + ACTIVITY_FLOOR), dtype=np.float64)


def relative_activity(x: FloatArray) -> FloatArray:
    """Activity over the mean of all cells, of x (..., cells)."""
    return np.asarray(x.shape[-1] * softmax(x, axis=-1), dtype=np.float64)


def with_level(covariance: FloatArray, level_variance: float) -> FloatArray:
    """The covariance of centred vectors plus a level of its own: how responsive a user is at any hour."""
    cells = len(covariance)
    projection = np.eye(cells) - 1.0 / cells
    return np.asarray(
        projection @ covariance @ projection + level_variance + JITTER * np.eye(cells), dtype=np.float64
    )
