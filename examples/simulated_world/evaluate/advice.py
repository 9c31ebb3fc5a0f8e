"""Whether what is recommended for campaigns is truly better, and whether nothing is where it says so.

By type: the offer by profit, hours by conversions of a delivery to the users of the campaign's city, segments
by conversions of a view beside everybody's in the same campaigns at the same offers (`segments`). Channels
move nothing in this world: whoever recommends another one is wrong. A segment that is recommended for its
uplift claims something else and is only counted.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
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
from examples.simulated_world.evaluate.offers import place_of
from examples.simulated_world.evaluate.segments import SEGMENTS, segment_gains
from examples.simulated_world.events import USUAL_HOUR_SHARE
from examples.simulated_world.messages import campaign_id
from examples.simulated_world.population import (
    DAYS,
    FIRST_WAKING_HOUR,
    LAST_WAKING_HOUR,
    BoolArray,
    IntArray,
)
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
OWN_HOUR: Final = "own_best_hour"
UPLIFT: Final = "uplift"
QUIET_FROM: Final = 22
"""No hour is recommended from here on, nor before the waking ones."""
_HOURS: Final = np.arange(FIRST_WAKING_HOUR, LAST_WAKING_HOUR + 1)


@dataclass(frozen=True, kw_only=True)
class CampaignGains:
    """What a change in a campaign would truly gain, relative to what it does now, by type and choice.

    `segments` are the gains by campaign type and segment.
    """

    world: World
    truth: Truth
    campaign: int
    segments: Mapping[tuple[int, str], float]

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
        choices: dict[str, Sequence[str]] = {
            "offer_amount": [str(offer) for offer in response.CURVE_OFFERS.tolist()],
            "timing": [OWN_HOUR, *(str(hour) for hour in _HOURS if hour < QUIET_FROM)],
            "segment": SEGMENTS,
            "channel": [""],
        }
        return max(self.gain(kind, choice) for choice in choices[kind])

    def _gain_of_offer(self, choice: str) -> float:
        profit = self.truth.profit_curve[self.campaign]
        now = float(profit[place_of(self.world.campaigns.current_offer(self.campaign))])
        gained = float(profit[place_of(float(choice))]) - now
        return gained / abs(now)

    @cached_property
    def _audience(self) -> IntArray:
        city = self.world.merchants.city[self.world.campaigns.merchant[self.campaign]]
        return np.flatnonzero(self.world.users.city == city)

    @cached_property
    def _views(self) -> FloatArray:
        """The chance of a view (users, waking hours)."""
        return response.view_probability(self.world.users.hour_profile[self._audience][:, _HOURS])

    @cached_property
    def _conversions(self) -> FloatArray:
        """The chance of a conversion of a delivery (users, waking hours) at the current offer."""
        campaigns, users, own = self.world.campaigns, self.world.users, self.campaign
        offer = np.array([campaigns.current_offer(own)])
        logit = (
            campaigns.intercept[own]
            + response.offer_effect(offer, campaigns.campaign_type[[own]])
            + response.season_effect(np.array([float(DAYS)]))
            + users.effect[self._audience]
            + response.preference_effect(users.preferences[self._audience, campaigns.merchant[own]])
        )
        by_hour = logit[:, np.newaxis] + response.hour_effect(users.hour_profile[self._audience][:, _HOURS])
        rates = np.mean([response.logistic(by_hour + day) for day in response.WEEKDAY_EFFECT], axis=0)
        return np.asarray(self._views * rates)

    @cached_property
    def _now(self) -> FloatArray:
        """The share of deliveries in each waking hour, as they are sent now."""
        usual = self.world.campaigns.usual_hour[self.campaign] == _HOURS
        return np.asarray((1.0 - USUAL_HOUR_SHARE) / len(_HOURS) + USUAL_HOUR_SHARE * usual)

    def _gain_of_hour(self, choice: str) -> float:
        allowed = self._conversions[:, _HOURS < QUIET_FROM]
        if choice == OWN_HOUR:
            profile = self.world.users.hour_profile[self._audience][:, _HOURS[_HOURS < QUIET_FROM]]
            reached = float(np.take_along_axis(allowed, profile.argmax(axis=1)[:, np.newaxis], axis=1).mean())
        else:
            reached = float(allowed[:, int(choice) - FIRST_WAKING_HOUR].mean())
        return reached / float((self._conversions @ self._now).mean()) - 1.0

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


def judge_advice(
    answers: Sequence[GetOptimizationRecommendationsResponse | None], world: World, truth: Truth
) -> dict[str, Verdict]:
    """Return what is true of the answers, one per campaign (None: refused), by type."""
    segments = segment_gains(world)
    gains = [
        CampaignGains(world=world, truth=truth, campaign=campaign, segments=segments)
        for campaign in range(len(answers))
    ]
    return {kind: _judge(kind, answers, gains) for kind in WORTHWHILE}


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


async def report(evaluation: Evaluation) -> None:
    """Print the recommendations' part of the table."""
    world, truth = evaluation.world, evaluation.truth
    print("\nwhat to change in a campaign")
    try:
        answers = await ask_advice(evaluation.optimizer, len(world.campaigns.names))
    except NotServedError:
        print_line("recommended", "not served yet")
        return
    for kind, verdict in judge_advice(answers, world, truth).items():
        print_line(kind.replace("_", " "), verdict)
    segments = segment_gains(world)
    for kind in WORTHWHILE:
        there = [
            CampaignGains(world=world, truth=truth, campaign=campaign, segments=segments).most(kind)
            >= WORTHWHILE[kind]
            for campaign in range(len(world.campaigns.names))
        ]
        print_line(f"{kind.replace('_', ' ')} to be had", f"{np.mean(there):.1%} of the campaigns")
