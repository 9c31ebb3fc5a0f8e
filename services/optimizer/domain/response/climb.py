"""Newton's method that cannot run away: to the likeliest coefficients, or to the word that there are none."""

from collections.abc import Callable
from typing import Final

import numpy as np

from services.optimizer.domain.features import FloatArray

_STEPS: Final = 50
_LEAST_SIZE: Final = 2.0**-30
_ROUNDING: Final = 1e-12


def climb(
    start: FloatArray,
    step_of: Callable[[FloatArray], FloatArray],
    log_likelihood: Callable[[FloatArray], float],
    *,
    small_step: float,
) -> FloatArray | None:
    """Return where a whole step is less than `small_step`; None where none of 50 was.

    Each step is halved until it does not lower the likelihood (Dennis and Schnabel, "Numerical methods for
    unconstrained optimization", 1983, section 6.3). A whole step overshoots where rates are far from what
    they start at, and the next one then goes farther still. Where the likelihood rises without end, as where
    something parts what converted from the rest, or has no curvature, nothing is the likeliest.
    """
    place, best = start, log_likelihood(start)
    for _ in range(_STEPS):
        try:
            step = step_of(place)
        except np.linalg.LinAlgError:
            return None
        if float(np.abs(step).max()) < small_step:
            return place
        size = 1.0
        while not (value := log_likelihood(place + size * step)) >= best - _ROUNDING * abs(best):
            size /= 2.0
            if size < _LEAST_SIZE:
                return None
        place, best = place + size * step, value
    return None
