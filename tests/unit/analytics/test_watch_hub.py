"""Everything that is watched in a process, with a number that tests change in place of a database."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pytest

from services.analytics.operations import watch_hub
from services.analytics.operations.changes import EVERYTHING
from services.analytics.operations.watch_hub import Observed, WatchHub
from services.common.errors import (
    DomainError,
    NotFoundError,
    ResourceExhaustedError,
    UnavailableError,
)

NOW = datetime(2026, 3, 31, 12, tzinfo=UTC)
NEVER = 3600.0


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a hub wait less than it would; a test that is about the waiting has its own."""
    monkeypatch.setattr(watch_hub, "MINIMUM_SECONDS", 0.01)
    monkeypatch.setattr(watch_hub, "RETRY_SECONDS", 0.01)


@dataclass
class Number:
    """What is read: a number, how often it was, and what goes wrong first."""

    value: int = 0
    reads: int = 0
    errors: list[Exception] = field(default_factory=list)

    async def read(self) -> int:
        self.reads += 1
        await asyncio.sleep(0)
        if self.errors:
            raise self.errors.pop(0)
        return self.value


@asynccontextmanager
async def running_hub(poll_seconds: float = NEVER, maximum_watchers: int = 1000) -> AsyncIterator[WatchHub]:
    hub = WatchHub(clock=lambda: NOW, poll_seconds=poll_seconds, maximum_watchers=maximum_watchers)
    async with hub.running():
        yield hub


async def following(stream: AsyncIterator[Observed[int]]) -> int:
    observed = await asyncio.wait_for(anext(stream), 60)
    assert observed.read_at == NOW
    return observed.value


async def test_the_first_value_comes_at_once_and_further_ones_when_it_changed() -> None:
    number = Number(value=7)
    async with running_hub() as hub:
        stream = hub.watch("n", number.read)
        assert await following(stream) == 7
        number.value = 8
        hub.hear(frozenset({"n", "unwatched"}))
        assert await following(stream) == 8
        hub.hear(frozenset({"n"}))  # nothing changed: nothing is sent
        waiting = asyncio.ensure_future(anext(stream))
        while number.reads < 3:
            await asyncio.sleep(0.001)
        number.value = 9
        hub.hear(frozenset({EVERYTHING}))
        assert (await asyncio.wait_for(waiting, 60)).value == 9


async def test_watchers_share_one_read_per_change() -> None:
    number = Number()
    async with running_hub() as hub:
        streams = [hub.watch("n", number.read) for _ in range(500)]
        assert await asyncio.gather(*map(following, streams)) == [0] * 500
        assert number.reads == 1
        number.value = 1
        hub.hear(frozenset({"n"}))
        assert await asyncio.gather(*map(following, streams)) == [1] * 500
        assert number.reads == 2


async def test_who_comes_while_a_read_is_under_way_gets_a_later_one() -> None:
    """A change that was committed before somebody came must be in what they get."""
    begun, go_on, value = asyncio.Event(), asyncio.Event(), [1]

    async def read() -> int:
        seen = value[0]
        begun.set()
        await go_on.wait()
        return seen

    async with running_hub() as hub:
        early, late = hub.watch("n", read), hub.watch("n", read)
        first = asyncio.ensure_future(anext(early))
        await begun.wait()
        value[0] = 2
        second = asyncio.ensure_future(anext(late))
        await asyncio.sleep(0)
        go_on.set()
        assert (await first).value == 1
        assert (await second).value == 2


async def test_changes_in_quick_succession_become_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """A hundred of them, of which at most one is read, and told to a watcher, in each half second."""
    monkeypatch.setattr(watch_hub, "MINIMUM_SECONDS", 0.5)
    number, loop = Number(), asyncio.get_running_loop()
    async with running_hub() as hub:
        stream, begun = hub.watch("n", number.read), loop.time()
        await following(stream)
        for value in range(1, 101):
            number.value = value
            hub.hear(frozenset({"n"}))
            await asyncio.sleep(0)
        seen = [await following(stream)]
        while seen[-1] != 100:
            seen.append(await following(stream))
        halves = (loop.time() - begun) / 0.5
        assert len(seen) <= 1 + halves
        assert number.reads <= 2 + halves


async def test_a_slow_reader_gets_the_newest() -> None:
    number = Number()
    async with running_hub() as hub:
        slow, fast = hub.watch("n", number.read), hub.watch("n", number.read)
        assert (await following(slow), await following(fast)) == (0, 0)
        for value in (1, 2, 3):
            number.value = value
            hub.hear(frozenset({"n"}))
            assert await following(fast) == value
        assert await following(slow) == 3


async def test_what_was_lost_with_its_sender_is_found_by_looking() -> None:
    number, other = Number(), Number()
    async with running_hub(poll_seconds=0.01) as hub:
        stream, busy = hub.watch("n", number.read), hub.watch("busy", other.read)
        await asyncio.gather(following(stream), following(busy))
        number.value = 1
        hub.hear(frozenset({"busy"}))  # news of another topic do not put the look off
        assert await following(stream) == 1


async def test_who_leaves_is_forgotten_and_more_than_the_limit_are_refused() -> None:
    number = Number()
    async with running_hub(maximum_watchers=2) as hub:
        streams = [hub.watch("n", number.read), hub.watch("m", number.read)]
        await asyncio.gather(*map(following, streams))
        with pytest.raises(ResourceExhaustedError, match="at most 2"):
            await anext(hub.watch("n", number.read))
        waiting = asyncio.ensure_future(anext(streams[0]))
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        assert hub.watchers == 1
        await streams[1].aclose()
        assert hub.watchers == 0
        reads = number.reads
        hub.hear(frozenset({"n", "m", EVERYTHING}))
        assert await following(hub.watch("n", number.read)) == 0
        assert number.reads == reads + 1


async def test_a_first_read_that_fails_is_the_watchers_answer() -> None:
    unknown = Number(errors=[NotFoundError("no such", reason="CAMPAIGN_UNKNOWN")])
    async with running_hub() as hub:
        with pytest.raises(NotFoundError):
            await anext(hub.watch("n", unknown.read))
        assert hub.watchers == 0
        assert await following(hub.watch("n", unknown.read)) == 0


async def test_watchers_wait_while_the_database_is_away() -> None:
    away: list[Exception] = [UnavailableError("away", reason="DATABASE_UNAVAILABLE"), TimeoutError()]
    number = Number()
    async with running_hub() as hub:
        stream = hub.watch("n", number.read)
        await following(stream)
        number.value, number.errors = 1, away
        hub.hear(frozenset({"n"}))
        assert await following(stream) == 1
        assert number.reads == 4


@pytest.mark.parametrize(
    "error", [NotFoundError("gone", reason="CAMPAIGN_UNKNOWN"), ZeroDivisionError("a defect")]
)
async def test_what_cannot_be_read_any_more_ends_its_own_watchers_only(error: Exception) -> None:
    broken, whole = Number(), Number()
    async with running_hub() as hub:
        stream, other = hub.watch("broken", broken.read), hub.watch("whole", whole.read)
        await asyncio.gather(following(stream), following(other))
        broken.errors, whole.value = [error], 1
        hub.hear(frozenset({EVERYTHING}))
        with pytest.raises(type(error)):
            await following(stream)
        assert await following(other) == 1
        assert await following(hub.watch("broken", broken.read)) == 0


async def test_the_end_of_the_service_ends_every_stream() -> None:
    number = Number()
    async with running_hub() as hub:
        streams = [hub.watch(name, number.read) for name in ("n", "n", "m")]
        await asyncio.gather(*map(following, streams))
        waiting: list[Any] = [asyncio.ensure_future(anext(stream)) for stream in streams]
        await asyncio.sleep(0)
        hub.end()
        for ended in await asyncio.gather(*waiting, return_exceptions=True):
            assert isinstance(ended, DomainError)
            assert (ended.code, ended.reason) == ("UNAVAILABLE", "SERVICE_UNAVAILABLE")
        with pytest.raises(UnavailableError):
            await anext(hub.watch("n", number.read))
        assert hub.watchers == 0
