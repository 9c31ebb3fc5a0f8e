"""Back-pressure of ingestion: what waits for the database is bounded, whoever sends, and however much."""

import asyncio
import gc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg
import grpc
import pytest

from deploy.local.bootstrap import DatabaseAddresses
from gen.campaigns.analytics.v1 import analytics_service_pb2 as pb
from gen.campaigns.analytics.v1 import events_pb2
from services.analytics.domain.events import EventColumns
from services.analytics.operations.ingestion import IngestionOperations, IngestionResult
from tests.analytics_factories import add_catalog, event, ingest, read_refusal, running_server

SENDERS, EVENTS = 120, 20
WRITING, WAITING = 2, 3
MESSAGES, EVENTS_PER_MESSAGE = 48, 400
FURTHEST_AHEAD = 30
"""Messages of 1 MB a sender may be ahead of the database: more than the transport was seen to hold (9)."""


@asynccontextmanager
async def database_held_up(database: DatabaseAddresses) -> AsyncIterator[None]:
    """Let no batch be written until the end of the block."""
    blocker = await asyncpg.connect(database.admin)
    try:
        async with blocker.transaction():
            await blocker.execute("select pg_advisory_xact_lock(7202, 1)")
            yield
    finally:
        await blocker.close()


def batch(sender: int, size: int = EVENTS) -> list[events_pb2.Event]:
    return [event(f"e{sender}-{number}", user_id=f"u{number}") for number in range(size)]


def count_held_batches() -> int:
    """Return how many batches this process, in which the server runs, holds in columns."""
    gc.collect()
    return sum(isinstance(found, EventColumns) for found in gc.get_objects())


async def stream(*batches: list[events_pb2.Event]) -> AsyncIterator[pb.IngestEventStreamRequest]:
    for events in batches:
        yield pb.IngestEventStreamRequest(events=events)


@pytest.mark.parametrize("by_stream", [False, True])
async def test_beyond_those_who_may_wait_all_are_refused_and_none_is_held(
    database: DatabaseAddresses, *, by_stream: bool
) -> None:
    async with running_server(
        database.analytics, concurrent_batches=WRITING, waiting_batches=WAITING
    ) as stubs:
        await add_catalog(stubs)

        async def send(sender: int) -> int:
            if by_stream:
                answer = await stubs.analytics.IngestEventStream(stream(batch(sender)))
                return int(answer.accepted_count)
            return (await ingest(stubs, *batch(sender))).accepted_count

        async with database_held_up(database):
            calls = {asyncio.ensure_future(send(sender)) for sender in range(SENDERS)}
            refused: set[asyncio.Future[int]] = set()
            while len(refused) < SENDERS - WRITING - WAITING:
                done, calls = await asyncio.wait(calls, return_when=asyncio.FIRST_COMPLETED)
                refused |= done
            for call in refused:
                error = call.exception()
                assert isinstance(error, grpc.aio.AioRpcError)
                told = read_refusal(error)
                assert (told.code, told.reason) == ("RESOURCE_EXHAUSTED", "TOO_MANY_WAITING")
            async with asyncio.timeout(60):  # a caller may know before the server has put the call away
                while count_held_batches() > WRITING + WAITING:
                    await asyncio.sleep(0.01)
        assert await asyncio.gather(*calls) == [EVENTS] * (WRITING + WAITING)
        assert await send(SENDERS) == EVENTS, "whoever was refused may send again"
        metrics = await stubs.analytics.GetCampaignMetrics(pb.GetCampaignMetricsRequest(campaign_id="c1"))
        assert metrics.impressions == EVENTS * (WRITING + WAITING + 1)


async def test_a_sender_cannot_run_ahead_of_a_slow_database(
    database: DatabaseAddresses, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next message is read when the one before is durable; meanwhile the transport holds the sender up.

    The database is slow in turns of the event loop: in each of its writes, the sender has the time to send
    everything, were it let.
    """
    written = 0
    ahead: list[int] = []
    order: list[str] = []
    original = IngestionOperations.ingest

    async def ingest_slowly(self: IngestionOperations, events: EventColumns) -> IngestionResult:
        order.append("read")
        for _ in range(50):
            await asyncio.sleep(0)
        ahead.append(written - len(ahead))
        result = await original(self, events)
        order.append("durable")
        return result

    monkeypatch.setattr(IngestionOperations, "ingest", ingest_slowly)
    async with running_server(database.analytics) as stubs:
        await add_catalog(stubs)
        call = stubs.analytics.IngestEventStream()
        message = pb.IngestEventStreamRequest(
            events=[event("e", policy_version="p" * 2500)] * EVENTS_PER_MESSAGE
        )
        for _ in range(MESSAGES):
            await call.write(message)
            written += 1
        await call.done_writing()
        answer = await call
    assert len(answer.rejections) == MESSAGES * EVENTS_PER_MESSAGE
    assert order == ["read", "durable"] * MESSAGES
    assert max(ahead) <= FURTHEST_AHEAD
