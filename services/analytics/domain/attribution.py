"""Dividing conversions and their revenue among the campaigns that were touched on the way, to the last micro.

A credit is an allocation of what happened, not an estimate of what a campaign caused. Everything that is
divided is an integer (a conversion is a million micro-conversions, money is in micros) and is divided by the
method of the largest remainder (Hamilton's; Balinski and Young, "Fair Representation", 1982), so that credits
sum to conversions and revenue exactly, whatever the model.

The rules and their weights: `first_touch` and `last_touch` give all to one touch; `linear` the same to each;
`time_decay` 2^(-age / 7 days) with the age at the conversion; `position_based` 40 % to the first, 40 % to the
last and 20 % to those between in equal parts (one touch: all; two: half each). `markov` is in `markov.py`.
"""

from collections.abc import Callable, Mapping
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Integers: TypeAlias = NDArray[np.int64]

MICRO = 1_000_000
HALF_LIFE_MICROS = 7 * 24 * 3600 * MICRO
MARKOV = "markov"
_RESOLUTION = 1 << 30
"""Weights that are not whole numbers become parts of this; their sum stays below 2^31, see `allocate`."""


def allocate(totals: Integers, weights: Integers, lengths: Integers) -> Integers:
    """Divide each total among its weights; the parts of each total sum to it.

    Args:
        totals: what is divided, one per path, not negative.
        weights: of all paths one after the other; not negative, above 0 and below 2^31 in sum per path, so
            that nothing overflows.
        lengths: weights per path, at least one.

    Returns:
        The parts, as `weights`. What rounding down leaves goes one by one to the largest remainders, the
        first of equal ones first.
    """
    if not lengths.size:
        return np.zeros(0, dtype=np.int64)
    starts = np.cumsum(lengths) - lengths
    path = np.repeat(np.arange(lengths.size), lengths)
    sums = np.add.reduceat(weights, starts)
    whole, rest = np.divmod(totals, sums)
    product = rest[path] * weights
    parts: Integers = whole[path] * weights + product // sums[path]
    left = totals - np.add.reduceat(parts, starts)
    open_slots = np.flatnonzero(left[path] > 0)
    remainders = product[open_slots] % sums[path[open_slots]]
    order = open_slots[np.lexsort((open_slots, -remainders, path[open_slots]))]
    parts[order[_rank_within(path[order]) < left[path[order]]]] += 1
    return parts


def scale_weights(weights: NDArray[np.float64], lengths: Integers) -> Integers:
    """Return weights as integers that are their parts of 2^30, path by path, ready for `allocate`."""
    if not lengths.size:
        return np.zeros(0, dtype=np.int64)
    sums = np.repeat(np.add.reduceat(weights, np.cumsum(lengths) - lengths), lengths)
    scaled: Integers = np.rint(weights / sums * _RESOLUTION).astype(np.int64)
    return scaled


def _rank_within(groups: Integers) -> Integers:
    """Return each entry's place within its run of equal values, from 0."""
    if not groups.size:
        return groups
    places = np.arange(groups.size)
    begins = np.flatnonzero(np.diff(groups, prepend=groups[0] - 1))
    ranks: Integers = places - np.repeat(begins, np.diff(begins, append=groups.size))
    return ranks


def _places(lengths: Integers) -> tuple[Integers, Integers]:
    """Return the place of each touch in its path, from 0, and the length of its path."""
    starts = np.cumsum(lengths) - lengths
    return np.arange(int(lengths.sum())) - np.repeat(starts, lengths), np.repeat(lengths, lengths)


def _weigh_first(lengths: Integers, _ages: Integers) -> Integers:
    place, _ = _places(lengths)
    weights: Integers = (place == 0).astype(np.int64)
    return weights


def _weigh_last(lengths: Integers, _ages: Integers) -> Integers:
    place, length = _places(lengths)
    weights: Integers = (place == length - 1).astype(np.int64)
    return weights


def _weigh_equally(lengths: Integers, _ages: Integers) -> Integers:
    return np.ones(int(lengths.sum()), dtype=np.int64)


def _weigh_by_decay(lengths: Integers, ages: Integers) -> Integers:
    if not lengths.size:
        return ages
    youngest = np.repeat(np.minimum.reduceat(ages, np.cumsum(lengths) - lengths), lengths)
    return scale_weights(np.exp2(-(ages - youngest) / HALF_LIFE_MICROS), lengths)


def _weigh_by_position(lengths: Integers, _ages: Integers) -> Integers:
    """Of n touches 2 (n - 2) for either end and 1 for each between: 40 %, 20 %, 40 % in whole numbers."""
    place, length = _places(lengths)
    is_end = (place == 0) | (place == length - 1)
    return np.where(is_end, np.maximum(2 * (length - 2), 1), 1)


RULES: Mapping[str, Callable[[Integers, Integers], Integers]] = {
    "first_touch": _weigh_first,
    "last_touch": _weigh_last,
    "linear": _weigh_equally,
    "time_decay": _weigh_by_decay,
    "position_based": _weigh_by_position,
}
"""The weights of touches by model: from the lengths of paths and the age of each touch, in microseconds."""

MODELS = (*RULES, MARKOV)
