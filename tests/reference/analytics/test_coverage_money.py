"""What the 95 % intervals of money cover: at least 93 % in every named cell, the user as the unit.

Amounts are log-normal: sigma 0.8 (as baskets are), 1 and 1.5 (few large ones make up most of the money).
Measured: 0.944 to 0.989, 0.943 to 0.989, and 0.931 to 0.982, with a standard error of 0.3 to 0.7 points. Left
out are runs in which fewer than two users paid, where no interval is given. Out of reach of any interval are
rare large amounts that have not been seen: where 2 % of amounts are twenty times the others, 95 % cover 0.70
with 45 payers and 0.53 with 40, and 0.96 with 220.
"""

from collections.abc import Iterable
from dataclasses import replace

import numpy as np
import pytest

from services.analytics.domain.intervals import (
    RatioMoments,
    estimate_ratio_interval,
    estimate_total_interval,
)
from tests.reference.analytics.simulated_users import UNIT, Cell, draw_spending, true_roas

CELLS = [
    (Cell(users=200, repeats=5, rate=0.02), 4000),
    (Cell(users=200, repeats=20, rate=0.02), 4000),
    (Cell(users=200, repeats=1, rate=0.1), 4000),
    (Cell(users=200, repeats=20, rate=0.1), 4000),
    (Cell(users=200, repeats=20, rate=0.5), 6000),
    (Cell(users=2000, repeats=1, rate=0.02), 4000),
    (Cell(users=2000, repeats=5, rate=0.02), 4000),
    (Cell(users=2000, repeats=20, rate=0.1), 1000),
    (Cell(users=20_000, repeats=1, rate=0.02), 2000),
    (Cell(users=20_000, repeats=5, rate=0.1), 1000),
]


def cover(drawn: Iterable[RatioMoments], truth: float) -> float:
    intervals = [estimate_ratio_interval(moments) for moments in drawn]
    given = [interval for interval in intervals if interval is not None]
    return float(np.mean([interval.lower <= truth <= interval.upper for interval in given]))


@pytest.mark.parametrize(("cell", "runs"), CELLS)
@pytest.mark.parametrize("sigma", [0.8, 1.0, 1.5])
def test_roas_is_covered_as_promised(cell: Cell, runs: int, sigma: float) -> None:
    drawn = draw_spending(cell, sigma=sigma, runs=runs, seed=11)
    assert cover(drawn, true_roas(cell)) >= 0.93


@pytest.mark.parametrize(("sigma", "least"), [(0.8, 0.93), (1.0, 0.93), (1.5, 0.91)])
def test_four_payers_tell_little_of_rare_large_amounts(sigma: float, least: float) -> None:
    """About four of 200 users pay: 92 % at sigma 1.5 is what can be had."""
    cell = Cell(users=200, repeats=1, rate=0.02)
    assert cover(draw_spending(cell, sigma=sigma, runs=4000, seed=11), true_roas(cell)) >= least


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
            for column, given in zip(widths, (moments, replace(moments, yyy=None)), strict=True):
                interval = estimate_ratio_interval(given)
                assert interval is not None
                column.append(interval.upper - interval.lower)
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
