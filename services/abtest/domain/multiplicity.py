"""P-values adjusted for being several: over variants, metrics, segments.

An undefined p-value (None) stays undefined and counts as no comparison.
"""

from collections.abc import Sequence

HOLM = "holm"
BENJAMINI_HOCHBERG = "benjamini_hochberg"


def adjust_by_holm(p_values: Sequence[float | None]) -> tuple[float | None, ...]:
    """Return p-values under which the probability of any false finding is controlled.

    Holds however the comparisons depend on each other, as those with one control do.

    Source: S. Holm (1979), Scandinavian Journal of Statistics 6, 65-70.

    >>> adjust_by_holm([0.01, None, 0.04, 0.03])
    (0.03, None, 0.06, 0.06)
    """
    adjusted: list[float | None] = [None] * len(p_values)
    ranked = _rank(p_values)
    largest = 0.0
    for place, (p_value, index) in enumerate(ranked):
        largest = max(largest, min(1.0, (len(ranked) - place) * p_value))
        adjusted[index] = largest
    return tuple(adjusted)


def adjust_by_benjamini_hochberg(p_values: Sequence[float | None]) -> tuple[float | None, ...]:
    """Return p-values under which the expected share of false ones among the findings is controlled.

    Holds for comparisons that are independent or positively dependent.

    Source: Y. Benjamini, Y. Hochberg (1995), JRSS B 57, 289-300; Y. Benjamini, D. Yekutieli (2001), Annals of
    Statistics 29, 1165-1188 (dependence).

    >>> adjust_by_benjamini_hochberg([0.01, None, 0.04, 0.03])
    (0.03, None, 0.04, 0.04)
    """
    adjusted: list[float | None] = [None] * len(p_values)
    ranked = _rank(p_values)
    smallest = 1.0
    for place in range(len(ranked), 0, -1):
        p_value, index = ranked[place - 1]
        smallest = min(smallest, p_value * len(ranked) / place)
        adjusted[index] = smallest
    return tuple(adjusted)


def _rank(p_values: Sequence[float | None]) -> list[tuple[float, int]]:
    """Return the defined p-values with their places, the smallest first."""
    return sorted((p_value, index) for index, p_value in enumerate(p_values) if p_value is not None)
