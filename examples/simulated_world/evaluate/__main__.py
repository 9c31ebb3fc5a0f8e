"""Compares what a running system recommends with the truth of the world that was loaded into it.

    python -m examples.simulated_world.evaluate --target 127.0.0.1:8080 --seed 1 [--end-date ...]

Load the world and train a model first (`make run` does both). The truth comes from the equations and is never
sent anywhere. A system that holds another world's campaigns is not compared with it. A refusal counts as a
miss, and what is not served yet is said to be so.
"""

import argparse
import asyncio
import sys
from datetime import UTC, date, datetime

import grpc
import numpy as np

from examples.ingestion import DEFAULT_TARGET
from examples.simulated_world.evaluate import advice, choices, hours, merchants, offers, policies, rates
from examples.simulated_world.evaluate.asking import Evaluation
from examples.simulated_world.evaluate.loaded import AnotherWorldError, require_world
from examples.simulated_world.truth import Truth
from examples.simulated_world.world import World
from gen.campaigns.analytics.v1.catalog_service_pb2_grpc import CatalogServiceStub
from gen.campaigns.optimizer.v1.optimizer_service_pb2_grpc import OptimizerServiceStub


async def evaluate(target: str, world: World, *, user_count: int) -> None:
    """Print the table: what the system reaches, and what simple answers reach beside it."""
    users = np.linspace(0, len(world.users.city) - 1, user_count).astype(int).tolist()
    print(f"world of seed {world.seed}, {world.dates[0]} to {world.dates[-1]}; {len(users)} of its users")
    async with grpc.aio.insecure_channel(target, options=[("grpc.enable_http_proxy", 0)]) as channel:
        await require_world(CatalogServiceStub(channel), world)
        evaluation = Evaluation(
            optimizer=OptimizerServiceStub(channel), world=world, truth=Truth.of(world), users=users
        )
        for subject in (rates, offers, hours, merchants, choices, advice, policies):
            await subject.report(evaluation)


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
    except AnotherWorldError as error:
        print(f"stopped: {error}", file=sys.stderr)
        return 1
    except grpc.aio.AioRpcError as error:
        print(f"stopped: {error.code().name}: {error.details()}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
