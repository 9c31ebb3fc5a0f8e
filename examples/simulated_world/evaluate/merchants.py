"""Whether users' preferred merchants are found, with simple answers beside."""

from collections.abc import Sequence

import numpy as np

from examples.simulated_world.evaluate.asking import (
    CALL_SECONDS,
    Evaluation,
    NotServedError,
    ask_each,
    print_line,
)
from examples.simulated_world.messages import user_id
from examples.simulated_world.population import FAVOURITE_COUNT, Users
from examples.simulated_world.truth import Truth
from gen.campaigns.optimizer.v1.affinity_pb2 import GetMerchantAffinityRequest
from gen.campaigns.optimizer.v1.optimizer_service_pb2_grpc import OptimizerServiceStub


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


async def recommended_merchants(optimizer: OptimizerServiceStub, users: Sequence[int]) -> list[list[int]]:
    """Ask for the users' merchants, the nearest to them first."""

    async def ask(user: int) -> list[int]:
        request = GetMerchantAffinityRequest(user_id=user_id(user), limit=FAVOURITE_COUNT)
        answer = await optimizer.GetMerchantAffinity(request, timeout=CALL_SECONDS)
        return [merchant.merchant_id for merchant in answer.merchants]

    return await ask_each(users, ask)


async def report(evaluation: Evaluation) -> None:
    """Print the merchants' part of the table."""
    users, truth = evaluation.users, evaluation.truth
    popular = [popular_merchants(evaluation.world.users)] * len(users)
    print("\npreferred merchants among the first three")
    try:
        merchants = await recommended_merchants(evaluation.optimizer, users)
        print_line("recommended", f"{score_merchants(merchants, users, truth):.1%}")
    except NotServedError:
        print_line("recommended", "not served yet")
    print_line("the same for all", f"{score_merchants(popular, users, truth):.1%}")
