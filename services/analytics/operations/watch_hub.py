"""What is watched in this process: one read per change, however many watch.

What is watched is a topic, such as a campaign. A topic is read when it is said to have changed, once for all
who watch it and at most five times a second. Watchers are woken and take the newest value; none is queued for
them, so that a slow reader misses values in between and memory does not grow.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic, TypeVar

from services.analytics.operations.changes import EVERYTHING
from services.common.errors import DomainError, NotFoundError, ResourceExhaustedError, UnavailableError
from services.common.telemetry import get_logger

MINIMUM_SECONDS = 0.2
"""The least time between two reads for news, and between two values of one watcher."""
READ_SECONDS = 10.0
RETRY_SECONDS = 1.0
_log = get_logger("live")

Value = TypeVar("Value")


@dataclass(frozen=True, kw_only=True)
class Observed(Generic[Value]):
    """A value as it was read, and when."""

    value: Value
    read_at: datetime


class Topic(Generic[Value]):
    """One thing that is watched: its newest value and who waits for the next.

    `version` counts the values, 0 before the first; `changed` is set, and another one made, at each.
    """

    def __init__(self, read: Callable[[], Awaitable[Value]], clock: Callable[[], datetime]) -> None:
        self.watchers = 0
        self.version = 0
        self.observed: Observed[Value] | None = None
        self.error: Exception | None = None
        self.changed = asyncio.Event()
        self._read = read
        self._clock = clock
        self._begun = 0
        self._done = 0
        self._reading: asyncio.Task[None] | None = None

    async def refresh(self) -> None:
        """Read, by a read that begins after this call; whoever asks meanwhile shares it."""
        wanted = self._begun + 1
        while self._done < wanted:
            if self._reading is None or self._reading.done():
                self._reading = asyncio.create_task(self._read_once())
                # Whoever waits gets the error; where nobody does any more, nobody needs it.
                self._reading.add_done_callback(lambda read: read.cancelled() or read.exception())
            await asyncio.shield(self._reading)

    async def _read_once(self) -> None:
        self._begun = number = self._begun + 1
        read_at = self._clock()
        async with asyncio.timeout(READ_SECONDS):
            value = await self._read()
        if self.observed is None or value != self.observed.value:
            self.observed = Observed(value=value, read_at=read_at)
            self.version += 1
            self.wake()
        self._done = number

    def close(self) -> None:
        """Cut a read off that is under way."""
        if self._reading is not None:
            self._reading.cancel()

    def fail(self, error: Exception) -> None:
        """End everybody who watches with an error."""
        self.error = error
        self.wake()

    def wake(self) -> None:
        """Have everybody who waits look."""
        changed, self.changed = self.changed, asyncio.Event()
        changed.set()


class WatchHub:
    """Everything that is watched in this process.

    Args:
        clock: the present, aware.
        poll_seconds: how often everything watched is read without being said to have changed, for what was
            lost with its sender.
        maximum_watchers: how many may watch at once.
    """

    def __init__(
        self, *, clock: Callable[[], datetime], poll_seconds: float = 5.0, maximum_watchers: int = 1000
    ) -> None:
        self._clock = clock
        self._poll_seconds = poll_seconds
        self._maximum_watchers = maximum_watchers
        self._topics: dict[str, Topic[Any]] = {}
        self._dirty: set[str] = set()
        self._woken = asyncio.Event()
        self._is_ending = False
        self.watchers = 0

    def hear(self, topics: frozenset[str]) -> None:
        """Take notice of what changed; what nobody watches is forgotten."""
        self._dirty |= self._topics.keys() if EVERYTHING in topics else topics & self._topics.keys()
        if self._dirty:
            self._woken.set()

    def end(self) -> None:
        """End every stream, and let no other begin: the service stops."""
        self._is_ending = True
        for topic in self._topics.values():
            topic.wake()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Keep what is watched fresh until the end of the block."""
        task = asyncio.create_task(self._keep_fresh())
        try:
            yield
        finally:
            self.end()
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
            for topic in self._topics.values():
                topic.close()

    async def watch(
        self, name: str, read: Callable[[], Awaitable[Value]]
    ) -> AsyncGenerator[Observed[Value], None]:
        """Yield what `read` returns now, and whenever it has become another, until the caller leaves.

        Args:
            name: the topic; `read` must be the same for all who watch it.
            read: reads the value.

        Raises:
            ResourceExhaustedError: TOO_MANY_WATCHERS.
            UnavailableError: the service stops, or the first read found no database.
            DomainError: what the first read says otherwise.
        """
        topic = self._join(name, read)
        try:
            await topic.refresh()
            seen = 0
            while True:
                changed = topic.changed
                self._check(topic)
                if topic.version == seen or topic.observed is None:
                    await changed.wait()
                    continue
                seen = topic.version
                yield topic.observed
                await asyncio.sleep(MINIMUM_SECONDS)
        finally:
            self._leave(name, topic)

    def _join(self, name: str, read: Callable[[], Awaitable[Value]]) -> Topic[Value]:
        if self._is_ending:
            raise _stopping()
        if self.watchers >= self._maximum_watchers:
            raise ResourceExhaustedError(
                f"at most {self._maximum_watchers} may watch at once; watch again later",
                reason="TOO_MANY_WATCHERS",
                metadata={"limit": str(self._maximum_watchers)},
            )
        topic = self._topics.get(name)
        if topic is None:
            topic = self._topics[name] = Topic(read, self._clock)
        topic.watchers += 1
        self.watchers += 1
        return topic

    def _leave(self, name: str, topic: Topic[Any]) -> None:
        topic.watchers -= 1
        self.watchers -= 1
        if not topic.watchers and self._topics.get(name) is topic:
            del self._topics[name]

    def _check(self, topic: Topic[Any]) -> None:
        if self._is_ending:
            raise _stopping()
        if topic.error is not None:
            raise topic.error

    async def _keep_fresh(self) -> None:
        away = False
        loop = asyncio.get_running_loop()
        poll_at = loop.time() + self._poll_seconds
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout_at(poll_at):
                    await self._woken.wait()
            self._woken.clear()
            if loop.time() >= poll_at:
                self._dirty |= self._topics.keys()
                poll_at = loop.time() + self._poll_seconds
            was_away, away = away, not await self._refresh_dirty()
            if away and not was_away:
                _log.warning("what is watched cannot be read; watchers wait")
            await asyncio.sleep(RETRY_SECONDS if away else MINIMUM_SECONDS)

    async def _refresh_dirty(self) -> bool:
        """Read what changed, one after the other; return whether the database answered."""
        dirty, self._dirty = self._dirty, set()
        while dirty:
            name = dirty.pop()
            topic = self._topics.get(name)
            if topic is None:
                continue
            try:
                await topic.refresh()
            except NotFoundError as error:
                self._drop(name, topic, error)
            except (DomainError, TimeoutError):
                self._dirty |= dirty | {name}
                self._woken.set()
                return False
            except Exception as error:  # noqa: BLE001 (one topic's defect is not the others')
                _log.error("what is watched cannot be read, by a defect", topic=name, exc_info=error)
                self._drop(name, topic, error)
        return True

    def _drop(self, name: str, topic: Topic[Any], error: Exception) -> None:
        """End a topic with an error; who comes next begins it anew."""
        topic.fail(error)
        self._topics.pop(name, None)


def _stopping() -> UnavailableError:
    return UnavailableError("the service stops; watch again", reason="SERVICE_UNAVAILABLE")
