"""Compares what a running system recommends with the truth of the world that was loaded into it.

    python -m examples.simulated_world.evaluate --target 127.0.0.1:8080 --seed 1 [--end-date ...]

Load the world and train a model first (`make run` does both). The truth comes from the equations and is never
sent anywhere. A refusal counts as a miss, and what is not served yet is said to be so.
"""

import argparse
import asyncio
import sys
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Final, TypeVar

import grpc
import numpy as np
from numpy.typing import NDArray

from examples.ingestion import DEFAULT_TARGET
from examples.simulated_world import response
from examples.simulated_world.messages import campaign_id, user_id
from examples.simulated_world.population import FAVOURITE_COUNT, Users
from examples.simulated_world.response import FloatArray
from examples.simulated_world.truth import Truth
from examples.simulated_world.world import World
from gen.campaigns.optimizer.v1.optimizer_service_pb2 import (
    GetMerchantAffinityRequest,
    OptimizeOfferRequest,
    OptimizeSendTimeRequest,
)
from gen.campaigns.optimizer.v1.optimizer_service_pb2_grpc import OptimizerServiceStub

TOP_HOURS: Final = 3
NEAR_OFFER: Final = 2.0
CALL_SECONDS: Final = 30.0
CALLS_IN_FLIGHT: Final = 8

Item = TypeVar("Item")
Answer = TypeVar("Answer")


class NotServedError(Exception):
    """The system does not offer this recommendation yet."""


@dataclass(frozen=True, kw_only=True)
class OfferScore:
    """How near recommended offers come to the best for profit, over all campaigns.

    `mean_miss` (currency units) and `profit_share` (true profit at the recommended offers over the best
    possible) are over the campaigns that got a recommendation; `near_share` counts a refusal as a miss.
    """

    mean_miss: float
    near_share: float
    profit_share: float
    refusals: int

    def __str__(self) -> str:
        return (
            f"mean miss ${self.mean_miss:.2f}, within ${NEAR_OFFER:.0f}: {self.near_share:.1%}, "
            f"profit {self.profit_share:.1%} of the best, {self.refusals} refusals"
        )


def score_offers(offers: FloatArray, truth: Truth) -> OfferScore:
    """Score one offer per campaign; NaN is a refusal."""
    given = ~np.isnan(offers)
    miss = np.abs(offers - truth.best_offer_for_profit)
    column = np.rint((np.where(given, offers, response.MIN_OFFER) - response.MIN_OFFER) * 2).astype(np.intp)
    reached = np.take_along_axis(truth.profit_curve, column[:, np.newaxis], axis=1)[:, 0]
    best = truth.profit_curve.max(axis=1)
    return OfferScore(
        mean_miss=float(miss[given].mean()) if given.any() else float("nan"),
        near_share=float((given & (miss <= NEAR_OFFER)).mean()),
        profit_share=float(reached[given].sum() / best[given].sum()) if given.any() else float("nan"),
        refusals=int((~given).sum()),
    )


def score_hours(hours: Sequence[Sequence[int]], users: Sequence[int], truth: Truth) -> float:
    """Share of the users whose best hour is among the first three that were recommended."""
    hits = [truth.best_hours[user, 0] in set(top[:TOP_HOURS]) for user, top in zip(users, hours, strict=True)]
    return float(np.mean(hits))


def score_merchants(merchants: Sequence[Sequence[int]], users: Sequence[int], truth: Truth) -> float:
    """Mean share of a user's three preferred merchants that are among the first three recommended."""
    shares = [
        len(set(top[:FAVOURITE_COUNT]) & set(truth.preferred_merchants[user, :FAVOURITE_COUNT].tolist()))
        / FAVOURITE_COUNT
        for user, top in zip(users, merchants, strict=True)
    ]
    return float(np.mean(shares))


def population_hours(users: Users) -> list[int]:
    """Local hours by how much the whole population does in them, the busiest first."""
    return [int(hour) for hour in np.argsort(-users.hour_profile.sum(axis=0), kind="stable")]


def popular_merchants(users: Users) -> list[int]:
    """Merchant ids by expected visits of the whole population, the busiest first."""
    visits = users.purchases_per_day @ users.preferences
    return [int(merchant) + 1 for merchant in np.argsort(-visits, kind="stable")]


async def recommended_offers(optimizer: OptimizerServiceStub, world: World) -> FloatArray:
    """Ask for every campaign's offer; NaN where the system declines."""

    async def ask(campaign: int) -> float:
        request = OptimizeOfferRequest(campaign_id=campaign_id(campaign), objective="profit")
        try:
            answer = await optimizer.OptimizeOffer(request, timeout=CALL_SECONDS)
        except grpc.aio.AioRpcError as error:
            if error.code() is grpc.StatusCode.FAILED_PRECONDITION:
                return float("nan")
            raise
        return answer.offer_amount

    return np.array(await _for_each(range(len(world.campaigns.names)), ask))


async def recommended_hours(optimizer: OptimizerServiceStub, users: Sequence[int]) -> list[list[int]]:
    """Ask for the users' best hours, the best first."""

    async def ask(user: int) -> list[int]:
        request = OptimizeSendTimeRequest(user_id=user_id(user))
        answer = await optimizer.OptimizeSendTime(request, timeout=CALL_SECONDS)
        return [score.hour for score in answer.top_hours]

    return await _for_each(users, ask)


async def recommended_merchants(optimizer: OptimizerServiceStub, users: Sequence[int]) -> list[list[int]]:
    """Ask for the users' merchants, the nearest to them first."""

    async def ask(user: int) -> list[int]:
        request = GetMerchantAffinityRequest(user_id=user_id(user), limit=FAVOURITE_COUNT)
        answer = await optimizer.GetMerchantAffinity(request, timeout=CALL_SECONDS)
        return [merchant.merchant_id for merchant in answer.merchants]

    return await _for_each(users, ask)


async def _for_each(items: Sequence[Item], ask: Callable[[Item], Awaitable[Answer]]) -> list[Answer]:
    """Ask for every item, a few at a time, and return the answers in order."""
    slots = asyncio.Semaphore(CALLS_IN_FLIGHT)

    async def ask_in_turn(item: Item) -> Answer:
        async with slots:
            return await ask(item)

    try:
        return list(await asyncio.gather(*map(ask_in_turn, items)))
    except grpc.aio.AioRpcError as error:
        if error.code() is grpc.StatusCode.UNIMPLEMENTED:
            raise NotServedError from error
        raise


async def evaluate(target: str, world: World, *, user_count: int) -> None:
    """Print the table: what the system reaches, and what simple answers reach beside it."""
    truth = Truth.of(world)
    campaigns = world.campaigns
    users = np.linspace(0, len(world.users.city) - 1, user_count).astype(int).tolist()
    current = np.array([campaigns.current_offer(index) for index in range(len(campaigns.names))])
    by_type = _best_constant_per_type(truth, campaigns.campaign_type)
    print(f"world of seed {world.seed}, {world.dates[0]} to {world.dates[-1]}; {len(users)} of its users")
    async with grpc.aio.insecure_channel(target, options=[("grpc.enable_http_proxy", 0)]) as channel:
        optimizer = OptimizerServiceStub(channel)
        print("\noffer for profit")
        print(f"  recommended          {score_offers(await recommended_offers(optimizer, world), truth)}")
        print(f"  keep the current     {score_offers(current, truth)}")
        print(f"  one offer per type   {score_offers(by_type, truth)} (chosen knowing the truth)")
        print("\nbest send hour among the first three")
        print(f"  recommended          {await _hour_line(optimizer, users, truth)}")
        busiest = [population_hours(world.users)] * len(users)
        print(f"  the same for all     {score_hours(busiest, users, truth):.1%}")
        print("\npreferred merchants among the first three")
        print(f"  recommended          {await _merchant_line(optimizer, users, truth)}")
        popular = [popular_merchants(world.users)] * len(users)
        print(f"  the same for all     {score_merchants(popular, users, truth):.1%}")


async def _hour_line(optimizer: OptimizerServiceStub, users: Sequence[int], truth: Truth) -> str:
    try:
        return f"{score_hours(await recommended_hours(optimizer, users), users, truth):.1%}"
    except NotServedError:
        return "not served yet"


async def _merchant_line(optimizer: OptimizerServiceStub, users: Sequence[int], truth: Truth) -> str:
    try:
        return f"{score_merchants(await recommended_merchants(optimizer, users), users, truth):.1%}"
    except NotServedError:
        return "not served yet"


def _best_constant_per_type(truth: Truth, campaign_types: NDArray[np.intp]) -> FloatArray:
    """The offer that makes most profit over all campaigns of a type, for each campaign."""
    best = np.empty(len(campaign_types))
    for kind in np.unique(campaign_types):
        of_type = campaign_types == kind
        best[of_type] = response.CURVE_OFFERS[truth.profit_curve[of_type].sum(axis=0).argmax()]
    return best


def main(arguments: list[str] | None = None) -> int:
    """Run the evaluation and return its exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m examples.simulated_world.evaluate",
        description="Compare a running system's recommendations with the truth of the world loaded into it.",
    )
    parser.add_argument("--target", default=DEFAULT_TARGET, help="host:port of the gateway (%(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="the world's seed (%(default)s)")
    parser.add_argument(
        "--end-date", type=date.fromisoformat, help="the world's last day (the present UTC day)"
    )
    parser.add_argument("--users", type=int, default=500, help="how many users to ask for (%(default)s)")
    options = parser.parse_args(arguments)
    world = World.build(seed=options.seed, end_date=options.end_date or datetime.now(UTC).date())
    try:
        asyncio.run(evaluate(options.target, world, user_count=options.users))
    except grpc.aio.AioRpcError as error:
        print(f"stopped: {error.code().name}: {error.details()}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
