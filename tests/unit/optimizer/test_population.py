"""The population stability index: a value worked by hand, what chance makes of it, and real moves."""

import math

import numpy as np
import pytest

from services.optimizer.domain.features import FEATURE_NAMES
from services.optimizer.domain.models.population import (
    PREDICTION,
    Exposed,
    Histogram,
    Move,
    Population,
    Stability,
    describe_population,
    measure_stability,
)

CAMPAIGNS = 200


def exposed(
    rng: np.random.Generator, *, days: int = 7, offer_shift: float = 0.0, unequal: float = 0.0
) -> Exposed:
    """Draw campaigns that keep one offer and one rate for all their days: rows of a campaign are alike."""
    campaign = np.repeat(np.arange(CAMPAIGNS), days)
    features = np.zeros((len(campaign), len(FEATURE_NAMES)), dtype=np.float32)
    features[:, 0] = np.clip(rng.normal(14.0 + offer_shift, 4.0, CAMPAIGNS), 5.0, 25.0)[campaign]
    features[:, 1] = np.tile(np.arange(days) % 7, CAMPAIGNS)
    features[:, 3] = rng.integers(1, 8, CAMPAIGNS)[campaign]
    features[:, 5] = rng.lognormal(7.0, 0.5, CAMPAIGNS)[campaign]
    return Exposed(
        features=features,
        predicted=rng.beta(2.0, 20.0, CAMPAIGNS)[campaign],
        views=rng.uniform(20, 80, len(campaign)) * np.exp(unequal * rng.normal(size=CAMPAIGNS))[campaign],
        campaign=campaign,
    )


def stability(then: Population, now: Exposed) -> dict[str, Stability]:
    return {each.name: each for each in measure_stability(then, now)}


def test_the_index_is_that_of_the_definition() -> None:
    """Worked by hand: 1000 campaigns, shares 0.5 and 0.5 then, 0.7 and 0.3 now; half a campaign more each."""
    shares = {name: Histogram(edges=(), shares=(1.0,)) for name in (*FEATURE_NAMES[1:], PREDICTION)}
    then = Population(
        campaigns=1000, histograms={"offer_amount": Histogram(edges=(10.0,), shares=(0.5, 0.5)), **shares}
    )
    features = np.zeros((1000, len(FEATURE_NAMES)), dtype=np.float32)
    features[700:, 0] = 20.0
    now = Exposed(
        features=features, predicted=np.full(1000, 0.1), views=np.ones(1000), campaign=np.arange(1000)
    )
    found = stability(then, now)["offer_amount"]
    low, high = 700.5 / 1001, 300.5 / 1001
    assert found.index == pytest.approx(
        (low - 0.5) * math.log(low / 0.5) + (high - 0.5) * math.log(high / 0.5)
    )
    assert found.limit == pytest.approx(10.8276 * 2 / 1000, rel=1e-4)  # chi-squared(1), 0.999: R's qchisq
    assert found.move is Move.MODERATE
    month = stability(then, now)["month"]
    assert (month.index, month.limit, month.move) == (0.0, 0.0, Move.STABLE)


@pytest.mark.parametrize("unequal", [0.0, 1.5])
def test_chance_is_no_move(unequal: float) -> None:
    """100 draws of the same world: of 600 features that decide, at most three seem to move.

    Where the logarithms of campaigns' sizes differ by 1.5, 200 of them tell as much as some 30 equal ones;
    counted as 200, most features would seem to have moved.
    """
    rng = np.random.default_rng(31)
    moved = 0
    for _ in range(100):
        then = describe_population(exposed(rng, days=30, unequal=unequal))
        found = measure_stability(then, exposed(rng, unequal=unequal))
        moved += sum(each.move is not Move.STABLE for each in found if each.decides)
    assert moved <= 3


def test_offers_that_are_raised_by_six_are_a_large_move_and_nothing_else_is() -> None:
    rng = np.random.default_rng(37)
    found = stability(describe_population(exposed(rng, days=30)), exposed(rng, offer_shift=6.0))
    assert [name for name, each in found.items() if each.decides and each.move is Move.LARGE] == [
        "offer_amount"
    ]
    assert found["offer_amount"].index > found["offer_amount"].bound


def test_the_calendar_moves_and_decides_nothing() -> None:
    rng = np.random.default_rng(41)
    found = stability(describe_population(exposed(rng, days=28)), exposed(rng, days=2))
    assert found["day_of_week"].move is Move.LARGE
    assert not found["day_of_week"].decides
