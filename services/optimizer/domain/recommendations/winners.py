"""What is left of an estimate that is told only because it is large.

Estimates that pass a bar were helped over it by chance, the more so the less often they pass. A normal
estimate g of m with the standard error s that is told if g >= c is truncated at c, so that
P(G >= g | G >= c) = Phi((m - g) / s) / Phi((m - c) / s), which grows with m. The m at which it is 1/2 is the
median-unbiased estimate given the selection, and the one at which it is 0.05 a lower end that holds 95 times
in 100 of those told (Andrews, Kitagawa & McCloskey, "Inference on Winners", QJE 139, 2024,
section 3; Lee, Sun, Sun & Taylor, Annals of Statistics 44, 2016). Close to the bar both run off to minus
infinity, so they go no further than the usual interval of 99 % does (the hybrid of section 5):
what is told of an m so far below the bar that one in forty passes is too high all the same. The upper end
needs no correction: selection from below makes g larger, and m's upper end with it.
"""

import math
from typing import Final

from scipy.special import log_ndtr

FURTHEST: Final = 2.5758293035489004
"""Standard errors below the estimate beyond which selection takes nothing away: the 99.5 % quantile."""
_HALVINGS: Final = 50


def given_selection(estimate: float, error: float, bar: float, probability: float) -> float:
    """Return the mean at which an estimate so large has the probability, given that it is at least `bar`.

    At most the estimate itself; `estimate` is not below the bar, `probability` 1/2 at most.
    """
    if error <= 0.0:
        return estimate
    low, high = estimate - FURTHEST * error, estimate
    for _ in range(_HALVINGS):
        middle = (low + high) / 2.0
        passes = log_ndtr((middle - estimate) / error) - log_ndtr((middle - bar) / error)
        low, high = (middle, high) if passes < math.log(probability) else (low, middle)
    return (low + high) / 2.0
