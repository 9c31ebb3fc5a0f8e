"""Whether the campaigns shown to users are those that they convert in, with simpler orders beside.

A campaign of another city counts as one in which nobody converts: this world sends it to nobody there. The
simpler orders are told the user's city and rank by parts of the system's own answer.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import grpc
import numpy as np

from examples.simulated_world import response
from examples.simulated_world.campaigns import CAMPAIGN_COUNT
from examples.simulated_world.evaluate.asking import (
    CALL_SECONDS,
    Evaluation,
    NotServedError,
    ask_each,
    print_line,
)
from examples.simulated_world.messages import campaign_id, user_id
from examples.simulated_world.population import DAYS, FIRST_WAKING_HOUR, LAST_WAKING_HOUR, BoolArray
from examples.simulated_world.response import FloatArray
from examples.simulated_world.world import World
from gen.campaigns.optimizer.v1.campaigns_for_user_pb2 import (
    RecommendCampaignsRequest,
    RecommendCampaignsResponse,
)
from gen.campaigns.optimizer.v1.optimizer_service_pb2_grpc import OptimizerServiceStub

SHOWN: Final = (1, 3)
ASKED_FOR: Final = 1000
_POSITIONS: Final = {campaign_id(position): position for position in range(CAMPAIGN_COUNT)}


def conversion_chances(world: World, users: Sequence[int]) -> FloatArray:
    """Return the true probability (users, campaigns) that a view of a campaign's current offer converts.

    It is the mean over the days of the week to come and over the hours in which the user views.
    """
    campaigns = world.campaigns
    hours = np.arange(FIRST_WAKING_HOUR, LAST_WAKING_HOUR + 1)
    profile = world.users.hour_profile[users][:, hours]
    viewed = response.view_probability(profile)
    hour = np.average(response.hour_effect(profile), axis=1, weights=viewed)
    offers = np.array([campaigns.current_offer(position) for position in range(len(campaigns.names))])
    logit = (
        campaigns.intercept
        + response.offer_effect(offers, campaigns.campaign_type)
        + response.season_effect(np.array([float(DAYS)]))
        + (world.users.effect[users] + hour)[:, np.newaxis]
        + response.preference_effect(world.users.preferences[users][:, campaigns.merchant])
    )
    days = [response.logistic(logit + effect) for effect in response.WEEKDAY_EFFECT]
    return np.asarray(np.mean(days, axis=0), dtype=np.float64)


def reachable(world: World, users: Sequence[int], active: Sequence[int]) -> BoolArray:
    """Return which active campaigns (users, campaigns) are of the user's own city."""
    cities = world.merchants.city[world.campaigns.merchant]
    runs = np.isin(np.arange(len(cities)), active)
    return np.asarray(runs & (cities == world.users.city[users][:, np.newaxis]), dtype=np.bool_)


@dataclass(frozen=True, kw_only=True)
class Choice:
    """Chances to convert, averaged over users and the `shown` campaigns of each.

    `gain` is what an order wins over a random one, as a share of what the best one wins.
    """

    shown: int
    chance: float
    gain: float

    def __str__(self) -> str:
        return f"{self.chance:.3f} ({self.gain:6.1%})"


def score_orders(
    orders: Mapping[str, FloatArray], chances: FloatArray, within: BoolArray
) -> dict[str, tuple[Choice, ...]]:
    """Return what orders reach, the highest value (users, campaigns; NaN: not ranked) first, by name.

    `random` and `ceiling` stand beside; users without three campaigns `within` reach are left out.
    """
    able = within.sum(axis=1) >= max(SHOWN)
    worth, inside = np.where(within, chances, 0.0)[able], within[able]
    random = float(np.mean(worth.sum(axis=1) / inside.sum(axis=1)))
    values = {name: order[able] for name, order in orders.items()} | {"ceiling": worth}
    best = {shown: _mean_of_first(worth, worth, shown) for shown in SHOWN}
    found = {"random": tuple(Choice(shown=shown, chance=random, gain=0.0) for shown in SHOWN)}
    for name, order in values.items():
        reached = {shown: _mean_of_first(order, worth, shown) for shown in SHOWN}
        found[name] = tuple(
            Choice(shown=shown, chance=chance, gain=(chance - random) / (best[shown] - random))
            for shown, chance in reached.items()
        )
    return found


def _mean_of_first(order: FloatArray, worth: FloatArray, shown: int) -> float:
    first = np.argsort(-np.where(np.isnan(order), -np.inf, order), axis=1, kind="stable")[:, :shown]
    return float(np.take_along_axis(worth, first, axis=1).mean())


async def ask_choices(
    optimizer: OptimizerServiceStub, users: Sequence[int]
) -> list[RecommendCampaignsResponse | None]:
    """Ask for all active campaigns of every user, ranked; None where the system declines."""

    async def ask(user: int) -> RecommendCampaignsResponse | None:
        request = RecommendCampaignsRequest(user_id=user_id(user), limit=ASKED_FOR)
        try:
            return await optimizer.RecommendCampaigns(request, timeout=CALL_SECONDS)
        except grpc.aio.AioRpcError as error:
            if error.code() is grpc.StatusCode.FAILED_PRECONDITION:
                return None
            raise

    return await ask_each(users, ask)


@dataclass(frozen=True, kw_only=True)
class Answered:
    """What was answered (users, campaigns), NaN where nothing: the order's values, rates and affinities."""

    value: FloatArray
    rate: FloatArray
    affinity: FloatArray

    @classmethod
    def of(cls, answers: Sequence[RecommendCampaignsResponse | None]) -> "Answered":
        """Return the answers as arrays; a refusal ranks nothing."""
        value, rate, affinity = np.full((3, len(answers), CAMPAIGN_COUNT), np.nan)
        for row, answer in enumerate(answers):
            for campaign in answer.campaigns if answer else ():
                place = _POSITIONS[campaign.campaign_id]
                value[row, place] = -campaign.rank
                rate[row, place] = campaign.predicted_conversion_rate
                affinity[row, place] = campaign.affinity_score
        return cls(value=value, rate=rate, affinity=affinity)


async def report(evaluation: Evaluation) -> None:
    """Print the campaigns' part of the table."""
    world, users = evaluation.world, evaluation.users
    print(
        "\nconversions per view of the first campaign shown, of the first three (share of what is possible)"
    )
    try:
        answers = await ask_choices(evaluation.optimizer, users)
    except NotServedError:
        print_line("recommended", "not served yet")
        return
    answered = Answered.of(answers)
    active = np.flatnonzero(~np.isnan(answered.rate).all(axis=0)).tolist()
    if not active:
        print_line("recommended", f"nothing, {sum(answer is None for answer in answers)} refusals")
        return
    within = reachable(world, users, active)
    orders = {
        "recommended": answered.value,
        "conversion rate": np.where(within, answered.rate, np.nan),
        "affinity": answered.affinity,
        "affinity x rate": answered.affinity * answered.rate,
    }
    scored = score_orders(orders, conversion_chances(world, users), within)
    for name, choices in scored.items():
        print_line(name, ", ".join(str(choice) for choice in choices))
    refusals = sum(answer is None for answer in answers)
    print_line("refusals", f"{refusals} of {len(users)} users, {len(active)} campaigns run")
