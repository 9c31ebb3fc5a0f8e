"""Whether users' preferred merchants are found and scores are probabilities, with simple answers beside."""

from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import pairwise
from typing import Final

import grpc
import numpy as np

from examples.simulated_world.columns import Kind
from examples.simulated_world.evaluate.asking import (
    CALL_SECONDS,
    Evaluation,
    NotServedError,
    ask_each,
    print_line,
)
from examples.simulated_world.events import generate_days
from examples.simulated_world.messages import user_id
from examples.simulated_world.population import FAVOURITE_COUNT, MERCHANT_COUNT, USER_COUNT, Users
from examples.simulated_world.response import FloatArray
from examples.simulated_world.truth import Truth
from examples.simulated_world.world import World
from gen.campaigns.optimizer.v1.affinity_pb2 import GetMerchantAffinityRequest
from gen.campaigns.optimizer.v1.optimizer_service_pb2_grpc import OptimizerServiceStub

ASKED_FOR: Final = 10
SCORE_EDGES: Final = (0.0, 0.02, 0.1, 0.3, 0.5, 0.7, 1.0)

Ranking = list[tuple[int, float]]
"""Merchant ids with their scores, the best first; empty for a refusal."""


def score_merchants(merchants: Sequence[Sequence[int]], users: Sequence[int], truth: Truth) -> float:
    """Mean share of a user's three preferred merchants that are among the first three recommended."""
    shares = [
        len(set(top[:FAVOURITE_COUNT]) & set(truth.preferred_merchants[user, :FAVOURITE_COUNT].tolist()))
        / FAVOURITE_COUNT
        for user, top in zip(users, merchants, strict=True)
    ]
    return float(np.mean(shares))


def popular_merchants(users: Users) -> list[int]:
    """Merchant ids by expected visits of the whole population, the busiest first."""
    visits = users.purchases_per_day @ users.preferences
    return [int(merchant) + 1 for merchant in np.argsort(-visits, kind="stable")]


def counted_merchants(world: World, until: datetime) -> dict[Kind, FloatArray]:
    """Purchases and redemptions (users, merchants) up to a moment: what counting alone would rank by."""
    size = USER_COUNT * MERCHANT_COUNT
    counts = {kind: np.zeros(size) for kind in (Kind.PURCHASED, Kind.CONVERTED)}
    for events in generate_days(world):
        for kind in counts:
            chosen = events.take((events.kind == kind) & (events.at <= until.timestamp()))
            counts[kind] += np.bincount(chosen.user * MERCHANT_COUNT + chosen.merchant, minlength=size)
    return {kind: count.reshape(USER_COUNT, MERCHANT_COUNT) for kind, count in counts.items()}


async def ranked_merchants(
    optimizer: OptimizerServiceStub, users: Sequence[int]
) -> tuple[list[Ranking], int]:
    """Ask for the users' merchants; returns the answers and within how many days a purchase is foretold."""
    days: set[int] = set()

    async def ask(user: int) -> Ranking:
        request = GetMerchantAffinityRequest(user_id=user_id(user), limit=ASKED_FOR)
        try:
            answer = await optimizer.GetMerchantAffinity(request, timeout=CALL_SECONDS)
        except grpc.aio.AioRpcError as error:
            if error.code() is grpc.StatusCode.FAILED_PRECONDITION:
                return []
            raise
        days.add(answer.horizon_days)
        return [(merchant.merchant_id, merchant.affinity_score) for merchant in answer.merchants]

    return await ask_each(users, ask), max(days, default=0)


def calibration(rankings: Sequence[Ranking], users: Sequence[int], world: World, days: int) -> str:
    """Mean score / mean true probability of a purchase within `days` days, by size of the score."""
    habits = world.users
    pairs = [
        (score, habits.purchases_per_day[user] * habits.preferences[user, merchant - 1])
        for user, ranking in zip(users, rankings, strict=True)
        for merchant, score in ranking
    ]
    scores, rates = np.array(pairs, dtype=np.float64).reshape(-1, 2).T
    chances = -np.expm1(-days * rates)
    parts = []
    for lower, upper in pairwise(SCORE_EDGES):
        inside = (scores >= lower) & (scores < upper)
        if inside.any():
            parts.append(f"{scores[inside].mean():.3f}/{chances[inside].mean():.3f}")
    return " ".join(parts)


async def report(evaluation: Evaluation) -> None:
    """Print the merchants' part of the table."""
    users, truth, world = evaluation.users, evaluation.truth, evaluation.world
    print("\npreferred merchants among the first three")
    try:
        rankings, days = await ranked_merchants(evaluation.optimizer, users)
        found = [[merchant for merchant, _ in ranking] for ranking in rankings]
        refusals = sum(not ranking for ranking in rankings)
        print_line("recommended", f"{score_merchants(found, users, truth):.1%}, {refusals} refusals")
        print_line("score / true chance", calibration(rankings, users, world, days))
    except NotServedError:
        print_line("recommended", "not served yet")
    counted = counted_merchants(world, datetime.now(UTC))
    bought = counted[Kind.PURCHASED]
    for method, counts in (
        ("counted purchases", bought),
        ("and redeemed offers", bought + counted[Kind.CONVERTED]),
    ):
        top = [(np.argsort(-counts[user], kind="stable") + 1).tolist() for user in users]
        print_line(method, f"{score_merchants(top, users, truth):.1%}")
    popular = [popular_merchants(world.users)] * len(users)
    print_line("the same for all", f"{score_merchants(popular, users, truth):.1%}")
    print_line("the habits themselves", "100.0%")
