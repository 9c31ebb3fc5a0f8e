from datetime import date

import numpy as np
import pytest

from examples.simulated_world.evaluate.hours import population_hours, score_hours
from examples.simulated_world.evaluate.merchants import popular_merchants, score_merchants
from examples.simulated_world.evaluate.offers import score_offers
from examples.simulated_world.truth import Truth
from examples.simulated_world.world import World


@pytest.fixture(scope="module")
def world() -> World:
    return World.build(seed=1, end_date=date(2026, 11, 21))


@pytest.fixture(scope="module")
def truth(world: World) -> Truth:
    return Truth.of(world)


def test_the_best_offers_score_perfectly(truth: Truth) -> None:
    score = score_offers(truth.best_offer_for_profit, truth)
    assert (score.mean_miss, score.near_share, score.profit_share, score.refusals) == (0.0, 1.0, 1.0, 0)


def test_a_refusal_is_a_miss(truth: Truth) -> None:
    offers = truth.best_offer_for_profit.copy()
    offers[:50] = np.nan
    score = score_offers(offers, truth)
    assert (score.mean_miss, score.near_share, score.refusals) == (0.0, 0.75, 50)


def test_a_wrong_offer_costs_profit(truth: Truth) -> None:
    score = score_offers(np.minimum(truth.best_offer_for_profit + 4.0, 25.0), truth)
    assert 3.5 < score.mean_miss <= 4.0
    assert score.profit_share < 0.97


def test_true_hours_and_merchants_score_perfectly(truth: Truth) -> None:
    users = list(range(0, 5_000, 50))
    assert score_hours([truth.best_hours[user].tolist() for user in users], users, truth) == 1.0
    assert score_merchants([truth.preferred_merchants[user].tolist() for user in users], users, truth) == 1.0


def test_the_same_answer_for_all_users_fails(world: World, truth: Truth) -> None:
    users = list(range(5_000))
    assert score_hours([population_hours(world.users)] * 5_000, users, truth) < 0.4
    assert score_merchants([popular_merchants(world.users)] * 5_000, users, truth) < 0.3
