"""Planned looks: O'Brien-Fleming boundaries by alpha spending, and the chance to cross them."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, special

Array = NDArray[np.float64]

NEVER = math.inf
"""The boundary of a look that may spend too little to be told from nothing."""
_SMALLEST_SPENDING = 1e-13
_FARTHEST_Z = 8.3
"""Beyond this many standard deviations a path is as good as impossible (1e-16)."""
_LEAST_GROWTH = 1.005
_NODES_PER_DEVIATION = 6.0


def spent_level(progress: float, significance_level: float) -> float:
    """Return how much of a two-sided level may be spent up to `progress` (above 0; 1 and more: all of it).

    Source: K. K. G. Lan, D. L. DeMets (1983), Biometrika 70, 659-663: the function like O'Brien and
    Fleming's, 2 - 2 Phi(z / sqrt(t)) on each side, with half of the level there.
    """
    z = -float(special.ndtri(significance_level / 4.0))
    return 4.0 * float(special.ndtr(-z / math.sqrt(min(1.0, progress))))


def boundaries(
    progress: Sequence[float], informations: Sequence[float], significance_level: float
) -> tuple[float, ...]:
    """Return the |z| at which each look rejects; infinite where it has next to nothing to spend.

    Args:
        progress: how far the test was at each look, growing; it says what may be spent.
        informations: the variance of the score at each look in any unit, which says how looks correlate.
            Growth under 0.5 % counts as 0.5 %: that takes looks for less correlated than they are, and so
            errs to the safe side.
        significance_level: two-sided.

    Source: P. Armitage, C. K. McPherson, B. C. Rowe (1969), JRSS A 132, 235-244 (the recursion over looks);
    K. K. G. Lan, D. L. DeMets (1989), Biometrics 45, 1017-1020 (spending by one clock, correlation by
    another).

    >>> [round(z, 4) for z in boundaries([0.2, 0.4, 0.6, 0.8, 1.0], [1, 2, 3, 4, 5], 0.05)]
    [4.8769, 3.357, 2.6803, 2.2898, 2.031]
    """
    return _boundaries(tuple(progress), tuple(_growing(informations)), significance_level).found


@dataclass(frozen=True, kw_only=True)
class _Boundaries:
    """Boundaries so far, the level they spend, and the paths that none of them stopped."""

    found: tuple[float, ...]
    assigned: float
    path: "_Path"


@lru_cache(maxsize=1024)
def _boundaries(
    progress: tuple[float, ...], informations: tuple[float, ...], significance_level: float
) -> _Boundaries:
    if not progress:
        return _Boundaries(found=(), assigned=0.0, path=_Path.start())
    # The looks before are those of the analysis before: only the new one is computed.
    before = _boundaries(progress[:-1], informations[:-1], significance_level)
    allowed = spent_level(progress[-1], significance_level)
    path, boundary, assigned = before.path.advance(informations[-1]), NEVER, before.assigned
    if allowed - assigned > _SMALLEST_SPENDING:
        boundary, assigned = path.boundary(allowed - assigned), allowed
    return _Boundaries(found=(*before.found, boundary), assigned=assigned, path=path.stop_at(boundary))


def crossing_probabilities(
    bounds: Sequence[float], informations: Sequence[float], *, drift: float = 0.0
) -> tuple[float, ...]:
    """Return the probability that each look is the first at which |z| reaches its bound.

    `drift` is the mean of z at information 1, so that its mean at information I is drift x sqrt(I).
    """
    path = _Path.start(drift)
    found = []
    for bound, information in zip(bounds, _growing(informations), strict=True):
        path = path.advance(information)
        found.append(path.exit_probability(bound))
        path = path.stop_at(bound)
    return tuple(found)


def _growing(informations: Sequence[float]) -> list[float]:
    found: list[float] = []
    for information in informations:
        found.append(max(information, found[-1] * _LEAST_GROWTH) if found else information)
    return found


@dataclass(frozen=True, kw_only=True)
class _Path:
    """The score's sub-density among the paths that no look has stopped yet, at Gauss and Legendre's nodes.

    The score at information I is normal with mean drift x I and variance I, its increments independent.
    `mass` is density times the node's weight, at the look before; `step` is what information grew since.

    Source: C. Jennison, B. W. Turnbull (2000), Group Sequential Methods, chapter 19.
    """

    drift: float
    information: float
    step: float
    scores: Array
    mass: Array

    @classmethod
    def start(cls, drift: float = 0.0) -> "_Path":
        """Return the single path before any look."""
        return cls(drift=drift, information=0.0, step=0.0, scores=np.zeros(1), mass=np.ones(1))

    def advance(self, information: float) -> "_Path":
        """Return the paths as information has grown to this."""
        return replace(self, information=information, step=information - self.information)

    def exit_probability(self, bound: float) -> float:
        """Return the probability to reach this look and have |z| at or beyond `bound` there."""
        if math.isinf(bound):
            return 0.0
        edge, means = bound * math.sqrt(self.information), self._means()
        spread = math.sqrt(self.step)
        tails = special.ndtr((means - edge) / spread) + special.ndtr((-means - edge) / spread)
        return float(self.mass @ tails)

    def boundary(self, probability: float) -> float:
        """Return the bound whose exit probability this is: less than that of the paths still open."""
        wanted = math.log(probability)

        def excess(bound: float) -> float:
            return math.log(max(self.exit_probability(bound), 5e-324)) - wanted

        return float(optimize.brentq(excess, 0.0, _FARTHEST_Z, xtol=1e-12, rtol=1e-12))

    def stop_at(self, bound: float) -> "_Path":
        """Return the paths that this look does not stop."""
        spread = math.sqrt(self.step)
        middle, deviation = self.drift * self.information, math.sqrt(self.information)
        edge = bound * deviation
        low = max(-edge, middle - _FARTHEST_Z * deviation)
        high = min(edge, middle + _FARTHEST_Z * deviation)
        if high <= low:
            return replace(self, scores=np.zeros(1), mass=np.zeros(1))
        nodes, weights = _nodes(math.ceil(_NODES_PER_DEVIATION * (high - low) / (2.0 * spread)) + 24)
        scores = low + (high - low) * (nodes + 1.0) / 2.0
        kernel = np.exp(-0.5 * ((scores[:, None] - self._means()[None, :]) / spread) ** 2)
        density = kernel @ self.mass / (spread * math.sqrt(2.0 * math.pi))
        return replace(self, scores=scores, mass=density * weights * (high - low) / 2.0)

    def _means(self) -> Array:
        return np.asarray(self.scores + self.drift * self.step)


@lru_cache(maxsize=128)
def _nodes(count: int) -> tuple[Array, Array]:
    nodes, weights = np.polynomial.legendre.leggauss(count)
    return nodes, weights
