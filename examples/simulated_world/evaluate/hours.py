"""Whether users' best send hours are found, with simple answers beside."""

from collections.abc import Sequence
from typing import Final

import numpy as np

from examples.simulated_world.evaluate.asking import (
    CALL_SECONDS,
    Evaluation,
    NotServedError,
    ask_each,
    print_line,
)
from examples.simulated_world.messages import user_id
from examples.simulated_world.population import Users
from examples.simulated_world.truth import Truth
from gen.campaigns.optimizer.v1.optimizer_service_pb2_grpc import OptimizerServiceStub
from gen.campaigns.optimizer.v1.send_time_pb2 import OptimizeSendTimeRequest

TOP_HOURS: Final = 3


def score_hours(hours: Sequence[Sequence[int]], users: Sequence[int], truth: Truth) -> float:
    """Share of the users whose best hour is among the first three that were recommended."""
    hits = [truth.best_hours[user, 0] in set(top[:TOP_HOURS]) for user, top in zip(users, hours, strict=True)]
    return float(np.mean(hits))


def population_hours(users: Users) -> list[int]:
    """Local hours by how much the whole population does in them, the busiest first."""
    return [int(hour) for hour in np.argsort(-users.hour_profile.sum(axis=0), kind="stable")]


async def recommended_hours(optimizer: OptimizerServiceStub, users: Sequence[int]) -> list[list[int]]:
    """Ask for the users' best hours, the best first."""

    async def ask(user: int) -> list[int]:
        request = OptimizeSendTimeRequest(user_id=user_id(user))
        answer = await optimizer.OptimizeSendTime(request, timeout=CALL_SECONDS)
        return [score.hour for score in answer.top_hours]

    return await ask_each(users, ask)


async def report(evaluation: Evaluation) -> None:
    """Print the hours' part of the table."""
    users, truth = evaluation.users, evaluation.truth
    busiest = [population_hours(evaluation.world.users)] * len(users)
    print("\nbest send hour among the first three")
    try:
        hours = await recommended_hours(evaluation.optimizer, users)
        print_line("recommended", f"{score_hours(hours, users, truth):.1%}")
    except NotServedError:
        print_line("recommended", "not served yet")
    print_line("the same for all", f"{score_hours(busiest, users, truth):.1%}")
