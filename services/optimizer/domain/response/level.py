"""How much higher or lower on the logit all rates of some rows must be, to make what came of them."""

from typing import Final

import numpy as np

from services.optimizer.domain.features import FloatArray
from services.optimizer.domain.response.response import logistic

_HALVINGS: Final = 60


def solve_level(
    offset: FloatArray, trials: FloatArray, successes: float, *, within: tuple[float, float]
) -> float:
    """Return the level at which sum trials * logistic(level + offset) = successes, or the nearer bound.

    The sum rises with the level, so that halving finds it wherever it is. Newton's method from 0 does not:
    from rates of 1 % to one of 50 % it steps to +49, where nothing is left to tell, or back to -10^20.
    """
    lower, upper = within
    for _ in range(_HALVINGS):
        middle = (lower + upper) / 2.0
        if float(np.sum(trials * logistic(middle + offset))) < successes:
            lower = middle
        else:
            upper = middle
    return (lower + upper) / 2.0
