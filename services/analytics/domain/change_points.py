"""Where the level of a series changes for good.

Binary segmentation over arcs (A. B. Olshen, E. S. Venkatraman, R. Lucito, M. Wigler, "Circular binary
segmentation for the analysis of array-based DNA copy number data", Biostatistics 5, 2004): the stretch whose
mean differs most from what surrounds it is split off, and so on within the parts. It finds a level that comes
and goes, which splitting in two misses, and takes a few matrix operations where exact search (PELT: R.
Killick, P. Fearnhead, I. Eckley, JASA 107, 2012) takes a loop. A split is kept where it pays the penalty of
the Bayesian information criterion in the form that PELT is used with, `PENALTY` ln n for each change point.
"""

from collections.abc import Sequence
from itertools import pairwise
from math import ceil, log

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
PENALTY = 3.0
"""Each change point costs this times ln n: its place, and a mean on its other side, with a margin for seasons
and
a spread that are estimated too. What it does to false alarms is simulated in the tests."""
_SHORT_SERIES = 20
"""In short series the penalty is larger by this over n, because the standard deviation is known badly
there."""
_MAXIMUM_CELLS = 366
"""Longer series are searched on a grid of so many cells, and each change point then moved to its best
place."""


def find_change_points(values: Floats, *, shortest: int) -> Sequence[int]:
    """Return where a new level begins, as places in the series, in order.

    Args:
        values: a series without seasons, outliers pulled in, divided by its standard deviation.
        shortest: the fewest values between two change points, or before the first or after the last.
    """
    size = ceil(values.size / _MAXIMUM_CELLS)
    cells = values.size // size
    if values.size < 2 * shortest:
        return ()
    sums = np.concatenate([[0.0], np.cumsum(values[: cells * size].reshape(cells, size).sum(axis=1))])
    penalty = PENALTY * log(values.size) * (1 + _SHORT_SERIES / values.size)
    places: list[int] = []
    open_parts = [(0, cells)]
    while open_parts:
        begin, end = open_parts.pop()
        cuts = _split(sums[begin : end + 1], size, ceil(shortest / size), penalty)
        if cuts:
            edges = [begin, *(begin + cut for cut in cuts), end]
            places += edges[1:-1]
            open_parts += pairwise(edges)
    return _settle(values, sorted(place * size for place in places), size, shortest, penalty)


def _split(sums: Floats, size: int, shortest: int, penalty: float) -> Sequence[int]:
    """Return where a part is split: before and behind the stretch that differs most, or at one of both.

    The gain of telling a stretch of k of n values with sum a from the rest, all values adding up to b, is
    (a - b k / n)^2 n / (k (n - k)), in units of the variance.
    """
    cells = sums.size - 1
    if cells < 2 * shortest:
        return ()
    begin = np.arange(cells + 1)[:, None]
    end = np.arange(cells + 1)[None, :]
    length = end - begin
    is_open = (begin == 0) | (end == cells)
    allowed = (length >= shortest) & (length <= cells - shortest)
    allowed &= ((begin == 0) | (begin >= shortest)) & ((end == cells) | (cells - end >= shortest))
    inside = sums[None, :] - sums[:, None] - (sums[-1] - sums[0]) * length / cells
    weight = np.where(allowed, length * (cells - length), 1)
    gain = np.where(allowed, inside * inside * cells / weight / size, -np.inf)
    gain -= np.where(is_open, penalty, 2 * penalty)
    best = int(gain.argmax())
    if gain.flat[best] <= 0:
        return ()
    return [cut for cut in divmod(best, cells + 1) if 0 < cut < cells]


def _settle(values: Floats, places: Sequence[int], size: int, shortest: int, penalty: float) -> Sequence[int]:
    """Move each change point to the best place between its neighbours, and drop those that no longer pay."""
    sums = np.concatenate([[0.0], np.cumsum(values)])
    settled = list(places)
    place = 0
    while place < len(settled):
        begin = settled[place - 1] if place else 0
        end = settled[place + 1] if place + 1 < len(settled) else values.size
        reach = max(size, shortest)
        first = max(begin + shortest, settled[place] - reach)
        cuts = np.arange(first, min(end - shortest, settled[place] + reach) + 1)
        if cuts.size:
            left, right = cuts - begin, end - cuts
            difference = (sums[cuts] - sums[begin]) / left - (sums[end] - sums[cuts]) / right
            gains = difference * difference * left * right / (left + right)
            best = int(gains.argmax())
            if gains[best] > penalty:
                settled[place] = int(cuts[best])
                place += 1
                continue
        del settled[place]
        place = max(place - 1, 0)
    return settled
