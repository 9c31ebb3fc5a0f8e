"""The ingestion client against a small server that fails on purpose."""

import asyncio
from argparse import ArgumentParser
from collections.abc import AsyncIterator, Awaitable
from types import SimpleNamespace

import grpc
import pytest

from examples import ingestion
from examples.ingestion import EventsRejectedError, Ingestion, Totals, batched
from gen.campaigns.analytics.v1.analytics_service_pb2 import IngestEventsRequest, IngestEventsResponse
from gen.campaigns.analytics.v1.analytics_service_pb2_grpc import (
    AnalyticsServiceServicer,
    add_AnalyticsServiceServicer_to_server,
)
from gen.campaigns.analytics.v1.events_pb2 import Event, EventRejection

Context = grpc.aio.ServicerContext[IngestEventsRequest, Awaitable[IngestEventsResponse]]


class Analytics(AnalyticsServiceServicer):
    """Keeps event ids; fails as often as `failures` has codes; rejects the event named "bad".

    Answers nobody before so many requests as `crowd` have been under way together.
    """

    def __init__(self) -> None:
        self.failures: list[grpc.StatusCode] = []
        self.batches: list[int] = []
        self.kept: set[str] = set()
        self.under_way = self.most_under_way = 0
        self.crowd = 1
        self.is_crowded = asyncio.Event()

    async def IngestEvents(self, request: IngestEventsRequest, context: Context) -> IngestEventsResponse:
        if self.failures:
            await context.abort(self.failures.pop(0), "on purpose")
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        if self.under_way == self.crowd:
            self.is_crowded.set()
        await asyncio.wait_for(self.is_crowded.wait(), ingestion.CALL_SECONDS)
        await asyncio.sleep(0.01)  # others, were there more, would come
        self.under_way -= 1
        self.batches.append(len(request.events))
        known = sum(event.event_id in self.kept for event in request.events)
        rejections = [
            EventRejection(
                index=index, field="revenue", reason="MONEY_NEGATIVE", message="must be at least 0"
            )
            for index, event in enumerate(request.events)
            if event.event_id == "bad"
        ]
        self.kept.update(event.event_id for event in request.events)
        return IngestEventsResponse(
            accepted_count=len(request.events) - known - len(rejections),
            duplicate_count=known,
            rejections=rejections,
        )


@pytest.fixture
def analytics() -> Analytics:
    return Analytics()


@pytest.fixture
async def target(analytics: Analytics) -> AsyncIterator[str]:
    server = grpc.aio.server()
    add_AnalyticsServiceServicer_to_server(analytics, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    yield f"127.0.0.1:{port}"
    await server.stop(None)


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ingestion, "FIRST_PAUSE_SECONDS", 0.001)


def some_events(count: int) -> list[Event]:
    return [Event(event_id=str(index), user_id="u1") for index in range(count)]


async def send(target: str, events: list[Event], *, in_flight: int = 3) -> Totals:
    async with Ingestion.open(target, batch_size=100, in_flight=in_flight) as client:
        return await client.send(events)


async def test_everything_is_sent_in_batches_and_counted(analytics: Analytics, target: str) -> None:
    totals = await send(target, some_events(1_050))
    assert (totals.accepted, totals.duplicates) == (1_050, 0)
    assert sorted(analytics.batches) == [50] + [100] * 10


async def test_sending_again_only_finds_duplicates(target: str) -> None:
    await send(target, some_events(250))
    totals = await send(target, some_events(250))
    assert (totals.accepted, totals.duplicates) == (0, 250)


@pytest.mark.parametrize("in_flight", [1, 4])
async def test_no_more_requests_are_under_way_than_allowed(
    analytics: Analytics, target: str, in_flight: int
) -> None:
    analytics.crowd = in_flight
    await send(target, some_events(2_000), in_flight=in_flight)
    assert analytics.most_under_way == in_flight


@pytest.mark.parametrize(
    "code",
    [grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.ABORTED, grpc.StatusCode.DEADLINE_EXCEEDED],
)
async def test_a_passing_failure_is_tried_again(
    analytics: Analytics, target: str, code: grpc.StatusCode
) -> None:
    analytics.failures = [code, code]
    totals = await send(target, some_events(300))
    assert totals.accepted == 300


async def test_a_failure_that_stays_ends_the_sending(analytics: Analytics, target: str) -> None:
    analytics.failures = [grpc.StatusCode.UNAVAILABLE] * 100
    with pytest.raises(grpc.aio.AioRpcError) as failure:
        await send(target, some_events(10))
    assert failure.value.code() is grpc.StatusCode.UNAVAILABLE
    assert len(analytics.failures) == 100 - ingestion.ATTEMPTS


async def test_a_refused_request_is_not_tried_again(analytics: Analytics, target: str) -> None:
    analytics.failures = [grpc.StatusCode.RESOURCE_EXHAUSTED]
    with pytest.raises(grpc.aio.AioRpcError) as failure:
        await send(target, some_events(10))
    assert failure.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert analytics.batches == []


async def test_a_rejected_event_stops_the_sending_and_is_named(analytics: Analytics, target: str) -> None:
    events = some_events(2_000)
    events[120] = Event(event_id="bad", user_id="u7")
    with pytest.raises(EventsRejectedError, match=r"(?s)1 of 100 .*'u7'.*'bad'.*revenue.*MONEY_NEGATIVE"):
        await send(target, events, in_flight=1)
    assert len(analytics.batches) < 20


@pytest.mark.parametrize(("batch_size", "in_flight"), [(0, 1), (10_001, 1), (1, 0)])
async def test_impossible_settings_are_refused(target: str, batch_size: int, in_flight: int) -> None:
    with pytest.raises(ValueError, match="must be"):
        async with Ingestion.open(target, batch_size=batch_size, in_flight=in_flight):
            pass


def test_without_a_terminal_progress_is_a_line_every_few_seconds(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    clock = iter([0.0, 1.0, 2.0, 5.5, 6.0, 11.0])
    monkeypatch.setattr("examples.ingestion.time", SimpleNamespace(monotonic=lambda: next(clock)))
    with ingestion.Progress(total=1_000, label="world") as progress:
        for _ in range(5):
            progress.advance(200)
    assert capsys.readouterr().err.splitlines() == [
        "world: 600 of 1,000, 109 events/s",
        "world: 1,000 of 1,000, 91 events/s",
    ]


def test_a_parent_that_draws_the_bar_gives_its_width(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    with ingestion.Progress(total=1_000, label="world") as progress:
        progress.advance(1_000)
    shown = capsys.readouterr().err
    assert "\r" in shown
    assert "1.00k/1.00k" in shown


def test_a_loader_that_cannot_finish_says_why_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    async def fail(_ingestion: ingestion.Ingestion) -> ingestion.Totals:
        raise EventsRejectedError("1 of 2 events")

    parser = ArgumentParser()
    ingestion.add_ingestion_arguments(parser)
    assert ingestion.run_loader(parser.parse_args([]), fail) == 1
    assert capsys.readouterr().err == "stopped: 1 of 2 events\n"


def test_batches_are_cut_to_size() -> None:
    assert list(batched(range(5), 2)) == [[0, 1], [2, 3], [4]]
    assert list(batched([], 2)) == []
