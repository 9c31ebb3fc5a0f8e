"""Events a second through the RPC, with every rollup and the conflict check, against COPY into a bare table.

Run it as `python -m benchmarks.ingestion`. The client, the server (a process of its own) and PostgreSQL, durable
and with the settings of `make run`, share one machine. What is timed takes turns, and ratios are medians over
rounds.
"""

import argparse
import asyncio
import os
import statistics
import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from time import perf_counter
from typing import Any
from zoneinfo import ZoneInfo

import asyncpg
import grpc
import numpy as np
from google.protobuf.timestamp_pb2 import Timestamp

from benchmarks.common import Mark, free_port, print_table, report, running_database, say
from deploy.local.bootstrap import DatabaseAddresses
from examples.simulated_world.loading import History
from examples.simulated_world.messages import campaign_messages, merchant_messages, user_messages
from gen.campaigns.analytics.v1 import analytics_service_pb2, catalog_service_pb2
from gen.campaigns.analytics.v1.analytics_service_pb2_grpc import AnalyticsServiceStub
from gen.campaigns.analytics.v1.catalog_service_pb2_grpc import CatalogServiceStub
from gen.campaigns.analytics.v1.events_pb2 import Event, EventType
from services.analytics.operations.rolling import RollingOperations
from services.common.database import Database

BATCH_EVENTS = 10_000
IN_FLIGHT = 3
PASS_MARK = 0.10
START_SECONDS = 30
SPARSE_YEARS = 5
SPARSE_BATCHES_KEPT = 20
OPTIONS = [("grpc.max_send_message_length", 64 << 20), ("grpc.max_receive_message_length", 64 << 20)]

Batch = analytics_service_pb2.IngestEventsRequest
Row = tuple[Any, ...]


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
        return statistics.median(a / b for a, b in zip(self.rounds, other.rounds, strict=False))


def dense_batches(history: History) -> Iterator[Batch]:
    """Yield the simulated world in time order, as it happened: some 16,000 events a day in 200 campaigns."""
    events: list[Event] = []
    for event in history.events(refunds=False):
        events.append(event)
        if len(events) == BATCH_EVENTS:
            yield Batch(events=events)
            events = []


def sparse_batches(count: int, *, end: datetime, users: int = 5_000) -> Iterator[Batch]:
    """Yield events of users and campaigns at random over five years, shuffled: nearly every key is new."""
    rng = np.random.default_rng(7)
    kinds = [
        EventType.EVENT_TYPE_DELIVERED,
        EventType.EVENT_TYPE_VIEWED,
        EventType.EVENT_TYPE_CLICKED,
        EventType.EVENT_TYPE_CONVERTED,
    ]
    start = end - timedelta(days=365 * SPARSE_YEARS)
    seconds = int((end - start).total_seconds())
    for batch in range(count):
        drawn = zip(
            rng.choice(4, BATCH_EVENTS, p=[0.5, 0.3, 0.12, 0.08]).tolist(),
            rng.integers(users, size=BATCH_EVENTS).tolist(),
            rng.integers(200, size=BATCH_EVENTS).tolist(),
            rng.integers(seconds, size=BATCH_EVENTS).tolist(),
            strict=True,
        )
        yield Batch(
            events=[
                Event(
                    event_id=f"sparse.{batch}.{number}",
                    event_type=kinds[kind],
                    user_id=f"u{user + 1:05d}",
                    campaign_id=f"c{campaign + 1:03d}",
                    event_time=Timestamp(seconds=int(start.timestamp()) + second),
                    cost=0.05 if kind == 0 else None,
                    revenue=20.25 if kind == 3 else None,
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


@asynccontextmanager
async def running_analytics(database: DatabaseAddresses) -> AsyncIterator[str]:
    """Yield the address of a server of its own process, without jobs, stopped afterwards."""
    port = free_port()
    environment = {
        **os.environ,
        "ANALYTICS_DATABASE_URL": database.analytics,
        "ANALYTICS_PORT": str(port),
        "ANALYTICS_METRICS_PORT": "0",
        "ANALYTICS_JOBS_ENABLED": "false",
        "ANALYTICS_LOG_LEVEL": "WARNING",
        "REPORTING_TIME_ZONE": "America/New_York",
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "services.analytics", env=environment
    )
    try:
        address = f"127.0.0.1:{port}"
        async with grpc.aio.insecure_channel(address) as channel:
            await asyncio.wait_for(channel.channel_ready(), START_SECONDS)
        yield address
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


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
    sparse = list(sparse_batches(SPARSE_BATCHES_KEPT + rounds * per_round, end=today))
    rates = {name: Rates() for name in ("copy", "three", "one", "repeated", "sparse")}
    async with running_database() as database, running_analytics(database) as address:
        connection = await asyncpg.connect(database.admin)
        copy = Copy(connection)
        await copy.create()
        async with grpc.aio.insecure_channel(address, options=OPTIONS) as channel:
            stub = AnalyticsServiceStub(channel)
            await add_catalog(channel, history)
            await begin_window(database, today)
            say(f"{len(dense)} batches of the simulated world, {len(sparse)} sparse ones")
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
            scattered = iter(sparse)
            await send(stub, [next(scattered) for _ in range(SPARSE_BATCHES_KEPT)], senders=IN_FLIGHT)
            for _ in range(rounds):
                part = [next(scattered) for _ in range(per_round)]
                rates["sparse"].rounds.append(await send(stub, part, senders=IN_FLIGHT))
        await connection.close()
    return tell(rates)


def tell(rates: dict[str, Rates]) -> int:
    """Print the table and the marks."""
    names = {
        "copy": "COPY into an unlogged table without index",
        "three": "three batches in flight",
        "one": "one sender",
        "repeated": "duplicates, three in flight",
        "sparse": "sparse history, three in flight",
    }
    print_table(
        f"Events a second, in batches of {BATCH_EVENTS:,}",
        ["what", "median", "slowest round", "fastest round"],
        [
            [
                names[name],
                f"{rate.median:,.0f}",
                f"{min(rate.rounds):,.0f}",
                f"{max(rate.rounds):,.0f}",
            ]
            for name, rate in rates.items()
        ],
    )
    marks = [
        Mark(
            name=names[name],
            value=rates[name].ratio_to(rates["copy"]),
            limit=PASS_MARK if name == "three" else None,
            at_most=False,
            detail=f"{rates[name].median:,.0f}/s",
        )
        for name in ("three", "one", "repeated", "sparse")
    ]
    return report("Of COPY", marks)


def main() -> int:
    """Read the arguments and measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5, help="rounds, each with everything (default: 5)")
    parser.add_argument("--batches", type=int, default=6, help="batches of a round (default: 6)")
    arguments = parser.parse_args()
    return asyncio.run(measure(arguments.rounds, arguments.batches))


if __name__ == "__main__":
    raise SystemExit(main())
