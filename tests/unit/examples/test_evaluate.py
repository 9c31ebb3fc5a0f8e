from datetime import date

import numpy as np
import pytest

from examples.simulated_world.evaluate.choices import (
    Answered,
    conversion_chances,
    reachable,
    score_orders,
)
from examples.simulated_world.evaluate.hours import population_hours, say_held, score_hours
from examples.simulated_world.evaluate.merchants import popular_merchants, score_merchants
from examples.simulated_world.evaluate.offers import score_offers
from examples.simulated_world.messages import campaign_id
from examples.simulated_world.truth import Truth
from examples.simulated_world.world import World
from gen.campaigns.optimizer.v1.campaigns_for_user_pb2 import (
    CampaignRecommendation,
    RecommendCampaignsResponse,
)
from gen.campaigns.optimizer.v1.send_time_pb2 import HourScore, OptimizeSendTimeResponse
from gen.campaigns.type.v1.range_pb2 import ConfidenceInterval


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


def test_view_rates_are_judged_where_they_have_intervals(world: World) -> None:
    wide, wrong = ConfidenceInterval(lower=0.0, upper=1.0), ConfidenceInterval(lower=0.0, upper=0.01)
    interim = OptimizeSendTimeResponse(is_interim=True, top_hours=[HourScore(hour=9)])
    learned = OptimizeSendTimeResponse(
        top_hours=[HourScore(hour=9, expected_view_rate_interval=each) for each in (wide, wide, wide, wrong)]
    )
    assert say_held([(0, interim)], world.users) == "no intervals are given"
    assert say_held([(0, interim), (1, learned)], world.users).startswith("75.0% of 4 ")


def test_chances_average_to_the_campaigns_rates(world: World, truth: Truth) -> None:
    """A campaign's true rate is that of those who view it; users' chances differ by who they are and when."""
    users = list(range(5_000))
    chances, within = conversion_chances(world, users), reachable(world, users, range(200))
    for campaign in range(0, 200, 25):
        column = round((world.campaigns.current_offer(campaign) - 5.0) * 2)
        mean = chances[within[:, campaign], campaign].mean()
        assert mean == pytest.approx(truth.conversion_curve[campaign, column], rel=0.08)


def test_orders_of_campaigns_are_scored_between_chance_and_the_best(world: World) -> None:
    users = list(range(0, 5_000, 10))
    chances, within = conversion_chances(world, users), reachable(world, users, range(100))
    rng = np.random.default_rng(4)
    scored = score_orders(
        {
            "true": chances * within,
            "worst": np.where(within, -chances, np.nan),
            "chance": np.where(within, rng.random(chances.shape), np.nan),
            "elsewhere": np.where(within, np.nan, chances),
        },
        chances,
        within,
    )
    for place, shown in enumerate((1, 3)):
        assert scored["true"][place] == scored["ceiling"][place]
        assert scored["true"][place].gain == 1.0
        assert scored["true"][place].shown == shown
        assert scored["worst"][place].gain < -0.5
        assert abs(scored["chance"][place].gain) < 0.1
        assert scored["elsewhere"][place].chance == 0.0


def test_a_refusal_to_rank_campaigns_ranks_none() -> None:
    answer = RecommendCampaignsResponse(
        campaigns=[
            CampaignRecommendation(
                rank=rank, campaign_id=campaign_id(place), predicted_conversion_rate=0.1, affinity_score=0.2
            )
            for rank, place in ((1, 7), (2, 3))
        ]
    )
    answered = Answered.of([answer, None])
    assert np.flatnonzero(~np.isnan(answered.value[0])).tolist() == [3, 7]
    assert answered.value[0, 7] > answered.value[0, 3]
    assert np.isnan(answered.rate[1]).all()
