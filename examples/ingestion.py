"""A small client of the public ingestion RPCs: catalogs and events to a gateway, with retries and progress.

Ingestion is idempotent, so a batch whose fate is unknown is sent again as it is. Batches go out several at a
time and may arrive in any order; what must come after something else is sent in a later call of `send`. Full
batches, three under way, came out fastest through Envoy on two cores: 1.1-1.4 times half-sized batches, 1.3
times the client stream, which is one batch after the other.
"""

import argparse
import asyncio
import os
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final, Self, TypeVar

import grpc
from tqdm import tqdm

from gen.campaigns.analytics.v1 import catalog_service_pb2 as catalog_pb
from gen.campaigns.analytics.v1.analytics_service_pb2 import IngestEventsRequest, IngestEventsResponse
from gen.campaigns.analytics.v1.analytics_service_pb2_grpc import AnalyticsServiceStub
from gen.campaigns.analytics.v1.catalog_service_pb2_grpc import CatalogServiceStub
from gen.campaigns.analytics.v1.events_pb2 import Event

DEFAULT_TARGET: Final = "127.0.0.1:8080"
MAX_BATCH_SIZE: Final = 10_000
DEFAULT_BATCH_SIZE: Final = MAX_BATCH_SIZE
DEFAULT_IN_FLIGHT: Final = 3
CALL_SECONDS: Final = 60.0
ATTEMPTS: Final = 7
FIRST_PAUSE_SECONDS: Final = 0.25
LONGEST_PAUSE_SECONDS: Final = 5.0
SECONDS_PER_LINE: Final = 5.0
REJECTIONS_SHOWN: Final = 10
MAX_MESSAGE_BYTES: Final = 16 * 1024 * 1024
RETRYABLE: Final = frozenset(
    {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.ABORTED, grpc.StatusCode.DEADLINE_EXCEEDED}
)

Message = TypeVar("Message")
Response = TypeVar("Response")


class EventsRejectedError(Exception):
    """The service took a batch and rejected some of its events; the message shows which and why."""


@dataclass(frozen=True, kw_only=True)
class Totals:
    """What became of the events of one `send`; `seconds` is its whole duration, building included."""

    accepted: int
    duplicates: int
    seconds: float

    @property
    def events_per_second(self) -> float:
        """Events answered per second."""
        return (self.accepted + self.duplicates) / max(self.seconds, 1e-9)

    def __add__(self, other: Self) -> Self:
        return type(self)(
            accepted=self.accepted + other.accepted,
            duplicates=self.duplicates + other.duplicates,
            seconds=self.seconds + other.seconds,
        )

    def __str__(self) -> str:
        return (
            f"{self.accepted:,} events accepted, {self.duplicates:,} known already, "
            f"in {self.seconds:.1f} s ({self.events_per_second:,.0f} events/s)"
        )


class Ingestion:
    """Sends catalogs and events over one channel."""

    def __init__(
        self,
        channel: grpc.aio.Channel,
        *,
        batch_size: int = DEFAULT_BATCH_SIZE,
        in_flight: int = DEFAULT_IN_FLIGHT,
    ) -> None:
        if not 1 <= batch_size <= MAX_BATCH_SIZE:
            raise ValueError(f"batch_size must be 1 to {MAX_BATCH_SIZE}, not {batch_size}")
        if in_flight < 1:
            raise ValueError(f"in_flight must be at least 1, not {in_flight}")
        self._catalog = CatalogServiceStub(channel)
        self._analytics = AnalyticsServiceStub(channel)
        self._batch_size = batch_size
        self._in_flight = in_flight

    @classmethod
    @asynccontextmanager
    async def open(
        cls, target: str, *, batch_size: int = DEFAULT_BATCH_SIZE, in_flight: int = DEFAULT_IN_FLIGHT
    ) -> AsyncIterator[Self]:
        """Open a plaintext channel to `target` (host:port), closed at the end of the block."""
        options = [
            ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
            ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
            ("grpc.enable_http_proxy", 0),  # a proxy of the web knows nothing of a gateway nearby
        ]
        async with grpc.aio.insecure_channel(target, options=options) as channel:
            yield cls(channel, batch_size=batch_size, in_flight=in_flight)

    async def upsert_merchants(self, merchants: Iterable[catalog_pb.Merchant]) -> int:
        """Create or replace merchants and return how many."""
        return sum(
            [
                (
                    await _call(
                        self._catalog.UpsertMerchants, catalog_pb.UpsertMerchantsRequest(merchants=batch)
                    )
                ).upserted_count
                for batch in batched(merchants, self._batch_size)
            ]
        )

    async def upsert_users(self, users: Iterable[catalog_pb.User]) -> int:
        """Create or replace users and return how many."""
        return sum(
            [
                (
                    await _call(self._catalog.UpsertUsers, catalog_pb.UpsertUsersRequest(users=batch))
                ).upserted_count
                for batch in batched(users, self._batch_size)
            ]
        )

    async def upsert_campaigns(self, campaigns: Iterable[catalog_pb.Campaign]) -> int:
        """Create or replace campaigns, whose merchants must be there already, and return how many."""
        return sum(
            [
                (
                    await _call(
                        self._catalog.UpsertCampaigns, catalog_pb.UpsertCampaignsRequest(campaigns=batch)
                    )
                ).upserted_count
                for batch in batched(campaigns, self._batch_size)
            ]
        )

    async def send(
        self, events: Iterable[Event], *, total: int | None = None, label: str = "events"
    ) -> Totals:
        """Send events in batches, a few in flight, and return when all are durable and counted.

        `total` (if known) and `label` are for the progress shown on standard error.

        Raises:
            EventsRejectedError: at the first batch with a rejection; what was taken stays.
            grpc.aio.AioRpcError: the service refused a batch, or stayed away through all attempts.
        """
        started = time.monotonic()
        slots = asyncio.Semaphore(self._in_flight)
        accepted = duplicates = 0

        async def deliver(batch: list[Event]) -> None:
            nonlocal accepted, duplicates
            try:
                response = await _call(self._analytics.IngestEvents, IngestEventsRequest(events=batch))
            finally:
                slots.release()
            _refuse_rejections(response, batch)
            accepted += response.accepted_count
            duplicates += response.duplicate_count
            progress.advance(len(batch))

        with Progress(total=total, label=label) as progress:
            try:
                async with asyncio.TaskGroup() as deliveries:
                    for batch in batched(events, self._batch_size):
                        await slots.acquire()
                        deliveries.create_task(deliver(batch))
                        await asyncio.sleep(0)  # the batch leaves before the next one is built
            except ExceptionGroup as failures:
                raise failures.exceptions[0] from None
        return Totals(accepted=accepted, duplicates=duplicates, seconds=time.monotonic() - started)


async def _call(
    method: Callable[..., Awaitable[Response]],
    request: Any,  # noqa: ANN401 (each method has its own)
) -> Response:
    """Call until answered: again after a pause that doubles, if the failure may pass by itself."""
    pause = FIRST_PAUSE_SECONDS
    for attempt in range(1, ATTEMPTS + 1):
        try:
            return await method(request, timeout=CALL_SECONDS)
        except grpc.aio.AioRpcError as error:
            if error.code() not in RETRYABLE or attempt == ATTEMPTS:
                raise
        await asyncio.sleep(pause)
        pause = min(2 * pause, LONGEST_PAUSE_SECONDS)
    raise AssertionError("unreachable: the last attempt returns or raises")


def _refuse_rejections(response: IngestEventsResponse, batch: Sequence[Event]) -> None:
    if not response.rejections:
        return
    lines = [f"{len(response.rejections)} of {len(batch)} events of a batch were rejected:"]
    for rejection in response.rejections[:REJECTIONS_SHOWN]:
        event = batch[rejection.index]
        lines.append(
            f"  user {event.user_id!r}, event {event.event_id!r}, {rejection.field}: "
            f"{rejection.message} ({rejection.reason})"
        )
    if len(response.rejections) > REJECTIONS_SHOWN:
        lines.append(f"  and {len(response.rejections) - REJECTIONS_SHOWN} more")
    raise EventsRejectedError("\n".join(lines))


def batched(items: Iterable[Message], size: int) -> Iterator[list[Message]]:
    """Yield the items in lists of `size`, the last one shorter."""
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch


class Progress:
    """Progress on standard error: a bar on a terminal, else a line every few seconds.

    A parent process that draws the bar for its child says so by its width, in the variable COLUMNS.
    """

    def __init__(self, *, total: int | None, label: str) -> None:
        self._total = total
        self._label = label
        self._count = 0
        self._started = self._said = time.monotonic()
        columns = os.environ.get("COLUMNS", "")
        self._bar: tqdm[Any] | None = None
        if sys.stderr.isatty() or columns.isdigit():
            self._bar = tqdm(
                total=total,
                desc=label,
                unit=" events",
                unit_scale=True,
                mininterval=0.3,
                ncols=int(columns) if columns.isdigit() else None,
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.close()

    def advance(self, count: int) -> None:
        """Count events as done."""
        self._count += count
        if self._bar is not None:
            self._bar.update(count)
            return
        now = time.monotonic()
        if now - self._said >= SECONDS_PER_LINE:
            self._said = now
            of_total = f" of {self._total:,}" if self._total else ""
            rate = self._count / (now - self._started)
            print(
                f"{self._label}: {self._count:,}{of_total}, {rate:,.0f} events/s", file=sys.stderr, flush=True
            )


def add_ingestion_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options that every loader takes."""
    parser.add_argument("--target", default=DEFAULT_TARGET, help="host:port of the gateway (%(default)s)")
    parser.add_argument(
        "--batch-size", type=int, default=DEFAULT_BATCH_SIZE, help="events per request (%(default)s)"
    )
    parser.add_argument(
        "--in-flight", type=int, default=DEFAULT_IN_FLIGHT, help="requests under way at once (%(default)s)"
    )


def run_loader(options: argparse.Namespace, load: Callable[[Ingestion], Awaitable[Totals]]) -> int:
    """Run a loader to its end and return its exit status: 1, after a clear line, if it could not finish.

    `options` has what `add_ingestion_arguments` adds; the total is printed.
    """

    async def run() -> None:
        async with Ingestion.open(
            options.target, batch_size=options.batch_size, in_flight=options.in_flight
        ) as ingestion:
            print(f"total: {await load(ingestion)}")

    try:
        asyncio.run(run())
    except EventsRejectedError as error:
        print(f"stopped: {error}", file=sys.stderr)
        return 1
    except grpc.aio.AioRpcError as error:
        print(f"stopped: {error.code().name}: {error.details()}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("stopped; loading again goes on from here", file=sys.stderr)
        return 130
    return 0
