"""What is told of changes: small payloads, and everything where they would be too large."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, cast

import pytest

from services.analytics.operations import changes as module
from services.analytics.operations.changes import (
    EVERYTHING,
    MAXIMUM_PAYLOAD_BYTES,
    MAXIMUM_TOPICS,
    Changes,
    campaign_topic,
    decode_topics,
    encode_topics,
)
from services.common.database import Database
from services.common.errors import UnavailableError


def test_topics_come_back_as_they_were_sent() -> None:
    topics = {campaign_topic('ü"\n'), campaign_topic("*"), "portfolio"}
    payload = encode_topics(topics)
    assert decode_topics(payload) == topics
    assert payload.isascii()


def test_too_many_topics_are_everything() -> None:
    few = {campaign_topic(f"c{number:03}") for number in range(100)}
    assert decode_topics(encode_topics(few)) == few
    many = {campaign_topic("ü" * 128 + str(number)) for number in range(11)}
    assert len(encode_topics(many)) <= MAXIMUM_PAYLOAD_BYTES
    assert decode_topics(encode_topics(many)) == {EVERYTHING}


@pytest.mark.parametrize("payload", ["", "c1", "{}", "[1]", '"c1"'])
def test_what_is_not_ours_stands_for_everything(payload: str) -> None:
    assert decode_topics(payload) == {EVERYTHING}


@dataclass
class Channel:
    """A database of notifications alone; what goes wrong first is told beforehand."""

    connecting: list[Exception] = field(default_factory=list)
    sending: list[Exception] = field(default_factory=list)
    sent: "asyncio.Queue[frozenset[str]]" = field(default_factory=asyncio.Queue)
    checks: int = 0

    @asynccontextmanager
    async def listen(self, _channel: str, hear: Callable[[str], None]) -> AsyncIterator["Channel"]:
        if self.connecting:
            raise self.connecting.pop(0)
        self.hear, self.lost = hear, asyncio.Event()
        yield self

    async def send(self, payload: str) -> None:
        if self.sending:
            raise self.sending.pop(0)
        self.sent.put_nowait(decode_topics(payload))
        self.hear(payload)

    async def check(self) -> None:
        self.checks += 1


def changes_over(channel: Channel) -> tuple[Changes, "asyncio.Queue[frozenset[str]]"]:
    heard: asyncio.Queue[frozenset[str]] = asyncio.Queue()
    return Changes(cast("Database", cast("Any", channel)), heard.put_nowait), heard


async def next_of(queue: "asyncio.Queue[frozenset[str]]") -> frozenset[str]:
    return await asyncio.wait_for(queue.get(), 60)


async def test_marks_are_sent_together_and_heard_again() -> None:
    channel = Channel()
    changes, heard = changes_over(channel)
    async with changes.running():
        assert await next_of(heard) == {EVERYTHING}  # what was said before is unknown
        changes.mark_campaigns(["a"])
        changes.mark_campaigns(["b"])
        changes.mark_alerts()
        topics = frozenset({"campaign:a", "campaign:b", "portfolio", "alerts"})
        assert (await next_of(channel.sent), await next_of(heard)) == (topics, topics)
    assert channel.sent.empty()


async def test_marks_do_not_pile_up_while_nobody_can_be_told() -> None:
    channel = Channel()
    changes, _ = changes_over(channel)
    for number in range(MAXIMUM_TOPICS + 1):
        changes.mark_campaigns([f"c{number}"])
    await changes.flush()
    assert await next_of(channel.sent) == {EVERYTHING}
    channel.connecting = [UnavailableError("away", reason="DATABASE_UNAVAILABLE")]
    changes.mark_everything()
    await changes.flush()  # a loss at the end is what watchers look for by themselves
    assert channel.sent.empty()


@pytest.mark.parametrize(
    "error", [UnavailableError("away", reason="DATABASE_UNAVAILABLE"), ZeroDivisionError("a defect")]
)
async def test_what_could_not_be_sent_is_sent_over_the_next_connection(
    monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    monkeypatch.setattr(module, "RECONNECT_SECONDS", 0.001)
    channel = Channel(connecting=[error, error], sending=[error])
    changes, heard = changes_over(channel)
    async with changes.running():
        assert await next_of(heard) == {EVERYTHING}
        changes.mark_campaigns(["a"])
        assert await next_of(heard) == {EVERYTHING}
        assert await next_of(heard) == {"campaign:a", "portfolio"}
        channel.lost.set()
        assert await next_of(heard) == {EVERYTHING}


async def test_a_silent_connection_is_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CHECK_SECONDS", 0.001)
    channel = Channel()
    changes, heard = changes_over(channel)
    async with changes.running():
        await next_of(heard)
        async with asyncio.timeout(60):
            while not channel.checks:
                await asyncio.sleep(0.001)
    assert channel.sent.empty()
