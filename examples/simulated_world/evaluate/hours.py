"""Whether users' best send hours are found, with simple answers beside."""

from collections.abc import Sequence
from datetime import UTC, datetime
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
from examples.simulated_world.population import HOURS, Users
from examples.simulated_world.response import WEEKDAY_EFFECT, FloatArray, view_probability
from examples.simulated_world.truth import Truth
from examples.simulated_world.world import World
from gen.campaigns.optimizer.v1.optimizer_service_pb2_grpc import OptimizerServiceStub
from gen.campaigns.optimizer.v1.send_time_pb2 import OptimizeSendTimeRequest, OptimizeSendTimeResponse

TOP_HOURS: Final = 3
WEEKDAYS: Final = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")


def score_hours(hours: Sequence[Sequence[int]], users: Sequence[int], truth: Truth) -> float:
    """Share of the users whose best hour is among the first three that were recommended."""
    hits = [truth.best_hours[user, 0] in set(top[:TOP_HOURS]) for user, top in zip(users, hours, strict=True)]
    return float(np.mean(hits))


def population_hours(users: Users) -> list[int]:
    """Local hours by how much the whole population does in them, the busiest first."""
    return [int(hour) for hour in np.argsort(-users.hour_profile.sum(axis=0), kind="stable")]


def purchase_hours(world: World, as_of: datetime) -> FloatArray:
    """Plain purchases (users, 24) up to a moment by the users' local hour: what counting alone would see."""
    counts = np.zeros((len(world.users.city), HOURS))
    for columns in generate_days(world):
        bought = columns.take((columns.kind == Kind.PURCHASED) & (columns.at <= as_of.timestamp()))
        np.add.at(counts, (bought.user, world.local_hours(bought)), 1.0)
    return counts


async def recommended_hours(
    optimizer: OptimizerServiceStub, users: Sequence[int], *, at_any_hour: bool = False
) -> list[OptimizeSendTimeResponse | None]:
    """Ask for the users' send times; None where the system declines."""

    async def ask(user: int) -> OptimizeSendTimeResponse | None:
        request = OptimizeSendTimeRequest(user_id=user_id(user))
        if at_any_hour:
            request.quiet_start_hour = request.quiet_end_hour = 0
        try:
            return await optimizer.OptimizeSendTime(request, timeout=CALL_SECONDS)
        except grpc.aio.AioRpcError as error:
            if error.code() is grpc.StatusCode.FAILED_PRECONDITION:
                return None
            raise

    return await ask_each(users, ask)


def top_hours(answers: Sequence[OptimizeSendTimeResponse | None]) -> list[list[int]]:
    """The hours of each answer, the best first; none of a refusal."""
    return [[] if answer is None else [score.hour for score in answer.top_hours] for answer in answers]


async def report(evaluation: Evaluation) -> None:
    """Print the hours' part of the table."""
    users, truth, world = evaluation.users, evaluation.truth, evaluation.world
    print("\nbest send hour among the first three")
    try:
        await _report_recommended(evaluation)
    except NotServedError:
        print_line("recommended", "not served yet")
    counts = purchase_hours(world, datetime.now(UTC))
    own = np.argsort(-counts[users], axis=1, kind="stable").tolist()
    print_line("most frequent purchases", f"{score_hours(own, users, truth):.1%}")
    busiest = [population_hours(world.users)] * len(users)
    print_line("the same for all", f"{score_hours(busiest, users, truth):.1%}")
    print_line("the habits themselves", "100.0%")


async def _report_recommended(evaluation: Evaluation) -> None:
    users, truth, world = evaluation.users, evaluation.truth, evaluation.world
    answers = await recommended_hours(evaluation.optimizer, users)
    freely = await recommended_hours(evaluation.optimizer, users, at_any_hour=True)
    given = [(user, answer) for user, answer in zip(users, answers, strict=True) if answer is not None]
    score = score_hours(top_hours(answers), users, truth)
    print_line("recommended", f"{score:.1%}, {len(users) - len(given)} refusals")
    if not given:
        return
    if interim := sum(answer.is_interim for _, answer in given):
        print_line(
            "interim", f"{interim} of {len(given)}: the job send_times has not learned everybody's hours yet"
        )
    quiet = quiet_hours(given[0][1])
    possible = np.mean([truth.best_hours[user, 0] not in quiet for user in users])
    print_line("not in quiet hours", f"{possible:.1%}: no more is possible while they are kept")
    print_line("without quiet hours", f"{score_hours(top_hours(freely), users, truth):.1%}")
    first = [
        answer.optimal_hour == next(hour for hour in truth.best_hours[user] if hour not in quiet)
        for user, answer in given
    ]
    confidence = float(np.mean([answer.confidence for _, answer in given]))
    print_line("the window holds it", f"{np.mean(first):.1%}, and says so with {confidence:.1%} on average")
    print_line("view rates of the three", say_held(given, world.users))
    best_day = WEEKDAYS[int(np.argmax(WEEKDAY_EFFECT))]
    days = float(np.mean([answer.optimal_day == best_day for _, answer in given]))
    print_line("the best day is found", f"{days:.1%}")


def say_held(given: Sequence[tuple[int, OptimizeSendTimeResponse]], users: Users) -> str:
    """Say how many of the view rates' intervals hold what is true; interim answers have none."""
    held = [
        score.expected_view_rate_interval.lower <= views <= score.expected_view_rate_interval.upper
        for user, answer in given
        for score in answer.top_hours
        if score.HasField("expected_view_rate_interval")
        for views in view_probability(users.hour_profile[[user], score.hour])
    ]
    if not held:
        return "no intervals are given"
    return f"{np.mean(held):.1%} of {len(held)} 90 % intervals hold the true one"


def quiet_hours(answer: OptimizeSendTimeResponse) -> set[int]:
    """The hours that an answer kept clear of."""
    length = (answer.quiet_end_hour - answer.quiet_start_hour) % HOURS
    return {(answer.quiet_start_hour + hour) % HOURS for hour in range(length)}
