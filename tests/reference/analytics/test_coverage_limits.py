"""Where the 95 % intervals cover less than they promise elsewhere: what the README says of it; seeded."""

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from services.analytics.domain.intervals import (
    RatioMoments,
    estimate_rate_interval,
    estimate_ratio_interval,
)

RUNS = 1_500
Reals = NDArray[np.float64]


@pytest.mark.parametrize(
    ("users", "rate", "strength", "measured"), [(500, 0.05, 1.0, 0.879), (100, 0.1, 1.0, 0.92)]
)
def test_repetition_with_a_heavy_tail_is_covered_less(
    users: int, rate: float, strength: float, measured: float
) -> None:
    """Users repeat by Pareto of index 1.2 up to 500 times, and convert at Beta rates of their own."""
    random = np.random.default_rng(5)
    hits = 0
    for _ in range(RUNS):
        x = np.minimum(np.ceil(random.pareto(1.2, users) * 2 + 1), 500).astype(np.int64)
        y = random.binomial(x, random.beta(rate * strength, (1 - rate) * strength, users))
        interval = estimate_rate_interval(
            RatioMoments(
                users=users, y=int(y.sum()), x=int(x.sum()), yy=int(y @ y), xy=int(x @ y), xx=int(x @ x)
            )
        )
        assert interval is not None
        hits += interval.lower <= rate <= interval.upper
    assert hits / RUNS == pytest.approx(measured, abs=0.03)


def pareto(random: np.random.Generator) -> Reals:
    return (random.random(500) < 0.2) * (random.pareto(1.8, 500) + 1) * 10


def with_whales(random: np.random.Generator) -> Reals:
    return (random.random(500) < 0.2) * random.lognormal(3, 0.8, 500) + (random.random(500) < 1e-3) * 5000


def log_normal_2(random: np.random.Generator) -> Reals:
    return (random.random(200) < 0.1) * random.lognormal(3, 2, 200)


@pytest.mark.parametrize(
    ("draw", "mean", "measured"),
    [
        (pareto, 0.2 * 10 * 1.8 / 0.8, 0.915),
        (with_whales, 0.2 * np.exp(3.32) + 5, 0.397),
        (log_normal_2, 0.1 * np.exp(5), 0.923),
    ],
)
def test_money_that_few_users_bring_is_covered_less(
    draw: Callable[[np.random.Generator], Reals], mean: float, measured: float
) -> None:
    """A user costs 0.2; amounts are in micros. One run in nine of sigma 2 has too few effective payers."""
    random = np.random.default_rng(6)
    hits = given = 0
    for _ in range(RUNS):
        amounts = [round(amount * 1e6) for amount in draw(random).tolist()]
        n, y = len(amounts), sum(amounts)
        moments = RatioMoments(
            users=n,
            y=y,
            x=200_000 * n,
            yy=sum(a * a for a in amounts),
            xy=200_000 * y,
            xx=200_000**2 * n,
            carriers=sum(a > 0 for a in amounts),
            yyy=sum(a**3 for a in amounts),
        )
        interval = estimate_ratio_interval(moments)
        if interval is not None:
            given += 1
            hits += interval.lower <= mean / 0.2 <= interval.upper
    assert given / RUNS > 0.85
    assert hits / given == pytest.approx(measured, abs=0.03)
