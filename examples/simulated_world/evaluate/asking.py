"""What every subject's evaluation shares: asking a running system for many answers, and how a line looks."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

import grpc

from examples.simulated_world.truth import Truth
from examples.simulated_world.world import World
from gen.campaigns.optimizer.v1.optimizer_service_pb2_grpc import OptimizerServiceStub

CALL_SECONDS: Final = 30.0
CALLS_IN_FLIGHT: Final = 8

Item = TypeVar("Item")
Answer = TypeVar("Answer")


class NotServedError(Exception):
    """The system does not offer this recommendation yet."""


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """What a subject's evaluation has to go on: the system, its world and the users who are asked for."""

    optimizer: OptimizerServiceStub
    world: World
    truth: Truth
    users: Sequence[int]


async def ask_each(items: Sequence[Item], ask: Callable[[Item], Awaitable[Answer]]) -> list[Answer]:
    """Ask for every item, a few at a time, and return the answers in order.

    Raises:
        NotServedError: the system does not serve the RPC.
    """
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


def print_line(method: str, score: object) -> None:
    """Print what a method reaches, aligned with the others of its subject."""
    print(f"  {method:<24} {score}")
