"""Whether what is recommended for campaigns is truly better, and whether nothing is where it says so.

By type: the offer by profit, hours by conversions of what the campaign lately sent (`timing`), segments by
conversions of a view beside everybody's in the same campaigns at the same offers (`segments`). Channels
move nothing in this world: whoever recommends another one is wrong. A segment that is recommended for its
uplift claims something else and is only counted.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import grpc
import numpy as np

from examples.simulated_world import response
from examples.simulated_world.evaluate.asking import (
    CALL_SECONDS,
    Evaluation,
    NotServedError,
    ask_each,
    print_line,
)
from examples.simulated_world.evaluate.hours import recommended_hours
from examples.simulated_world.evaluate.offers import place_of
from examples.simulated_world.evaluate.segments import SEGMENTS, segment_gains
from examples.simulated_world.evaluate.timing import NO_HOUR, OWN_HOUR, LateDeliveries
from examples.simulated_world.messages import campaign_id
from examples.simulated_world.population import BoolArray, IntArray
from examples.simulated_world.response import FloatArray
from examples.simulated_world.truth import Truth
from examples.simulated_world.world import World
from gen.campaigns.optimizer.v1.optimizer_service_pb2_grpc import OptimizerServiceStub
from gen.campaigns.optimizer.v1.recommendations_pb2 import (
    GetOptimizationRecommendationsRequest,
    GetOptimizationRecommendationsResponse,
)

WORTHWHILE: Final[Mapping[str, float]] = {
    "offer_amount": 0.02,
    "timing": 0.1,
    "segment": 0.1,
    "channel": 0.1,
}
"""The gain from which on something better is there, so that "nothing better" is wrong: what the service says
(WithheldRecommendation.reason)."""
NOTHING_BETTER: Final = "NO_BETTER_CHOICE"
UPLIFT: Final = "uplift"


@dataclass(frozen=True, kw_only=True)
class CampaignGains:
    """What a change in a campaign would truly gain, relative to what it does now, by type and choice.

    `segments` are the gains by campaign type and segment; `late` is what campaigns lately sent, and
    `own_hours` each user's own hour as the system answers it.
    """

    world: World
    truth: Truth
    campaign: int
    segments: Mapping[tuple[int, str], float]
    late: LateDeliveries
    own_hours: IntArray

    def gain(self, kind: str, choice: str) -> float:
        """Return what a choice gains."""
        if kind == "channel":
            return 0.0
        gain_of = {
            "offer_amount": self._gain_of_offer,
            "timing": self._gain_of_hour,
            "segment": self._gain_of_segment,
        }
        return gain_of[kind](choice)

    def most(self, kind: str) -> float:
        """Return what the best choice gains."""
        if kind == "timing":
            return self.late.most(self.campaign)
        choices: dict[str, Sequence[str]] = {
            "offer_amount": [str(offer) for offer in response.CURVE_OFFERS.tolist()],
            "segment": SEGMENTS,
            "channel": [""],
        }
        return max(self.gain(kind, choice) for choice in choices[kind])

    def _gain_of_offer(self, choice: str) -> float:
        profit = self.truth.profit_curve[self.campaign]
        now = float(profit[place_of(self.world.campaigns.current_offer(self.campaign))])
        gained = float(profit[place_of(float(choice))]) - now
        return gained / abs(now)

    def _gain_of_hour(self, choice: str) -> float:
        return self.late.gain(self.campaign, choice, self.own_hours)

    def _gain_of_segment(self, choice: str) -> float:
        return self.segments[int(self.world.campaigns.campaign_type[self.campaign]), choice]


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """Of one type: what was recommended and claimed, and what is true.

    One entry per recommendation: `claimed` is its confidence, `expected` (NaN: not said) and `gained` what it
    is said to gain and truly does, `held` whether the interval that was said holds it. One entry per "nothing
    better": `foregone` is what the best choice would gain. `unsaid` counts campaigns of which nothing could
    be said, `uplifts` those that claim an uplift.
    """

    worthwhile: float
    claimed: FloatArray
    expected: FloatArray
    gained: FloatArray
    held: BoolArray
    foregone: FloatArray
    unsaid: int
    uplifts: int

    @property
    def better(self) -> BoolArray:
        """Whether what was recommended is better."""
        return np.asarray(self.gained > 0.0)

    @property
    def none_there(self) -> BoolArray:
        """Whether nothing worthwhile is there where nothing is said to be."""
        return np.asarray(self.foregone < self.worthwhile)

    def __str__(self) -> str:
        parts = [f"{len(self.gained)} recommended", f"{len(self.foregone)} times nothing better"]
        if len(self.gained):
            parts[0] += f" ({self.better.mean():.1%} truly better, {self.claimed.mean():.1%} claimed;"
            parts[0] += f" in the middle {np.median(self.gained):+.1%}, {self._said} said"
            parts[0] += f"; {self.held.mean():.1%} of intervals hold it)" if len(self.held) else ")"
        if len(self.foregone):
            parts[1] += (
                f" ({self.none_there.mean():.1%} rightly; the best gains {np.median(self.foregone):+.1%})"
            )
        parts += [f"{self.uplifts} by uplift"] if self.uplifts else []
        parts += [f"{self.unsaid} unsaid"] if self.unsaid else []
        return ", ".join(parts)

    @property
    def _said(self) -> str:
        said = self.expected[~np.isnan(self.expected)]
        return f"{np.median(said):+.1%}" if len(said) else "nothing"


def gains_of_campaigns(
    world: World, truth: Truth, late: LateDeliveries, own_hours: IntArray
) -> list[CampaignGains]:
    """Return what is true of each campaign, users' own hours being as the system answers them."""
    segments = segment_gains(world)
    return [
        CampaignGains(
            world=world, truth=truth, campaign=campaign, segments=segments, late=late, own_hours=own_hours
        )
        for campaign in range(len(world.campaigns.names))
    ]


def judge_advice(
    answers: Sequence[GetOptimizationRecommendationsResponse | None], gains_of: Sequence[CampaignGains]
) -> dict[str, Verdict]:
    """Return what is true of the answers about the first campaigns (None: refused), by type."""
    return {kind: _judge(kind, answers, gains_of[: len(answers)]) for kind in WORTHWHILE}


def _judge(
    kind: str,
    answers: Sequence[GetOptimizationRecommendationsResponse | None],
    gains_of: Sequence[CampaignGains],
) -> Verdict:
    told, foregone, unsaid, uplifts = list[tuple[float, float, float]](), list[float](), 0, 0
    held: list[bool] = []
    for gains, answer in zip(gains_of, answers, strict=True):
        given = [each for each in answer.recommendations if each.type == kind] if answer else []
        reasons = {each.reason for each in answer.withheld if each.type == kind} if answer else set()
        if given and given[0].effect_metric == UPLIFT:
            uplifts += 1
        elif given:
            expected = given[0].expected_effect if given[0].HasField("expected_effect") else np.nan
            gained = gains.gain(kind, given[0].choice)
            told.append((given[0].confidence, expected, gained))
            if given[0].HasField("expected_effect_interval"):
                interval = given[0].expected_effect_interval
                held.append(interval.lower <= gained <= interval.upper)
        elif NOTHING_BETTER in reasons:
            foregone.append(gains.most(kind))
        else:
            unsaid += 1
    claimed, expected_gains, gains_of_told = np.array(told, dtype=np.float64).reshape(-1, 3).T
    return Verdict(
        worthwhile=WORTHWHILE[kind],
        claimed=claimed,
        expected=expected_gains,
        gained=gains_of_told,
        held=np.array(held, dtype=np.bool_),
        foregone=np.array(foregone, dtype=np.float64),
        unsaid=unsaid,
        uplifts=uplifts,
    )


async def ask_advice(
    optimizer: OptimizerServiceStub, campaigns: int
) -> list[GetOptimizationRecommendationsResponse | None]:
    """Ask what to change in every campaign; None where the system declines."""

    async def ask(campaign: int) -> GetOptimizationRecommendationsResponse | None:
        request = GetOptimizationRecommendationsRequest(campaign_id=campaign_id(campaign))
        try:
            return await optimizer.GetOptimizationRecommendations(request, timeout=CALL_SECONDS)
        except grpc.aio.AioRpcError as error:
            if error.code() is grpc.StatusCode.FAILED_PRECONDITION:
                return None
            raise

    return await ask_each(range(campaigns), ask)


async def ask_own_hours(
    optimizer: OptimizerServiceStub,
    answers: Sequence[GetOptimizationRecommendationsResponse | None],
    late: LateDeliveries,
) -> IntArray:
    """Ask for the best hours of all who are reached by a campaign that is to send at them."""
    told = {
        campaign
        for campaign, answer in enumerate(answers)
        if answer and any(each.choice == OWN_HOUR for each in answer.recommendations)
    }
    users = late.users_of(told)
    hours = np.full(len(late.world.users.city), NO_HOUR)
    for user, answer in zip(users, await recommended_hours(optimizer, users), strict=True):
        hours[user] = NO_HOUR if answer is None else answer.optimal_hour
    return hours


async def report(evaluation: Evaluation) -> None:
    """Print the recommendations' part of the table."""
    world, truth, optimizer = evaluation.world, evaluation.truth, evaluation.optimizer
    print("\nwhat to change in a campaign")
    late = LateDeliveries.of(world)
    try:
        answers = await ask_advice(optimizer, len(world.campaigns.names))
        own_hours = await ask_own_hours(optimizer, answers, late)
    except NotServedError:
        print_line("recommended", "not served yet")
        return
    gains_of = gains_of_campaigns(world, truth, late, own_hours)
    for kind, verdict in judge_advice(answers, gains_of).items():
        print_line(kind.replace("_", " "), verdict)
    for kind in WORTHWHILE:
        there = np.mean([gains.most(kind) >= WORTHWHILE[kind] for gains in gains_of])
        print_line(f"{kind.replace('_', ' ')} to be had", f"{there:.1%} of the campaigns")
