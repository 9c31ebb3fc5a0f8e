"""What every benchmark here shares: the machine, interleaved timing, tables, pass marks.

Absolute figures of one machine say little about another, and on a busy machine little about themselves. So
everything is told as a ratio of two things timed in turns within one run: what slows one slows the other.
"""

import asyncio
import os
import platform
import socket
import statistics
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from signal import SIGINT
from time import perf_counter

import grpc

from deploy.local import bootstrap
from deploy.local.bootstrap import DatabaseAddresses
from deploy.local.postgres import Cluster, launch_command, server_user

Work = Callable[[], Awaitable[object]]
DATABASE = "benchmark"
START_SECONDS = 60.0
_PASSWORD_BYTES = 16


@dataclass(frozen=True, kw_only=True)
class Timing:
    """What one candidate took: the median over rounds of a round's seconds per call, and every round's."""

    seconds: float
    rounds: Sequence[float]

    def ratio_to(self, other: "Timing") -> float:
        """Return the median over rounds of this one's time by the other's time in the same round."""
        return statistics.median(a / b for a, b in zip(self.rounds, other.rounds, strict=True))


@dataclass(frozen=True, kw_only=True)
class Mark:
    """A figure with what it has to reach; `at_most`: which side of `limit` is good; no limit: told only."""

    name: str
    value: float
    limit: float | None = None
    at_most: bool = True
    detail: str = ""

    @property
    def is_met(self) -> bool:
        """Whether the figure is on the good side."""
        if self.limit is None:
            return True
        return self.value <= self.limit if self.at_most else self.value >= self.limit


async def time_in_turns(
    candidates: Mapping[str, Work],
    *,
    rounds: int = 30,
    calls: int | Mapping[str, int] = 20,
    warm_up: int = 20,
) -> Mapping[str, Timing]:
    """Time candidates in turns: in every round each is called `calls` times, the first in line changing.

    A round's figure is the median of its calls, so that one interruption does not stand for all. `calls` may
    be by name: who is much faster needs more of them, or most find the caches as the other left them.
    """
    for work in candidates.values():
        for _ in range(warm_up):
            await work()
    names = list(candidates)
    taken: dict[str, list[float]] = {name: [] for name in names}
    for number in range(rounds):
        turn = number % len(names)
        for name in [*names[turn:], *names[:turn]]:
            work = candidates[name]
            single = []
            for _ in range(calls if isinstance(calls, int) else calls[name]):
                started = perf_counter()
                await work()
                single.append(perf_counter() - started)
            taken[name].append(statistics.median(single))
    return {name: Timing(seconds=statistics.median(each), rounds=each) for name, each in taken.items()}


async def calls_per_second(
    channel: grpc.aio.Channel, method: str, payloads: Iterator[bytes], *, streams: int, seconds: float
) -> float:
    """Keep `streams` calls in flight for some seconds, each of the next payload; return answers a second."""
    call = channel.unary_unary(method, request_serializer=bytes, response_deserializer=bytes)
    finished = 0
    started = perf_counter()
    until = started + seconds

    async def work() -> None:
        nonlocal finished
        while perf_counter() < until:
            await call(next(payloads))
            finished += 1

    await asyncio.gather(*(work() for _ in range(streams)))
    return finished / (perf_counter() - started)


def median_ratio(rates: Sequence[float], others: Sequence[float]) -> float:
    """Return the median over rounds of a rate by the other's of the same round."""
    return statistics.median(rate / other for rate, other in zip(rates, others, strict=True))


def describe_machine() -> str:
    """Return the machine in one line: processor, cores, memory, system, Python."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return (
        f"{_processor()}, {os.cpu_count()} cores, {memory:.0f} GiB, {platform.system()}, "
        f"Python {platform.python_version()}"
    )


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def print_table(title: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table: the first column to the left, the others to the right."""
    widths = [max(len(row[column]) for row in [header, *rows]) for column in range(len(header))]
    print(f"\n{title}")
    for row in [header, ["-" * width for width in widths], *rows]:
        cells = [
            cell.ljust(width) if column == 0 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        print("  ".join(cells).rstrip())


def report(title: str, marks: Sequence[Mark]) -> int:
    """Print the figures and whether each is reached; return the exit status, 1 where one is missed."""
    rows = [
        [
            mark.name,
            f"{mark.value:.2f}",
            "" if mark.limit is None else f"{'<=' if mark.at_most else '>='} {mark.limit:g}",
            "" if mark.limit is None else ("met" if mark.is_met else "MISSED"),
            mark.detail,
        ]
        for mark in marks
    ]
    print_table(title, ["what", "ratio", "pass mark", "", "measured"], rows)
    print(f"\nmachine: {describe_machine()}", flush=True)
    return 0 if all(mark.is_met for mark in marks) else 1


def say(text: str) -> None:
    """Tell on standard error what is going on."""
    print(text, file=sys.stderr, flush=True)


def free_port() -> int:
    """Return a loopback port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@asynccontextmanager
async def running_server(
    command: Sequence[str], *, port: int, environment: Mapping[str, str], output: int | None = None
) -> AsyncIterator[str]:
    """Yield the address of a gRPC server of its own process, stopped afterwards.

    `command` is the whole command line; `environment` stands on top of this process's and says the `port`.
    `output` is where both its outputs go, in the words of subprocess (default: where this process's go).
    """
    process = await asyncio.create_subprocess_exec(
        *command, env={**os.environ, **environment}, stdout=output, stderr=output
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


@asynccontextmanager
async def running_database(
    settings: Mapping[str, str] | None = None, *, folder: Path | None = None
) -> AsyncIterator[DatabaseAddresses]:
    """Yield a migrated, empty database of a PostgreSQL server of its own, removed afterwards.

    Its settings are those of `make run`, with `settings` on top. The data lies in a temporary folder, below
    `folder` where one is given.
    """
    with tempfile.TemporaryDirectory(prefix="benchmark-", dir=folder) as temporary:
        cluster = Cluster(
            folder=Path(temporary) / "data",
            port=free_port(),
            password=os.urandom(_PASSWORD_BYTES).hex(),
            settings=settings or {},
        )
        cluster.create(durable=False)
        command = launch_command(cluster.command(), death_signal=SIGINT, user=server_user())
        with (Path(temporary) / "postgres.log").open("wb") as log:
            process = await asyncio.create_subprocess_exec(
                *command, stdout=log, stderr=log, start_new_session=True
            )
            try:
                yield await _prepare(cluster)
            finally:
                process.send_signal(SIGINT)
                await process.wait()


async def _prepare(cluster: Cluster) -> DatabaseAddresses:
    await bootstrap.wait_until_connectable(cluster.url())
    await bootstrap.create_database(cluster.url(), name=DATABASE)
    url = cluster.url(database=DATABASE)
    passwords = {role: os.urandom(_PASSWORD_BYTES).hex() for role in bootstrap.LOGIN_ROLES}
    await bootstrap.create_roles(url)
    await bootstrap.ensure_passwords(url, passwords, new=passwords)
    await asyncio.to_thread(bootstrap.migrate_services, url)
    return bootstrap.addresses(url, passwords)
