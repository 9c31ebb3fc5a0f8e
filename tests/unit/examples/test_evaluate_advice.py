"""What is truly better for a campaign of the simulated world, and how advice is judged by it."""

from collections.abc import Mapping
from datetime import date

import numpy as np
import pytest

from examples.simulated_world.evaluate.advice import OWN_HOUR, CampaignGains, judge_advice
from examples.simulated_world.evaluate.segments import segment_gains
from examples.simulated_world.population import LIFECYCLE_SHARE, LIFECYCLES
from examples.simulated_world.truth import Truth
from examples.simulated_world.world import World
from gen.campaigns.optimizer.v1.recommendations_pb2 import (
    GetOptimizationRecommendationsResponse,
    OptimizationRecommendation,
    WithheldRecommendation,
)


@pytest.fixture(scope="module")
def world() -> World:
    return World.build(seed=1, end_date=date(2026, 11, 21))


@pytest.fixture(scope="module")
def truth(world: World) -> Truth:
    return Truth.of(world)


@pytest.fixture(scope="module")
def segments(world: World) -> Mapping[tuple[int, str], float]:
    return segment_gains(world)


def gains(world: World, truth: Truth, campaign: int = 0) -> CampaignGains:
    return CampaignGains(world=world, truth=truth, campaign=campaign, segments={})


def recommended(kind: str, choice: str, effect_metric: str = "") -> GetOptimizationRecommendationsResponse:
    one = OptimizationRecommendation(type=kind, choice=choice, confidence=0.9, effect_metric=effect_metric)
    return GetOptimizationRecommendationsResponse(recommendations=[one])


def withheld(kind: str, reason: str) -> GetOptimizationRecommendationsResponse:
    return GetOptimizationRecommendationsResponse(withheld=[WithheldRecommendation(type=kind, reason=reason)])


def test_the_best_offer_gains_most_and_the_current_one_nothing(world: World, truth: Truth) -> None:
    of_campaign = gains(world, truth, 3)
    best = str(truth.best_offer_for_profit[3])
    assert of_campaign.gain("offer_amount", best) == of_campaign.most("offer_amount") > 0.0
    assert of_campaign.gain("offer_amount", f"{world.campaigns.current_offer(3):g}") == 0.0


def test_users_own_hours_gain_more_than_any_one_hour(world: World, truth: Truth) -> None:
    of_campaign = gains(world, truth)
    single = [of_campaign.gain("timing", str(hour)) for hour in range(7, 22)]
    assert of_campaign.gain("timing", OWN_HOUR) == of_campaign.most("timing")
    assert of_campaign.most("timing") > max(single) + 0.2
    assert min(single) < 0.0


def test_loyal_users_convert_more_and_segments_average_to_everybody(
    world: World, segments: Mapping[tuple[int, str], float]
) -> None:
    """Effects on the logit: 0.45 for loyal, -0.65 for lapsed users; lifecycles are parts of the whole."""
    for kind in range(7):
        by_segment = {segment: segments[kind, segment] for segment in LIFECYCLES}
        assert max(by_segment, key=lambda segment: by_segment[segment]) == "loyal"
        assert min(by_segment, key=lambda segment: by_segment[segment]) == "lapsed"
        assert 0.15 < by_segment["loyal"] < 0.4
        assert by_segment["lapsed"] < 0.0 < segments[kind, "high_value"]
        assert np.average(list(by_segment.values()), weights=LIFECYCLE_SHARE) == pytest.approx(0.0, abs=0.05)


def test_advice_is_judged_by_the_truth(world: World, truth: Truth) -> None:
    answers = [
        recommended("segment", "loyal"),
        recommended("segment", "lapsed"),
        recommended("segment", "lapsed", effect_metric="uplift"),
        recommended("channel", "CHANNEL_EMAIL"),
        withheld("channel", "NO_BETTER_CHOICE"),
        withheld("channel", "CHANNELS_UNKNOWN"),
        withheld("timing", "NO_BETTER_CHOICE"),
        None,
    ]
    verdicts = judge_advice(answers, world, truth)
    assert verdicts["segment"].better.tolist() == [True, False]
    assert verdicts["segment"].uplifts == 1
    assert verdicts["channel"].better.tolist() == [False]
    assert verdicts["channel"].none_there.tolist() == [True]
    assert verdicts["timing"].none_there.tolist() == [False], "own hours gain far more than a tenth"
    assert verdicts["channel"].unsaid == len(answers) - 2
    assert str(verdicts["channel"]) == (
        "1 recommended (0.0% truly better, 90.0% claimed; in the middle +0.0%, nothing said),"
        " 1 times nothing better (100.0% rightly; the best gains +0.0%), 6 unsaid"
    )
    assert str(verdicts["offer_amount"]) == "0 recommended, 0 times nothing better, 8 unsaid"
