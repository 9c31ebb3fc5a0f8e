"""A conditional logistic regression within strata, however many views these have.

Given how many views of a stratum s converted, the strata's effects drop out of the likelihood (Cox, JRSS B 20
(1958)). Its exact form is a sum over all ways to choose them; the saddlepoint's is what the likeliest effects
make of it, and half the logarithm of what the views tell of each effect:

    sum conversions x eta - views x ln(1 + e^eta) + 1/2 sum_s ln sum_{i in s} views_i p_i (1 - p_i)

(Levin, "The saddlepoint correction in conditional logistic likelihood analysis", Biometrika 77 (1990)).
"""

from dataclasses import dataclass
from typing import Final, Self

import numpy as np
from scipy.special import expit

from services.optimizer.domain.affinity.contacts import FloatArray, IntArray, total_by
from services.optimizer.domain.affinity.response import Exposures
from services.optimizer.domain.response.response import logit

_EFFECT_STEPS: Final = 60
_LARGEST_STEP: Final = 1.0
"""Of an effect: within it the information changes by a factor of e at most, so that no step goes astray."""
_EFFECT_DONE: Final = 1e-10
_NUDGE: Final = 1e-4
_RIDGE: Final = 1e-6
"""What is added to the curvature: a direction that no view tells of is then unknown, and no division by 0."""


@dataclass(frozen=True, kw_only=True)
class Place:
    """The log likelihood at some coefficients, and what each row adds to its first derivative (rows, k).

    `curvature` (k, k) is minus its second derivatives but for the correction's, enough to step by.
    """

    height: float
    scores: FloatArray
    curvature: FloatArray


@dataclass(frozen=True, kw_only=True)
class Design:
    """The regression on `values` (rows, k), centred within strata; each stratum has both kinds of views."""

    values: FloatArray
    stratum: IntArray
    views: FloatArray
    conversions: FloatArray
    usual_effects: FloatArray

    @classmethod
    def of(cls, values: FloatArray, exposures: Exposures) -> Self:
        """Centre `values` within strata: effects alone change by it, and coefficients of 0 start well."""
        _, stratum = np.unique(exposures.stratum, return_inverse=True)
        views = exposures.views.astype(np.float64)
        conversions = exposures.conversions.astype(np.float64)
        of_strata = np.maximum(np.bincount(stratum, views), 1.0)
        means = np.column_stack([np.bincount(stratum, views * column) / of_strata for column in values.T])
        return cls(
            values=values - means[stratum],
            stratum=stratum,
            views=views,
            conversions=conversions,
            usual_effects=logit(np.bincount(stratum, conversions) / of_strata),
        )

    @property
    def total(self) -> int:
        """How many views there are."""
        return int(self.views.sum())

    def at(self, coefficients: FloatArray) -> Place:
        """Return the conditional log likelihood at the coefficients, up to a constant."""
        offset = self.values @ coefficients
        predictor = offset + self._effects(offset)[self.stratum]
        rates = expit(predictor)
        weights = self.views * rates * (1.0 - rates)
        information = self._by_stratum(weights)
        centres = np.column_stack([self._by_stratum(weights * column) for column in self.values.T])
        within = self.values - (centres / information[:, np.newaxis])[self.stratum]
        corrected = 0.5 * weights * (1.0 - 2.0 * rates) / information[self.stratum]
        missing = self.conversions - self.views * rates + corrected
        height = np.sum(self.conversions * predictor - self.views * np.logaddexp(0.0, predictor))
        return Place(
            height=float(height + 0.5 * np.sum(np.log(information))),
            scores=within * missing[:, np.newaxis],
            curvature=within.T @ (within * weights[:, np.newaxis]),
        )

    def curvature(self, coefficients: FloatArray) -> FloatArray:
        """Return minus the log likelihood's second derivatives (k, k), by differences of the first ones."""
        nudges = _NUDGE * np.eye(len(coefficients))
        bends = [
            np.sum(self.at(coefficients - nudge).scores - self.at(coefficients + nudge).scores, axis=0)
            for nudge in nudges
        ]
        bent = np.array(bends) / (2.0 * _NUDGE)
        return np.asarray((bent + bent.T) / 2.0 + _RIDGE * np.eye(len(coefficients)))

    def step(self, coefficients: FloatArray) -> FloatArray:
        """Return Newton's step, or nearly: near enough to halve the way to the likeliest coefficients."""
        place = self.at(coefficients)
        held = place.curvature + _RIDGE * np.eye(len(coefficients))
        return np.asarray(np.linalg.solve(held, place.scores.sum(axis=0)), dtype=np.float64)

    def _effects(self, offset: FloatArray) -> FloatArray:
        """Return the strata's effects at which as many convert as did."""
        effects, wanted = self.usual_effects, self._by_stratum(self.conversions)
        for _ in range(_EFFECT_STEPS):
            rates = expit(offset + effects[self.stratum])
            expected = self._by_stratum(self.views * rates)
            information = self._by_stratum(self.views * rates * (1.0 - rates))
            step = np.clip((wanted - expected) / information, -_LARGEST_STEP, _LARGEST_STEP)
            effects = effects + step
            if float(np.abs(step).max()) < _EFFECT_DONE:
                break
        return effects

    def _by_stratum(self, parts: FloatArray) -> FloatArray:
        """Return the sums of `parts` over each stratum's rows."""
        return total_by(self.stratum, parts, len(self.usual_effects))
