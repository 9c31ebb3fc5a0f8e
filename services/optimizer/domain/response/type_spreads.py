"""How far campaigns of each type differ, as their own counts and the other types' say together.

The logarithms of the types' deviations scatter around a common centre by Cauchy's law: types that are alike
are drawn together, and one that spreads quite otherwise is left where its counts have it (O'Hagan, "On
outlier rejection phenomena in Bayes inference", JRSS B 41 (1979)). Centre and scale of that law are not known
either, and integrated out, the scale with a half-normal prior (Gelman, "Prior distributions for variance
parameters in hierarchical models", Bayesian Analysis 1 (2006)). All integrals are sums over grids, so that no
law of the deviation is taken for granted where counts hide it.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np
from scipy.special import ndtr, stdtrit

from services.optimizer.domain.features import FloatArray
from services.optimizer.domain.response.logit_normal import DEVIATIONS

LEAST_DEGREES: Final = 2.0
MOST_DEGREES: Final = 500.0
USUAL_CENTRE: Final = 0.5
CENTRE_SPREAD: Final = 0.5
"""Before anything is known types' deviations centre on this, give or take its half."""
LARGEST_SCALE: Final = 1.0
"""Types are hardly ever typically apart by more than a factor of e."""
_LOGS: Final = np.log(DEVIATIONS)
_CENTRES: Final = np.linspace(np.log(0.02), np.log(4.0), 25)
_SCALES: Final = np.array([0.05, 0.1, 0.2, 0.3, 0.45, 0.65, 0.9, 1.3])
_DEGREES: Final = np.geomspace(LEAST_DEGREES, MOST_DEGREES, 200)
_MIDDLE, _TAIL = 0.75, 0.95
_HALVINGS: Final = 50
_WIDEST: Final = 60.0


def weigh_deviations(heights: Sequence[FloatArray]) -> FloatArray:
    """Return how probable each of `DEVIATIONS` is (types, deviations), given the types' log likelihoods."""
    likelihoods = np.exp(np.array([each - each.max() for each in heights]))
    apart = (_LOGS - _CENTRES[:, np.newaxis, np.newaxis]) / _SCALES[:, np.newaxis]
    law = 1.0 / (1.0 + apart**2)
    law /= law.sum(axis=2, keepdims=True)  # (centres, scales, deviations)
    told = np.einsum("kd,csd->kcs", likelihoods, law)
    centred = _CENTRES[:, np.newaxis] - np.log(USUAL_CENTRE)
    weights = np.log(told).sum(axis=0) - 0.5 * (centred / CENTRE_SPREAD) ** 2
    weights += np.log(np.gradient(_SCALES)) - 0.5 * (_SCALES / LARGEST_SCALE) ** 2
    weights = np.exp(weights - weights.max())
    found = likelihoods * np.einsum("kcs,csd->kd", weights / told, law)
    return np.asarray(found / found.sum(axis=1, keepdims=True))


def as_student(probabilities: FloatArray) -> tuple[float, float]:
    """Return the deviation and the degrees of freedom of the t that is most like the mixture of normal laws.

    The laws have `DEVIATIONS` with these probabilities. The ends of the 90 % interval are the mixture's, and
    those of the half as nearly as degrees allow.
    """
    middle, tail = (_quantile(probabilities, each) for each in (_MIDDLE, _TAIL))
    ratios = stdtrit(_DEGREES, _TAIL) / stdtrit(_DEGREES, _MIDDLE)
    degrees = float(_DEGREES[np.argmin(np.abs(ratios - tail / middle))])
    return tail / float(stdtrit(degrees, _TAIL)), degrees


def _quantile(probabilities: FloatArray, share: float) -> float:
    lower, upper = 0.0, _WIDEST
    for _ in range(_HALVINGS):
        half = (lower + upper) / 2.0
        if float(np.sum(probabilities * ndtr(half / DEVIATIONS))) < share:
            lower = half
        else:
            upper = half
    return (lower + upper) / 2.0
