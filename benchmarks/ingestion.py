"""Events a second through the RPC, with every rollup and the conflict check, against COPY into a bare table.

Run it as `python -m benchmarks.ingestion`. The client, the server (a process of its own) and PostgreSQL,
durable with the settings of `make run`, share one machine. What is timed takes turns; ratios are medians over
rounds.
"""

import argparse
import asyncio
import statistics
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from time import perf_counter
from typing import Any
from zoneinfo import ZoneInfo

import asyncpg
import grpc
import numpy as np
import numpy.typing as npt
from google.protobuf.timestamp_pb2 import Timestamp

from benchmarks.common import Mark, free_port, print_table, report, running_database, running_server, say
from deploy.local.bootstrap import DatabaseAddresses
from examples.simulated_world.campaigns import CAMPAIGN_COUNT
from examples.simulated_world.loading import History
from examples.simulated_world.messages import (
    campaign_id,
    campaign_messages,
    merchant_messages,
    user_id,
    user_messages,
)
from examples.simulated_world.population import USER_COUNT
from gen.campaigns.analytics.v1 import analytics_service_pb2, catalog_service_pb2
from gen.campaigns.analytics.v1.analytics_service_pb2_grpc import AnalyticsServiceStub
from gen.campaigns.analytics.v1.catalog_service_pb2_grpc import CatalogServiceStub
from gen.campaigns.analytics.v1.events_pb2 import Event, EventType
from services.analytics.operations.rolling import RollingOperations
from services.common.database import Database

BATCH_EVENTS = 10_000
IN_FLIGHT = 3
PASS_MARK = 0.10
EVEN_DAYS = 3
SPARSE_YEARS = 5
HISTORY_BATCHES = 20
"""How many batches of another history are sent before it is timed."""
KINDS = (
    EventType.EVENT_TYPE_DELIVERED,
    EventType.EVENT_TYPE_VIEWED,
    EventType.EVENT_TYPE_CLICKED,
    EventType.EVENT_TYPE_CONVERTED,
)
KIND_SHARES = (0.5, 0.3, 0.12, 0.08)
NAMES = {
    "copy": "COPY into an unlogged table without index",
    "three": "three batches in flight",
    "one": "one sender",
    "repeated": "duplicates, three in flight",
    "even": "all campaigns and users evenly, three in flight",
    "copy beside even": "COPY beside it",
    "sparse": "five years shuffled, three in flight",
    "copy beside sparse": "COPY beside it",
}
OTHERS = ("even", "sparse")
OPTIONS = [("grpc.max_send_message_length", 64 << 20), ("grpc.max_receive_message_length", 64 << 20)]

Batch = analytics_service_pb2.IngestEventsRequest
Row = tuple[Any, ...]
Seconds = npt.NDArray[np.int64]


@dataclass(kw_only=True)
class Rates:
    """Events a second of each round."""

    rounds: list[float] = field(default_factory=list)

    @property
    def median(self) -> float:
        """The middle round."""
        return statistics.median(self.rounds)

    def ratio_to(self, other: "Rates") -> float:
        """Return the median over rounds of this rate by the other's of the same round."""
        return statistics.median(a / b for a, b in zip(self.rounds, other.rounds, strict=True))


def dense_batches(history: History) -> Iterator[Batch]:
    """Yield the simulated world in time order, as it happened: some 16,000 events a day in 200 campaigns."""
    events: list[Event] = []
    for event in history.events(refunds=False):
        events.append(event)
        if len(events) == BATCH_EVENTS:
            yield Batch(events=events)
            events = []


def even_batches(count: int, *, end: datetime) -> Iterator[Batch]:
    """Yield three days in time order in which all 200 campaigns reach 5,000 users at random."""
    start = end - timedelta(days=EVEN_DAYS)
    total = count * BATCH_EVENTS
    seconds = np.arange(total) * (EVEN_DAYS * 86_400) // total
    yield from _drawn_batches("even", start, seconds)


def sparse_batches(count: int, *, end: datetime) -> Iterator[Batch]:
    """Yield five years, shuffled, of 200 campaigns and 5,000 users at random: nearly every key is new."""
    start = end - timedelta(days=365 * SPARSE_YEARS)
    seconds = np.random.default_rng(5).integers(365 * SPARSE_YEARS * 86_400, size=count * BATCH_EVENTS)
    yield from _drawn_batches("sparse", start, seconds)


def _drawn_batches(prefix: str, start: datetime, seconds: Seconds) -> Iterator[Batch]:
    """Yield events of users and campaigns at random, at seconds after a start."""
    rng = np.random.default_rng(7)
    epoch = int(start.timestamp())
    for first in range(0, len(seconds), BATCH_EVENTS):
        drawn = zip(
            rng.choice(4, BATCH_EVENTS, p=KIND_SHARES).tolist(),
            rng.integers(USER_COUNT, size=BATCH_EVENTS).tolist(),
            rng.integers(CAMPAIGN_COUNT, size=BATCH_EVENTS).tolist(),
            seconds[first : first + BATCH_EVENTS].tolist(),
            strict=True,
        )
        yield Batch(
            events=[
                Event(
                    event_id=f"{prefix}.{first + number}",
                    event_type=KINDS[kind],
                    user_id=user_id(user),
                    campaign_id=campaign_id(campaign),
                    event_time=Timestamp(seconds=epoch + second),
                    cost=0.05 if KINDS[kind] == EventType.EVENT_TYPE_DELIVERED else None,
                    revenue=20.25 if KINDS[kind] == EventType.EVENT_TYPE_CONVERTED else None,
                )
                for number, (kind, user, campaign, second) in enumerate(drawn)
            ]
        )


def to_rows(batch: Batch) -> list[Row]:
    """Return a batch's events as rows of the table `events`, made before anything is timed."""
    now = datetime.now(UTC)
    return [
        (
            e.user_id,
            e.event_id,
            e.campaign_id or None,
            (at := datetime.fromtimestamp(e.event_time.seconds, UTC)),
            at,
            round(e.revenue * 1_000_000) if e.HasField("revenue") else None,
            round(e.cost * 1_000_000) if e.HasField("cost") else None,
            round(e.offer_amount * 1_000_000) if e.HasField("offer_amount") else None,
            e.merchant_id or None,
            1,
            int(e.event_type),
            int(e.channel) or None,
            0,
            e.is_machine_open,
            "USD",
            e.original_event_id or None,
            e.custom_event_name or None,
            e.propensity if e.HasField("propensity") else None,
            e.policy_version or None,
            now,
        )
        for e in batch.events
    ]


def running_analytics(database: DatabaseAddresses) -> AbstractAsyncContextManager[str]:
    """Run a server without jobs; the block has its address."""
    port = free_port()
    environment = {
        "ANALYTICS_DATABASE_URL": database.analytics,
        "ANALYTICS_PORT": str(port),
        "ANALYTICS_METRICS_PORT": "0",
        "ANALYTICS_JOBS_ENABLED": "false",
        "ANALYTICS_LOG_LEVEL": "WARNING",
        "REPORTING_TIME_ZONE": "America/New_York",
    }
    command = [sys.executable, "-m", "services.analytics"]
    return running_server(command, port=port, environment=environment)


async def add_catalog(channel: grpc.aio.Channel, history: History) -> None:
    """Put the simulated world's catalog in."""
    stub = CatalogServiceStub(channel)
    world = history.world
    merchants = merchant_messages(world)
    await stub.UpsertMerchants(catalog_service_pb2.UpsertMerchantsRequest(merchants=merchants))
    users = user_messages(world)
    for start in range(0, len(users), 1000):
        chunk = users[start : start + 1000]
        await stub.UpsertUsers(catalog_service_pb2.UpsertUsersRequest(users=chunk))
    await stub.UpsertCampaigns(catalog_service_pb2.UpsertCampaignsRequest(campaigns=campaign_messages(world)))


async def begin_window(database: DatabaseAddresses, moment: datetime) -> None:
    """Have the last 30 days end at a moment, so that the batches count in them."""
    opened = await Database.open(database.analytics, application_name="benchmark", max_size=1)
    try:
        await RollingOperations(opened, zone=ZoneInfo("America/New_York"), clock=lambda: moment).roll()
    finally:
        await opened.close()


async def send(stub: AnalyticsServiceStub, batches: Sequence[Batch], *, senders: int) -> float:
    """Send batches by some senders, each waiting for its answer; return the events a second."""
    waiting = iter(batches)

    async def work() -> int:
        total = 0
        for batch in waiting:
            answer = await stub.IngestEvents(batch)
            assert not answer.rejections, answer.rejections[0]
            total += answer.accepted_count + answer.duplicate_count
        return total

    started = perf_counter()
    counts = await asyncio.gather(*(work() for _ in range(senders)))
    return sum(counts) / (perf_counter() - started)


class Copy:
    """COPY into an unlogged copy of `events` that has no index."""

    def __init__(self, connection: asyncpg.Connection) -> None:
        self._connection = connection

    async def create(self) -> None:
        """Create the table."""
        await self._connection.execute("create unlogged table public.bare (like analytics.events)")

    async def rate(self, rows: Sequence[Row]) -> float:
        """Copy rows into the emptied table; return the rows a second."""
        await self._connection.execute("truncate public.bare")
        started = perf_counter()
        await self._connection.copy_records_to_table("bare", schema_name="public", records=rows)
        return len(rows) / (perf_counter() - started)


async def measure(rounds: int, per_round: int) -> int:
    """Take the rounds; print what was measured; return 1 where the pass mark is missed."""
    today = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    history = History.build(seed=1, as_of=today)
    warm_up, needed = 2 * per_round, rounds * (per_round + per_round // 2)
    dense = list(dense_batches(history))[-(warm_up + needed) :]
    others = {
        "even": list(even_batches(HISTORY_BATCHES + rounds * per_round, end=today)),
        "sparse": list(sparse_batches(HISTORY_BATCHES + rounds * per_round, end=today)),
    }
    rates = {name: Rates() for name in NAMES}
    async with running_database() as database, running_analytics(database) as address:
        connection = await asyncpg.connect(database.admin)
        copy = Copy(connection)
        await copy.create()
        async with grpc.aio.insecure_channel(address, options=OPTIONS) as channel:
            stub = AnalyticsServiceStub(channel)
            await add_catalog(channel, history)
            await begin_window(database, today)
            say(f"{len(dense)} batches of the simulated world, and two other histories")
            queue = iter(dense)
            first = [next(queue) for _ in range(warm_up)]
            await send(stub, first, senders=IN_FLIGHT)
            rows = [row for batch in first[:per_round] for row in to_rows(batch)]
            for _ in range(rounds):
                before = await copy.rate(rows)
                fresh = [next(queue) for _ in range(per_round)]
                rates["three"].rounds.append(await send(stub, fresh, senders=IN_FLIGHT))
                rates["copy"].rounds.append(statistics.harmonic_mean([before, await copy.rate(rows)]))
                single = [next(queue) for _ in range(per_round // 2)]
                rates["one"].rounds.append(await send(stub, single, senders=1))
                rates["repeated"].rounds.append(await send(stub, single, senders=IN_FLIGHT))
            for name, batches in others.items():
                await send(stub, batches[:HISTORY_BATCHES], senders=IN_FLIGHT)
                for start in range(HISTORY_BATCHES, len(batches), per_round):
                    part = batches[start : start + per_round]
                    rates[name].rounds.append(await send(stub, part, senders=IN_FLIGHT))
                    rates[f"copy beside {name}"].rounds.append(await copy.rate(rows))
        await connection.close()
    return tell(rates)


def tell(rates: Mapping[str, Rates]) -> int:
    """Print the table and the marks."""
    print_table(
        f"Events a second, in batches of {BATCH_EVENTS:,}",
        ["what", "median", "slowest round", "fastest round"],
        [
            [NAMES[name], f"{rate.median:,.0f}", f"{min(rate.rounds):,.0f}", f"{max(rate.rounds):,.0f}"]
            for name, rate in rates.items()
        ],
    )
    marks = [
        Mark(
            name=NAMES[name],
            value=rates[name].ratio_to(rates[f"copy beside {name}" if name in OTHERS else "copy"]),
            limit=PASS_MARK if name == "three" else None,
            at_most=False,
            detail=f"{rates[name].median:,.0f}/s",
        )
        for name in ("three", "one", "repeated", *OTHERS)
    ]
    return report("Of COPY", marks)


def main() -> int:
    """Read the arguments and measure."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.ingestion",
        description=__doc__,
        formatter_class=argparse.RawTextHelpFormatter,
    )
    parser.add_argument("--rounds", type=int, default=5, help="rounds, each with everything (default: 5)")
    parser.add_argument("--batches", type=int, default=6, help="batches of a round (default: 6)")
    arguments = parser.parse_args()
    return asyncio.run(measure(arguments.rounds, arguments.batches))


if __name__ == "__main__":
    raise SystemExit(main())
