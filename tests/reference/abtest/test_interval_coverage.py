"""How often the intervals of difference and lift hold the truth, by exact enumeration of all tables."""

import math
from itertools import combinations_with_replacement, product

import numpy as np
import pytest
from scipy import stats

from services.abtest.domain.model import GroupCounts
from services.abtest.domain.proportions import difference_interval, lift_interval, lift_is_covered


def coverage(rate: float, users: int, method: str) -> float:
    """The exact probability that the 95 % interval holds the truth, for two equal groups at one rate."""
    probabilities = stats.binom.pmf(np.arange(users + 1), users, rate)
    kept = np.flatnonzero(probabilities > 1e-7)
    held = 0.0
    for x0, x1 in combinations_with_replacement(kept, 2):
        # Equal groups: with them exchanged, the interval holds no difference exactly where it did before.
        control, variant = (GroupCounts(users=users, conversions=int(x)) for x in (x0, x1))
        interval = (difference_interval if method == "newcombe" else lift_interval)(control, variant, 0.95)
        if interval is None or interval.lower <= 0.0 <= interval.upper:
            held += probabilities[x0] * probabilities[x1] * (1 if x0 == x1 else 2)
    return float(held / probabilities[kept].sum() ** 2)


@pytest.mark.parametrize("users", [50, 100, 500, 1000])
@pytest.mark.parametrize("rate", [0.02, 0.05, 0.10, 0.30])
def test_intervals_cover_by_exact_enumeration(rate: float, users: int) -> None:
    assert coverage(rate, users, "newcombe") >= 0.94
    # The issue asks this where 5 conversions are expected; half a count at zero cells gives it below that.
    assert coverage(rate, users, "katz") >= 0.94


def silent_misses(rates: tuple[float, float], users: tuple[int, int]) -> tuple[float, float]:
    """How often the 95 % interval of the lift misses the truth, and how often without a reason to warn."""
    (p0, p1), (n0, n1) = rates, users
    x0, x1 = np.arange(n0 + 1.0)[:, None], np.arange(n1 + 1.0)[None, :]
    probabilities = stats.binom.pmf(x0, n0, p0) * stats.binom.pmf(x1, n1, p1)
    half = np.where((x0 == 0) | (x1 == 0), 0.5, 0.0)
    c0, m0, c1, m1 = x0 + half, n0 + half, x1 + half, n1 + half
    radius = stats.norm.isf(0.025) * np.sqrt((m0 - c0) / (c0 * m0) + (m1 - c1) / (c1 * m1))
    missed = np.abs(np.log(c1 / m1) - np.log(c0 / m0) - math.log(p1 / p0)) > radius + 1e-12
    for y0, y1 in ((0, n1 // 2), (n0 // 2, n1), (n0 // 3, n1 // 4), (n0 - 1, n1)):
        interval = lift_interval(
            GroupCounts(users=n0, conversions=y0), GroupCounts(users=n1, conversions=y1), 0.95
        )
        assert interval is not None
        assert missed[y0, y1] == (not interval.lower < p1 / p0 - 1 < interval.upper)
    covered = [[lift_is_covered(GroupCounts(users=n, conversions=x)) for x in range(n + 1)] for n in (n0, n1)]
    both = np.array(covered[0])[:, None] & np.array(covered[1])[None, :]
    return float((probabilities * missed).sum()), float((probabilities * missed * both).sum())


@pytest.mark.parametrize("users", [(50, 50), (50, 500), (1000, 10), (100, 100), (20, 2000), (1000, 50)])
def test_the_lifts_interval_misses_too_often_only_where_it_is_warned_of(users: tuple[int, int]) -> None:
    found = [
        silent_misses((rate, rate * ratio), users)
        for rate, ratio in product([0.02, 0.1, 0.3, 0.7, 0.9, 0.98], [1.0, 0.8, 0.5])
    ]
    assert max(silent for _, silent in found) <= 0.06
    if min(users) <= 20:
        # The reason for warning at high rates as well: everybody converts, and nothing seems to vary.
        assert max(missed for missed, _ in found) > 0.5
