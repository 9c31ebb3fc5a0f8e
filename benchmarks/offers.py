"""How long OptimizeOffer takes while a training runs against when none does, and how often it infers.

Run it as `python -m benchmarks.offers`. A tenth of the simulated world's events is loaded through analytics;
optimizer and model server are processes of their own, and the training is the optimizer's. One client asks
for one offer after another, another campaign each time, in turns: first without a training, then as long as
one runs. Client, servers and PostgreSQL share the machine.
"""

import argparse
import asyncio
import itertools
import statistics
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from time import perf_counter
from typing import Final

import grpc
import numpy as np
import uvloop

from benchmarks.common import Mark, free_port, print_table, report, running_database, running_server, say
from deploy.local.bootstrap import DatabaseAddresses
from examples.ingestion import Ingestion
from examples.simulated_world.loading import History, load
from examples.simulated_world.messages import campaign_messages
from gen.campaigns.optimizer.v1.offers_pb2 import OptimizeOfferRequest
from gen.campaigns.optimizer.v1.optimizer_service_pb2_grpc import OptimizerServiceStub
from gen.campaigns.optimizer.v1.training_pb2 import TrainModelRequest
from gen.inference import grpc_service_pb2 as inference
from gen.inference.grpc_service_pb2_grpc import GRPCInferenceServiceStub

SCALE, SLOWER_MARK, TRAINING_SECONDS = 0.1, 2.0, 300.0
FEWEST_CALLS: Final = 200
"""Below so many calls there is no 99th percentile to speak of."""


class Offers:
    """Asks for offers, one after another."""

    def __init__(self, stub: OptimizerServiceStub, campaigns: Iterator[str]) -> None:
        self._stub = stub
        self._campaigns = campaigns
        self.refused = 0

    async def ask(self) -> float:
        """Return the seconds that an answer or a refusal took."""
        request = OptimizeOfferRequest(campaign_id=next(self._campaigns))
        started = perf_counter()
        try:
            await self._stub.OptimizeOffer(request)
        except grpc.aio.AioRpcError as error:
            if error.code() is not grpc.StatusCode.FAILED_PRECONDITION:
                raise
            self.refused += 1  # no recommendation, for a reason: it takes the same way
        return perf_counter() - started

    async def ask_for(self, seconds: float) -> list[float]:
        """Ask for some seconds; return what each call took."""
        until = perf_counter() + seconds
        taken = []
        while perf_counter() < until:
            taken.append(await self.ask())
        return taken

    async def ask_while(self, work: "asyncio.Task[None]") -> list[float]:
        """Ask until `work` is done; return what each call took."""
        taken = []
        while not work.done():
            taken.append(await self.ask())
        return taken


@asynccontextmanager
async def running_optimizer(database: DatabaseAddresses, folder: Path) -> AsyncIterator[Mapping[str, str]]:
    """Run model server and optimizer; yield their addresses by name."""
    ports = {name: free_port() for name in ("model", "model_metrics", "optimizer", "optimizer_metrics")}
    common = {"MODEL_REPOSITORY": str(folder / "models")}
    model = {
        **common,
        "MODEL_SERVER_PORT": str(ports["model"]),
        "MODEL_SERVER_METRICS_PORT": str(ports["model_metrics"]),
        "MODEL_SERVER_LOG_LEVEL": "WARNING",
        "MODEL_SERVER_DRAIN_SECONDS": "0",
    }
    optimizer = {
        **common,
        "OPTIMIZER_PORT": str(ports["optimizer"]),
        "OPTIMIZER_METRICS_PORT": str(ports["optimizer_metrics"]),
        "OPTIMIZER_DATABASE_URL": database.optimizer,
        "OPTIMIZER_MODEL_SERVER_ADDRESS": f"127.0.0.1:{ports['model']}",
        "OPTIMIZER_JOBS_ENABLED": "false",  # their trainings would come on top
        "OPTIMIZER_LOG_LEVEL": "WARNING",
        "OPTIMIZER_DRAIN_SECONDS": "0",
    }
    async with (
        running_server(
            [sys.executable, "-m", "services.model_server"], port=ports["model"], environment=model
        ) as model_address,
        running_server(
            [sys.executable, "-m", "services.optimizer"], port=ports["optimizer"], environment=optimizer
        ) as optimizer_address,
    ):
        yield {"model": model_address, "optimizer": optimizer_address}


async def load_world(database: DatabaseAddresses) -> Sequence[str]:
    """Send a simulated world to an analytics service; return its campaigns."""
    history = History.build(seed=1, as_of=datetime.now(UTC), scale=SCALE)
    port = free_port()
    environment = {
        "ANALYTICS_DATABASE_URL": database.analytics,
        "ANALYTICS_PORT": str(port),
        "ANALYTICS_METRICS_PORT": str(free_port()),
        "ANALYTICS_JOBS_ENABLED": "false",
        "ANALYTICS_DRAIN_SECONDS": "0",
        "ANALYTICS_LOG_LEVEL": "WARNING",
    }
    command = [sys.executable, "-m", "services.analytics"]
    async with (
        running_server(command, port=port, environment=environment) as address,
        Ingestion.open(address, batch_size=10_000, in_flight=3) as ingestion,
    ):
        say(f"loaded: {await load(history, ingestion)}")
    return [message.campaign_id for message in campaign_messages(history.world)]


async def train(stub: OptimizerServiceStub) -> None:
    """Have a model trained, and return when that is over."""
    await stub.TrainModel(TrainModelRequest(), timeout=TRAINING_SECONDS)


async def count_inferences(channel: grpc.aio.Channel) -> int:
    """Return how many inference requests the model server has answered."""
    answer = await GRPCInferenceServiceStub(channel).ModelStatistics(inference.ModelStatisticsRequest())
    return sum(model.inference_stats.success.count for model in answer.model_stats)


async def measure(rounds: int, seconds: float) -> int:
    """Measure, print the table, and return the exit status."""
    with tempfile.TemporaryDirectory() as temporary:
        async with running_database({"fsync": "off"}) as database:
            campaigns = await load_world(database)
            async with (
                running_optimizer(database, Path(temporary)) as addresses,
                grpc.aio.insecure_channel(addresses["optimizer"]) as channel,
                grpc.aio.insecure_channel(addresses["model"]) as model,
            ):
                stub = OptimizerServiceStub(channel)
                say("training the first model")
                await train(stub)
                offers = Offers(stub, itertools.cycle(campaigns))
                inferences = [await count_inferences(model)]
                for _ in campaigns:
                    await offers.ask()
                    inferences.append(await count_inferences(model))
                idle, training = await take_rounds(offers, stub, rounds=rounds, seconds=seconds)
    return tell(idle, training, float(max(np.diff(inferences))))


async def take_rounds(
    offers: Offers, stub: OptimizerServiceStub, *, rounds: int, seconds: float
) -> tuple[Sequence[Sequence[float]], Sequence[Sequence[float]]]:
    """Return the seconds of each call, round by round: without a training, and during one."""
    idle, training = [], []
    for number in range(rounds):
        idle.append(await offers.ask_for(seconds))
        work = asyncio.create_task(train(stub))
        training.append(await offers.ask_while(work))
        await work
        say(
            f"round {number + 1}: p99 {_p99(idle[-1]) * 1e3:.1f} ms of {len(idle[-1]):,} calls idle, "
            f"{_p99(training[-1]) * 1e3:.1f} ms of {len(training[-1]):,} during a training"
        )
    return idle, training


def _p99(seconds: Sequence[float]) -> float:
    if len(seconds) < FEWEST_CALLS:
        raise ValueError(f"only {len(seconds)} calls: too few for a 99th percentile")
    return float(np.percentile(seconds, 99))


def tell(idle: Sequence[Sequence[float]], training: Sequence[Sequence[float]], inferences: float) -> int:
    """Print the table and the marks."""
    rows = []
    for name, measured in (("no training", idle), ("during a training", training)):
        together = np.concatenate([np.asarray(each) for each in measured])
        percentiles = np.percentile(together, [50, 90, 99]) * 1e3
        rows.append([name, f"{len(together):,}", *(f"{value:.1f}" for value in percentiles)])
    print_table("OptimizeOffer, one call after another", ["", "calls", "p50 ms", "p90 ms", "p99 ms"], rows)
    ratio = statistics.median(
        _p99(during) / _p99(without) for during, without in zip(training, idle, strict=True)
    )
    marks = [
        Mark(
            name="p99 during a training / without one",
            value=ratio,
            limit=SLOWER_MARK,
            detail=f"{rows[1][4]} ms / {rows[0][4]} ms",
        ),
        Mark(name="most inference RPCs of a call", value=inferences, limit=1.0, detail="41 offers in one"),
    ]
    return report("OptimizeOffer", marks)


def main() -> int:
    """Return the exit status: 1 where a mark is missed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.offers", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="rounds, each with a training (default: 5)")
    parser.add_argument(
        "--seconds", type=float, default=5.0, help="seconds of asking before each (default: 5)"
    )
    arguments = parser.parse_args()
    return uvloop.run(measure(arguments.rounds, arguments.seconds))


if __name__ == "__main__":
    sys.exit(main())
