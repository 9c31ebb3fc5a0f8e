"""What a delivery is worth in each hour of the day, or on each weekday, and how well that is known."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit

from services.optimizer.domain.offers.answer import Interval

_TAIL_DEVIATIONS: Final = 1.6448536269514722


@dataclass(frozen=True, kw_only=True)
class CellScores:
    """What a delivery does in each cell of a cycle (hours 0 to 23, or weekdays from Monday).

    `values` are what cells are ranked by: conversions per delivery, or views where conversions cannot be told
    apart, or shares of activity (which add to 1) where views cannot either. `view_rates` is views per
    delivery, `conversion_rates` conversions per view; None where not known. `probabilities` is each cell's of
    being the best of those allowed: above 0 and, of several, below 1; 0 where it is not allowed.

    The `…_deviations` are standard deviations of the logits of the values and rates, by which their 90 %
    intervals are known; None where the numbers themselves are, or where they were not kept.
    """

    values: tuple[float, ...]
    view_rates: tuple[float, ...] | None
    conversion_rates: tuple[float, ...] | None
    probabilities: tuple[float, ...]
    value_deviations: tuple[float, ...] | None = None
    view_deviations: tuple[float, ...] | None = None
    conversion_deviations: tuple[float, ...] | None = None

    def value_interval(self, cell: int) -> Interval | None:
        """90 % interval of what the cell is ranked by."""
        return _interval(self.values, self.value_deviations, cell)

    def view_interval(self, cell: int) -> Interval | None:
        """90 % interval of views per delivery."""
        return _interval(self.view_rates, self.view_deviations, cell)

    def conversion_interval(self, cell: int) -> Interval | None:
        """90 % interval of conversions per view."""
        return _interval(self.conversion_rates, self.conversion_deviations, cell)

    def ranked(self, allowed: NDArray[np.bool_] | None = None) -> tuple[int, ...]:
        """The allowed cells, the best first, ties by the cell."""
        order = np.argsort(-np.array(self.values), kind="stable").tolist()
        return tuple(cell for cell in order if allowed is None or allowed[cell])


def _interval(
    values: Sequence[float] | None, deviations: Sequence[float] | None, cell: int
) -> Interval | None:
    """90 % interval of a cell's fraction: normal on the logit."""
    if values is None or deviations is None:
        return None
    centre = logit(values[cell])
    apart = _TAIL_DEVIATIONS * deviations[cell]
    return Interval(lower=float(expit(centre - apart)), upper=float(expit(centre + apart)))
