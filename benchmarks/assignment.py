"""First assignments a second through the RPC, durable, against hashing alone and a commit per request.

Run it as `python -m benchmarks.assignment`. Three servers, one process each, with the same interceptors and
conversions: the service, one that hashes and keeps nothing, and one that commits every request by itself. One
Python client asks them in turns, 64 calls in flight, never for the same user twice. Client, servers and
PostgreSQL, durable with the settings of `make run`, share one machine; ratios are medians over rounds.
"""

import argparse
import asyncio
import itertools
import statistics
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack

import asyncpg
import grpc

from benchmarks.common import (
    Mark,
    calls_per_second,
    free_port,
    median_ratio,
    print_table,
    report,
    running_database,
    running_server,
    say,
)
from deploy.local.bootstrap import DatabaseAddresses
from gen.campaigns.abtest.v1 import assignments_pb2, tests_pb2
from gen.campaigns.abtest.v1.abtest_service_pb2_grpc import ABTestServiceStub

STREAMS = 64
HASH_MARK, ROW_MARK = 0.85, 1.8
METHOD = "/campaigns.abtest.v1.ABTestService/AssignUser"
WAYS = {
    "durable": ("durable, committed together", ["services.abtest"]),
    "hash": ("hash only, nothing kept", ["benchmarks.assignment_server", "hash"]),
    "row": ("a commit per request", ["benchmarks.assignment_server", "row"]),
}
CAMPAIGNS = ("camp_control", "camp_variant")


def running_service(
    module: Sequence[str], environment: Mapping[str, str]
) -> AbstractAsyncContextManager[str]:
    """Run a server of abtest's settings; the block has its address."""
    port = free_port()
    settings = {
        "ABTEST_PORT": str(port),
        "ABTEST_METRICS_PORT": str(free_port()),
        "ABTEST_DRAIN_SECONDS": "0",
        "ABTEST_LOG_LEVEL": "WARNING",
    }
    return running_server([sys.executable, "-m", *module], port=port, environment={**settings, **environment})


async def create_test(address: str, database: DatabaseAddresses) -> str:
    """Create a running test of two campaigns; return its test_id."""
    connection = await asyncpg.connect(database.admin)
    await connection.executemany(
        "insert into analytics.campaigns (campaign_id) values ($1)", [(name,) for name in CAMPAIGNS]
    )
    await connection.close()
    async with grpc.aio.insecure_channel(address) as channel:
        created = await ABTestServiceStub(channel).CreateTest(
            tests_pb2.CreateTestRequest(
                test_name="benchmark",
                control_campaign_id=CAMPAIGNS[0],
                variant_campaign_id=CAMPAIGNS[1],
                target_sample_size=1_000_000,
            )
        )
    return created.test_id


def requests(test_id: str, numbers: Iterator[int]) -> Iterator[bytes]:
    """Yield requests for ever new users."""
    for number in numbers:
        yield assignments_pb2.AssignUserRequest(
            test_id=test_id, user_id=f"user-{number:09d}"
        ).SerializeToString()


async def assign(channel: grpc.aio.Channel, payloads: Iterator[bytes], seconds: float) -> float:
    """Assign for some seconds; return the answers a second."""
    return await calls_per_second(channel, METHOD, payloads, streams=STREAMS, seconds=seconds)


async def count_assignments(database: DatabaseAddresses) -> tuple[int, int, int]:
    """Return how many assignments are kept, how many the counters say, and in how many commits."""
    connection = await asyncpg.connect(database.admin)
    try:
        row = await connection.fetchrow(
            "select (select count(*) from abtest.ab_test_assignments) as kept,"
            " (select count(distinct assigned_at) from abtest.ab_test_assignments) as commits,"
            " (select coalesce(sum(users), 0)::bigint from abtest.ab_test_group_counters) as counted"
        )
    finally:
        await connection.close()
    assert row is not None
    return row["kept"], row["counted"], row["commits"]


async def measure(rounds: int, seconds: float) -> int:
    """Take the rounds; print what was measured; return 1 where a pass mark is missed."""
    rates: dict[str, list[float]] = {way: [] for way in WAYS}
    numbers = itertools.count()
    async with running_database() as database, AsyncExitStack() as stack:
        environment = {"ABTEST_DATABASE_URL": database.abtest}
        durable = await stack.enter_async_context(running_service(WAYS["durable"][1], environment))
        test_id = await create_test(durable, database)
        environment["TEST_ID"] = test_id
        addresses = {"durable": durable} | {
            way: await stack.enter_async_context(running_service(WAYS[way][1], environment))
            for way in ("hash", "row")
        }
        channels = {
            way: await stack.enter_async_context(grpc.aio.insecure_channel(address))
            for way, address in addresses.items()
        }
        payloads = requests(test_id, numbers)
        for way in WAYS:
            await assign(channels[way], payloads, seconds)
        for number in range(rounds):
            ways = list(WAYS)
            for way in ways[number % len(ways) :] + ways[: number % len(ways)]:
                rates[way].append(await assign(channels[way], payloads, seconds))
            say(", ".join(f"{way} {rate[-1]:,.0f}/s" for way, rate in rates.items()))
        kept, counted, commits = await count_assignments(database)
    assert kept == counted, f"{kept} assignments are kept, {counted} counted"
    say(f"{kept:,} assignments kept, and as many counted; {commits:,} commits")
    return tell(rates)


def tell(rates: Mapping[str, Sequence[float]]) -> int:
    """Print the table and the marks."""
    print_table(
        f"First assignments a second, {STREAMS} calls in flight",
        ["what", "median", "slowest round", "fastest round"],
        [
            [WAYS[way][0], *(f"{value:,.0f}" for value in (statistics.median(rate), min(rate), max(rate)))]
            for way, rate in rates.items()
        ],
    )
    durable = rates["durable"]
    marks = [
        Mark(
            name=f"durable / {WAYS[other][0]}",
            value=median_ratio(durable, rates[other]),
            limit=limit,
            at_most=False,
            detail=f"{statistics.median(durable):,.0f}/s of {statistics.median(rates[other]):,.0f}/s",
        )
        for other, limit in (("hash", HASH_MARK), ("row", ROW_MARK))
    ]
    return report("Durable assignment", marks)


def main() -> int:
    """Read the arguments and measure."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.assignment",
        description=__doc__,
        formatter_class=argparse.RawTextHelpFormatter,
    )
    parser.add_argument("--rounds", type=int, default=7, help="rounds, each with everything (default: 7)")
    parser.add_argument("--seconds", type=float, default=2.0, help="seconds of a turn (default: 2)")
    arguments = parser.parse_args()
    return asyncio.run(measure(arguments.rounds, arguments.seconds))


if __name__ == "__main__":
    raise SystemExit(main())
