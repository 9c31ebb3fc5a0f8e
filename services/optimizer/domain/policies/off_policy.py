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

One user's decisions are not independent: standard errors and intervals are of sums by user (`user_sums`), and
the intervals by empirical likelihood, since these sums are skewed. That two deliveries share a campaign's
luck of a day is left out.

Owen: "Monte Carlo theory, methods and examples", chapter 9. Dudik, Langford & Li: "Doubly Robust Policy
Evaluation and Learning", ICML 2011. Swaminathan & Joachims: "The Self-Normalized Estimator for Counterfactual
Learning", NIPS 2015.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

from services.optimizer.domain.features import FloatArray
from services.optimizer.domain.policies.user_sums import UserSums
from services.optimizer.domain.response.decision_table import IntArray

INTERVAL_LEVEL: Final = 0.9
MINIMUM_USERS: Final = 2
NO_ERROR: Final = 1e-9
"""A standard error of this part of the value or less is rounding."""
CONFIDENCE_METHOD: Final = "doubly_robust_empirical_likelihood"
"""The probability that the policy earns more than what was sent: of the paired difference, by the signed root
of its empirical likelihood ratio."""
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
    gains = UserSums.of(logged.gains, np.ones(len(reward)), user)
    weights = UserSums.of(weight, np.ones(len(weight)), user)
    return PolicyValue(
        decisions=len(reward),
        users=users,
        effective_decisions=effective_sample_size(weight),
        effective_users=effective_users,
        largest_weight=float(weight.max()),
        mean_weight=weights.ratio,
        mean_weight_error=weights.standard_error if _has_error(weights) else 0.0,
        logged=estimate_mean(reward, user),
        ips=estimate_mean(weight * reward, user),
        snips=_estimate(UserSums.of(weight * reward, weight, user)),
        doubly_robust=estimate_mean(logged.doubly_robust, user),
        improvement=_estimate(gains),
        confidence=_probability(gains),
    )


def estimate_mean(values: FloatArray, user: IntArray) -> PolicyEstimate:
    """Return the mean over decisions, with an interval whose unit is the user."""
    return _estimate(UserSums.of(values, np.ones(len(values)), user))


def probability_above_zero(values: FloatArray, user: IntArray) -> float | None:
    """Return the probability, 0.01 to 0.99, that a mean over decisions is above 0; None without an error."""
    return _probability(UserSums.of(values, np.ones(len(values)), user))


def _estimate(sums: UserSums) -> PolicyEstimate:
    if not _has_error(sums):
        return PolicyEstimate(value=sums.ratio, standard_error=None, lower=None, upper=None)
    lower, upper = sums.interval(INTERVAL_LEVEL)
    return PolicyEstimate(value=sums.ratio, standard_error=sums.standard_error, lower=lower, upper=upper)


def _probability(sums: UserSums) -> float | None:
    if not _has_error(sums):
        return None
    return min(max(sums.probability_above(0.0), LEAST_CONFIDENCE), MOST_CONFIDENCE)


def _has_error(sums: UserSums) -> bool:
    return len(sums.numerator) >= MINIMUM_USERS and sums.standard_error > NO_ERROR * abs(sums.ratio)
