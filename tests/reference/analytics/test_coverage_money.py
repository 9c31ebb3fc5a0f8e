"""What the 95 % intervals of money cover: at least 93 % in every named cell, the user as the unit.

Amounts are log-normal with sigma 0.8 (as baskets are) or 1. Measured: 0.934 to 0.99, with a standard error of
0.3 to 0.6 points. Left out are runs in which fewer than two users paid, where no interval is given.

At sigma 1.5, where a few large amounts make up most of the money, 93 % are not reached in a third of the
cells: measured are 0.916 (four payers of 200 users) to 0.98; the interval on the logarithm covers 0.88 at 45
payers to 0.93 at 1,000. The skewness of the residuals instead of that of the revenue would bring half a point
for three more sums over all users. No interval knows of rare large amounts that have not been seen: where 2 %
of amounts are twenty times the others, 95 % cover 0.70 with 45 payers and 0.53 with 40, and 0.96 with 220.
"""

from collections.abc import Iterable
from dataclasses import replace
from itertools import product

import numpy as np
import pytest

from services.analytics.domain.intervals import (
    RatioMoments,
    estimate_ratio_interval,
    estimate_total_interval,
)
from tests.reference.analytics.simulated_users import UNIT, Cell, draw_spending, true_roas

CELLS = [
    Cell(users=users, repeats=repeats, rate=rate)
    for users, repeats, rate in product((200, 2000, 20_000), (1, 5, 20), (0.02, 0.1, 0.5))
    # Where more than 20,000 payments are expected skewness is no matter any more, and drawing them is slow.
    if users * (repeats + 1) / 2 * rate <= 20_000
]


def runs_of(cell: Cell) -> int:
    """Many of what is quickly drawn: never fewer than make a standard error of 0.7 points."""
    return max(1000, min(4000, round(5e6 / (cell.users * (cell.repeats + 1) / 2 * cell.rate))))


def cover(drawn: Iterable[RatioMoments], truth: float) -> float:
    intervals = [estimate_ratio_interval(moments) for moments in drawn]
    given = [interval for interval in intervals if interval is not None]
    return float(np.mean([interval.lower <= truth <= interval.upper for interval in given]))


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize(("sigma", "least"), [(0.8, 0.93), (1.0, 0.93), (1.5, 0.91)])
def test_roas_is_covered_as_promised(cell: Cell, sigma: float, least: float) -> None:
    drawn = draw_spending(cell, sigma=sigma, runs=runs_of(cell), seed=11)
    assert cover(drawn, true_roas(cell)) >= least


def test_without_the_sum_of_cubes_rare_large_amounts_are_covered_too_little() -> None:
    """About 35 users pay, sigma 1.5: why the sum of cubes is kept."""
    cell = Cell(users=1700, repeats=1, rate=0.02)
    drawn = list(draw_spending(cell, sigma=1.5, runs=4000, seed=2))
    assert cover((replace(moments, yyy=None) for moments in drawn), true_roas(cell)) < 0.91
    assert cover(drawn, true_roas(cell)) >= 0.94


def test_the_price_of_coverage_is_less_than_twice_the_width_where_amounts_are_rare() -> None:
    """Median width against the interval on the logarithm, which covers 0.90 in the last of these cells."""
    for cell, sigma, most in (
        (Cell(users=2000, repeats=5, rate=0.1), 0.8, 1.02),
        (Cell(users=200, repeats=5, rate=0.1), 0.8, 1.1),
        (Cell(users=200, repeats=5, rate=0.1), 1.0, 1.2),
        (Cell(users=2000, repeats=1, rate=0.02), 1.5, 2.0),
    ):
        widths: list[list[float]] = [[], []]
        for moments in draw_spending(cell, sigma=sigma, runs=400, seed=3):
            both = [estimate_ratio_interval(given) for given in (moments, replace(moments, yyy=None))]
            for column, interval in zip(widths, both, strict=True):
                if interval is not None:
                    column.append(interval.upper - interval.lower)
        assert len(widths[0]) == len(widths[1]) >= 380, "hardly any has fewer than two effective payers"
        assert np.median(widths[0]) / np.median(widths[1]) <= most, cell


@pytest.mark.parametrize("share", [0.3, 5.0])
def test_an_imported_cost_is_known(share: float) -> None:
    """A third and five times the events' cost: residuals taken about zero would cover all and say nothing."""
    cell = Cell(users=500, repeats=5, rate=0.1)
    own = cell.users * 3 * (0.01 + 0.2 * cell.rate)
    drawn = draw_spending(cell, sigma=0.8, runs=4000, seed=4, known=round(UNIT * share * own))
    assert 0.93 <= cover(drawn, true_roas(cell) / (1 + share)) <= 0.97


@pytest.mark.parametrize("known", [0, 2_000_000])
def test_profit_is_covered_as_promised(known: int) -> None:
    for cell in (Cell(users=200, repeats=5, rate=0.1), Cell(users=2000, repeats=1, rate=0.02)):
        trials = (cell.repeats + 1) / 2
        truth = cell.users * trials * UNIT * (cell.rate - 0.01 - 0.2 * cell.rate) - known
        hits = []
        for moments in draw_spending(cell, sigma=1.0, runs=4000, seed=6, known=known):
            interval = estimate_total_interval(moments)
            assert interval is not None
            hits.append(interval.lower <= truth <= interval.upper)
        assert np.mean(hits) >= 0.93, cell
