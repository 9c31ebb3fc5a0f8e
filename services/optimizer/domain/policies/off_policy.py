"""What another policy would have earned, from decisions that were logged with their propensities.

A logged decision i has a context x_i, an action a_i that was drawn with the probability mu(a_i | x_i) (its
propensity), and a reward r_i. A policy to be judged takes a_i with the probability pi(a_i | x_i), so the
decision weighs w_i = pi(a_i | x_i) / mu(a_i | x_i). Three estimates of the policy's mean reward, over n
decisions:

    IPS      sum(w_i r_i) / n                              Horvitz & Thompson 1952; Owen 2013, eq. 9.3
    SNIPS    sum(w_i r_i) / sum(w_i)                       Swaminathan & Joachims 2015; Owen, eq. 9.6
    DR       sum(q(x_i, pi) + w_i (r_i - q(x_i, a_i))) / n        Dudik, Langford & Li 2011

with q a model of the reward that was not fitted to decision i (`direct_model`), and q(x, pi) its mean over
the policy's actions. With true propensities above 0 wherever the policy may go, IPS and DR are unbiased
whatever q is, and SNIPS is consistent. DR scatters least where q tells anything.

One user's decisions are not independent: variances add up a user's deviations before they are squared
(linearisation of a ratio over users, Cochran 1977, eq. 6.13), as all intervals here do.

Owen: "Monte Carlo theory, methods and examples", chapter 9. Dudik, Langford & Li: "Doubly Robust Policy
Evaluation and Learning", ICML 2011. Swaminathan & Joachims: "The Self-Normalized Estimator for Counterfactual
Learning", NIPS 2015.
"""

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtr, stdtrit

from services.optimizer.domain.features import FloatArray

IntArray = NDArray[np.intp]

INTERVAL_LEVEL: Final = 0.9
MINIMUM_USERS: Final = 2
NO_ERROR: Final = 1e-9
"""A standard error of this part of the value or less is rounding."""
CONFIDENCE_METHOD: Final = "doubly_robust_student"
"""The probability that the policy earns more than what was sent, by Student's t of the paired difference."""
MOST_CONFIDENCE: Final = 0.99
LEAST_CONFIDENCE: Final = 0.01
"""No probability above this, nor below its complement, is claimed, as for recommended offers."""


@dataclass(frozen=True, kw_only=True)
class PolicyEstimate:
    """A mean reward per decision with its 90 % interval.

    None with fewer than two users behind it, or where no two of them differ: that shows no error, not that
    there is none.
    """

    value: float
    standard_error: float | None
    lower: float | None
    upper: float | None


@dataclass(frozen=True, kw_only=True)
class LoggedRewards:
    """Decisions as aligned arrays (n): `user` numbers the deciders' users from 0, `weight` is w_i.

    `predicted` is q(x_i, a_i), and `predicted_for_policy` is q(x_i, pi).
    """

    user: IntArray
    weight: FloatArray
    reward: FloatArray
    predicted: FloatArray
    predicted_for_policy: FloatArray

    @property
    def doubly_robust(self) -> FloatArray:
        """What each decision adds to the doubly robust mean."""
        return self.predicted_for_policy + self.weight * (self.reward - self.predicted)

    @property
    def gains(self) -> FloatArray:
        """The same less what was earned: their mean is the improvement."""
        return self.doubly_robust - self.reward


@dataclass(frozen=True, kw_only=True)
class PolicyValue:
    """What a policy is worth by each estimate, beside what was logged.

    `improvement` is the doubly robust value less the logged one, paired by decision, so that what both share
    cancels. `confidence` is the probability that it is above 0. `mean_weight` is 1 up to chance where the
    propensities are true and the policy stays where actions were possible; `mean_weight_error` is its
    standard error.
    """

    decisions: int
    users: int
    effective_decisions: float
    effective_users: float
    largest_weight: float
    mean_weight: float
    mean_weight_error: float
    logged: PolicyEstimate
    ips: PolicyEstimate
    snips: PolicyEstimate
    doubly_robust: PolicyEstimate
    improvement: PolicyEstimate
    confidence: float | None


def effective_sample_size(weights: FloatArray) -> float:
    """Return (sum w)^2 / sum w^2: as many unweighted decisions tell as much (Kish; Owen eq. 9.13).

    0 where every weight is 0.

    >>> effective_sample_size(np.array([1.0, 1.0, 2.0, 0.0]))
    2.6666666666666665
    """
    squares = float(np.sum(weights**2))
    return float(np.sum(weights)) ** 2 / squares if squares > 0.0 else 0.0


def evaluate_policy(logged: LoggedRewards) -> PolicyValue:
    """Return the estimates; the arrays must not be empty, nor all weights 0."""
    weight, reward, user = logged.weight, logged.reward, logged.user
    per_user_weight = np.asarray(np.bincount(user, weights=weight), dtype=np.float64)
    effective_users = effective_sample_size(per_user_weight)
    users = int(np.count_nonzero(np.bincount(user)))
    improvement = estimate_mean(logged.gains, user, effective_users)
    weights = estimate_mean(weight, user, float(users))
    return PolicyValue(
        decisions=len(reward),
        users=users,
        effective_decisions=effective_sample_size(weight),
        effective_users=effective_users,
        largest_weight=float(weight.max()),
        mean_weight=weights.value,
        mean_weight_error=weights.standard_error or 0.0,
        logged=estimate_mean(reward, user, float(users)),
        ips=estimate_mean(weight * reward, user, effective_users),
        snips=_estimate_ratio(weight * reward, weight, user, effective_users),
        doubly_robust=estimate_mean(logged.doubly_robust, user, effective_users),
        improvement=improvement,
        confidence=probability_above_zero(improvement, effective_users),
    )


def estimate_mean(values: FloatArray, user: IntArray, effective_users: float) -> PolicyEstimate:
    """Return the mean over decisions, with an interval whose unit is the user."""
    return _estimate_ratio(values, np.ones(len(values)), user, effective_users)


def probability_above_zero(estimate: PolicyEstimate, effective_users: float) -> float | None:
    """Return the probability, 0.01 to 0.99, that a difference is above 0; None without standard error."""
    if not estimate.standard_error:
        return None
    student = float(stdtr(_degrees(effective_users), estimate.value / estimate.standard_error))
    return min(max(student, LEAST_CONFIDENCE), MOST_CONFIDENCE)


def _estimate_ratio(
    numerator: FloatArray, denominator: FloatArray, user: IntArray, effective_users: float
) -> PolicyEstimate:
    """Return R = sum(y) / sum(x) with var(R) = m / (m - 1) sum_u (sum_i in u (y_i - R x_i))^2 / sum(x)^2.

    m is the number of users. Student's t has the degrees of freedom of the users that the weights make
    effective, because where few decisions carry the weight the variance is known no better than from them.
    """
    total = float(denominator.sum())
    value = float(numerator.sum()) / total
    users = int(np.count_nonzero(np.bincount(user)))
    if users < MINIMUM_USERS or effective_users < MINIMUM_USERS:
        return PolicyEstimate(value=value, standard_error=None, lower=None, upper=None)
    deviations = np.bincount(user, weights=numerator - value * denominator)
    error = math.sqrt(users / (users - 1) * float(np.sum(deviations**2))) / abs(total)
    if error <= NO_ERROR * abs(value):
        return PolicyEstimate(value=value, standard_error=None, lower=None, upper=None)
    half = float(stdtrit(_degrees(effective_users), (1.0 + INTERVAL_LEVEL) / 2.0)) * error
    return PolicyEstimate(value=value, standard_error=error, lower=value - half, upper=value + half)


def _degrees(effective_users: float) -> float:
    return max(effective_users - 1.0, 1.0)
