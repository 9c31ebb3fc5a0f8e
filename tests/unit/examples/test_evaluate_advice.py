"""What is truly better for a campaign of the simulated world, and how advice is judged by it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import cast

import grpc
import numpy as np
import pytest

from examples.simulated_world.evaluate.advice import (
    CampaignGains,
    ask_own_hours,
    gains_of_campaigns,
    judge_advice,
)
from examples.simulated_world.evaluate.segments import segment_gains
from examples.simulated_world.evaluate.timing import NO_HOUR, OWN_HOUR, LateDeliveries, truly_best_hours
from examples.simulated_world.messages import user_id
from examples.simulated_world.population import LIFECYCLE_SHARE, LIFECYCLES
from examples.simulated_world.truth import Truth
from examples.simulated_world.world import World
from gen.campaigns.optimizer.v1.optimizer_service_pb2_grpc import OptimizerServiceStub
from gen.campaigns.optimizer.v1.recommendations_pb2 import (
    GetOptimizationRecommendationsResponse,
    OptimizationRecommendation,
    WithheldRecommendation,
)
from gen.campaigns.optimizer.v1.send_time_pb2 import OptimizeSendTimeRequest, OptimizeSendTimeResponse


@pytest.fixture(scope="module")
def world() -> World:
    return World.build(seed=1, end_date=date(2026, 11, 21))


@pytest.fixture(scope="module")
def truth(world: World) -> Truth:
    return Truth.of(world)


@pytest.fixture(scope="module")
def segments(world: World) -> Mapping[tuple[int, str], float]:
    return segment_gains(world)


@pytest.fixture(scope="module")
def late(world: World) -> LateDeliveries:
    return LateDeliveries.of(world)


@pytest.fixture(scope="module")
def gains(world: World, truth: Truth, late: LateDeliveries) -> list[CampaignGains]:
    return gains_of_campaigns(world, truth, late, truly_best_hours(world))


def recommended(kind: str, choice: str, effect_metric: str = "") -> GetOptimizationRecommendationsResponse:
    one = OptimizationRecommendation(type=kind, choice=choice, confidence=0.9, effect_metric=effect_metric)
    return GetOptimizationRecommendationsResponse(recommendations=[one])


def withheld(kind: str, reason: str) -> GetOptimizationRecommendationsResponse:
    return GetOptimizationRecommendationsResponse(withheld=[WithheldRecommendation(type=kind, reason=reason)])


def test_the_best_offer_gains_most_and_the_current_one_nothing(
    world: World, truth: Truth, gains: list[CampaignGains]
) -> None:
    of_campaign = gains[3]
    best = str(truth.best_offer_for_profit[3])
    assert of_campaign.gain("offer_amount", best) == of_campaign.most("offer_amount") > 0.0
    assert of_campaign.gain("offer_amount", f"{world.campaigns.current_offer(3):g}") == 0.0


def test_users_own_hours_gain_more_than_any_one_hour(
    late: LateDeliveries, gains: list[CampaignGains]
) -> None:
    campaign = min(late.sent)
    of_campaign = gains[campaign]
    single = [of_campaign.gain("timing", str(hour)) for hour in range(7, 22)]
    assert of_campaign.gain("timing", OWN_HOUR) == of_campaign.most("timing")
    assert of_campaign.most("timing") > max(single) + 0.2
    assert min(single) < 0.0


def test_hours_are_judged_as_they_are_recommended(world: World, late: LateDeliveries) -> None:
    """Whoever sends at the answered hours gets what these bring, however good the truly best ones are."""
    campaign = min(late.sent)
    deliveries, best = late.sent[campaign], truly_best_hours(world)
    users = np.unique(deliveries.user)
    assert late.gain(campaign, OWN_HOUR, np.full_like(best, 12)) == late.gain(campaign, "12", best)
    # The users' truly best hours, but for half of the campaign's users, of whom the worst is answered.
    answered = best.copy()
    answered[users[::2]] = world.users.hour_profile[users[::2], 7:22].argmin(axis=1) + 7
    assert late.gain(campaign, OWN_HOUR, answered) < late.most(campaign) - 0.2
    # Of users for whom no hour is answered nothing is told: what is left is the others' gain.
    answered[users[::2]] = NO_HOUR
    assert late.gain(campaign, OWN_HOUR, answered) == pytest.approx(late.most(campaign), rel=0.25)


def test_what_was_sent_lately_is_what_the_service_looks_at(world: World, late: LateDeliveries) -> None:
    """28 whole days before the world's last; one that was over by then sent nothing and gains nothing."""
    days = np.unique(np.concatenate([deliveries.day for deliveries in late.sent.values()]))
    assert days.tolist() == list(range(61, 89))
    over = int(np.flatnonzero(world.campaigns.end_day <= 61)[0])
    assert over not in late.sent
    assert late.most(over) == 0.0
    assert late.users_of({over}) == []
    first, second = sorted(late.sent)[:2]
    assert set(late.users_of({first, second})) == set(late.sent[first].user) | set(late.sent[second].user)


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


def test_advice_is_judged_by_the_truth(gains: list[CampaignGains], late: LateDeliveries) -> None:
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
    assert 6 in late.sent
    verdicts = judge_advice(answers, gains)
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


@dataclass(kw_only=True)
class System:
    """Answers 13:00 for every user but one, whom it declines."""

    declined: str
    asked: list[str] = field(default_factory=list)

    async def OptimizeSendTime(
        self, request: OptimizeSendTimeRequest, **options: float
    ) -> OptimizeSendTimeResponse:
        assert options["timeout"] > 0
        self.asked.append(request.user_id)
        if request.user_id == self.declined:
            raise grpc.aio.AioRpcError(
                grpc.StatusCode.FAILED_PRECONDITION, grpc.aio.Metadata(), grpc.aio.Metadata()
            )
        return OptimizeSendTimeResponse(optimal_hour=13)


async def test_hours_are_asked_of_those_who_are_to_be_sent_at_their_own(late: LateDeliveries) -> None:
    own, single = sorted(late.sent)[:2]
    users = late.users_of({own})
    answers = [None] * own + [recommended("timing", OWN_HOUR), *[None] * (single - own - 1)]
    system = System(declined=user_id(users[0]))
    hours = await ask_own_hours(
        cast("OptimizerServiceStub", system), [*answers, recommended("timing", "9")], late
    )
    assert sorted(system.asked) == sorted(user_id(user) for user in users)
    assert hours[users[0]] == NO_HOUR
    assert set(hours[users[1:]]) == {13}
    assert (np.delete(hours, users) == NO_HOUR).all()
