"""Intervals of a ratio of sums over users, by empirical likelihood with the quantile of Student's t.

What a user adds to such sums is skewed: most bring nothing, a few much, and by their weights more. The normal
interval then fails on one side, since a sum that came out low brings a low standard error along. Empirical
likelihood takes the interval's shape from the users themselves. With d_u = y_u - R x_u for a supposed R,

    l(R) = 2 min sum_u -log(m p_u)   over p_u >= 0 with sum p_u = 1 and sum p_u d_u = 0
         = 2 sum_u log(1 + s d_u),   where s solves sum_u d_u / (1 + s d_u) = 0

and the interval holds the R with l(R) at most a quantile (Owen, "Empirical Likelihood Ratio Confidence
Regions", Annals of Statistics 18 (1990); Owen, "Empirical Likelihood", 2001, section 2.9 for s, 3.3 for the
quantile of F(1, f) in place of chi-squared's, which is the square of Student's t). The degrees of freedom are
those of the variance: f = 2 V^2 / var(V) with V = sum d_u^2, at most m - 1 (Satterthwaite, "An Approximate
Distribution of Estimates of Variance Components", Biometrics Bulletin 2 (1946)).
"""

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Final, Self

import numpy as np
from scipy.special import stdtr, stdtrit

from services.optimizer.domain.features import FloatArray
from services.optimizer.domain.response.decision_table import IntArray

_STEPS: Final = 100
_CLOSE: Final = 1e-8
"""Within this much of the quantile an end is found; so is a multiplier, relative to its range."""


@dataclass(frozen=True)
class UserSums:
    """What each user adds to the numerator and to the denominator (m) of a ratio; the latter at least 0."""

    numerator: FloatArray
    denominator: FloatArray

    @classmethod
    def of(cls, numerator: FloatArray, denominator: FloatArray, user: IntArray) -> Self:
        """Add up decisions (n) by user; numbers that no user has are left out."""
        present = np.bincount(user) > 0
        return cls(
            np.bincount(user, weights=numerator)[present].astype(np.float64),
            np.bincount(user, weights=denominator)[present].astype(np.float64),
        )

    @cached_property
    def ratio(self) -> float:
        """The ratio of the sums."""
        return float(self.numerator.sum()) / float(self.denominator.sum())

    @cached_property
    def standard_error(self) -> float:
        """That of the ratio, by linearisation: m / (m - 1) sum d_u^2 / sum(x)^2 (Cochran 1977, eq. 6.13)."""
        users, deviations = len(self.numerator), self._deviations(self.ratio)
        squares = float(np.sum(deviations**2))
        return math.sqrt(users / (users - 1) * squares) / float(self.denominator.sum())

    @cached_property
    def degrees_of_freedom(self) -> float:
        """Those of the variance, from 1 to m - 1: few, where few users make it."""
        users, squares = len(self.numerator), self._deviations(self.ratio) ** 2
        total = float(squares.sum())
        scatter = float(np.sum(squares**2)) - total**2 / users
        most = users - 1.0
        return most if scatter * most <= 2.0 * total**2 else max(2.0 * total**2 / scatter, 1.0)

    def interval(self, level: float) -> tuple[float, float]:
        """Return the ratios that the users speak no more against than by chance at `level`."""
        most = float(stdtrit(self.degrees_of_freedom, (1.0 + level) / 2.0))
        return self._end(most), self._end(-most)

    def probability_above(self, value: float) -> float:
        """Return the probability that the true ratio exceeds a value, by Student's t of the signed root."""
        return float(stdtr(self.degrees_of_freedom, self.signed_root(value)))

    def signed_root(self, value: float) -> float:
        """Return the square root of l(value), below 0 for a value above the ratio.

        Infinite where all users are on one side of the value.
        """
        deviations = self._deviations(value)
        if not _straddles(deviations):
            return math.copysign(math.inf, self.ratio - value) if deviations.any() else 0.0
        return self._root(deviations, _multiplier(deviations))

    def _root(self, deviations: FloatArray, multiplier: float) -> float:
        likelihood = 2.0 * float(np.sum(np.log1p(multiplier * deviations)))
        return math.copysign(math.sqrt(max(likelihood, 0.0)), multiplier)

    def _deviations(self, value: float) -> FloatArray:
        return np.asarray(self.numerator - value * self.denominator)

    def _end(self, wanted: float) -> float:
        """Return the value whose signed root is `wanted`, by Newton's steps within the users' range.

        By the envelope theorem dl/dR = -2 s sum_u x_u / (1 + s d_u).
        """
        counted = self.denominator > 0.0
        of_users = self.numerator[counted] / self.denominator[counted]
        inner = self.ratio
        outer = float(of_users.min() if wanted > 0.0 else of_users.max())
        value = self._within(self.ratio - wanted * self.standard_error, inner, outer)
        for _ in range(_STEPS):
            deviations = self._deviations(value)
            if not _straddles(deviations):  # rounding: a value so near the last user's is that user's
                break
            multiplier = _multiplier(deviations)
            root = self._root(deviations, multiplier)
            if abs(root - wanted) <= _CLOSE * abs(wanted):
                break
            if abs(root) < abs(wanted):
                inner = value
            else:
                outer = value
            slope = -multiplier * float(np.sum(self.denominator / (1.0 + multiplier * deviations))) / root
            value = self._within(value + (wanted - root) / slope, inner, outer)
        return value

    @staticmethod
    def _within(value: float, inner: float, outer: float) -> float:
        """Return a value that lies strictly between two, or their middle."""
        return value if min(inner, outer) < value < max(inner, outer) else (inner + outer) / 2.0


def _straddles(deviations: FloatArray) -> bool:
    return bool(deviations.min() < 0.0 < deviations.max())


def _multiplier(deviations: FloatArray) -> float:
    """Return s with sum d / (1 + s d) = 0, for deviations on both sides of 0.

    No p_u exceeds 1, so that 1 + s d_u is at least 1 / m: that bounds s, and the sum falls in it.
    """
    room = 1.0 - 1.0 / len(deviations)
    lower, upper = -room / float(deviations.max()), -room / float(deviations.min())
    multiplier, span = 0.0, upper - lower
    for _ in range(_STEPS):
        parts = deviations / (1.0 + multiplier * deviations)
        excess = float(parts.sum())
        if excess > 0.0:
            lower = multiplier
        else:
            upper = multiplier
        moved = multiplier + excess / float(np.sum(parts**2))
        if not lower < moved < upper:
            moved = (lower + upper) / 2.0
        close = abs(moved - multiplier) <= _CLOSE * span
        multiplier = moved
        if close:
            break
    return multiplier
