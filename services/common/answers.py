"""Answers kept while the data they were made of stand still: however many ask, each state is answered once.

A kept answer is given only if the version of the data, asked for after the call came in, is the one it was
made at; so it is what would be computed anew. Calls that come while a version is being read share the reading
after it.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeAlias

from cachetools import TTLCache

READING_SECONDS = 1.0
"""How long the next reading of the version waits for one under way, whose connection may be lost."""
_ENTRY_BYTES = 500
"""About what keeping an answer takes beside its bytes and those of its request."""
GATHERING_SECONDS = 0.001
"""How long a reading waits for more calls while they overlap, as commits do by PostgreSQL's commit_delay."""
Key: TypeAlias = tuple[str, bytes]
"""A method's path and the bytes of its request."""


@dataclass(frozen=True, slots=True)
class _Kept:
    version: int
    answer: bytes
    size: int


@dataclass(slots=True)
class _Making:
    task: asyncio.Task[bytes]
    waiting: int = 0


class Answers:
    """Keeps the bytes of answers.

    Args:
        read_version: reads the data's version: it differs whenever anything was committed in between that
            answers are made of, and comes from a snapshot no older than the call.
        seconds: how long an answer is kept at most. Answers may depend on the clock; they are as of a moment
            at most so long ago.
        maximum_bytes: of all kept answers and their requests together; the oldest go first.
    """

    def __init__(
        self, read_version: Callable[[], Awaitable[int]], *, seconds: float, maximum_bytes: int
    ) -> None:
        self._read_version = read_version
        self._kept: TTLCache[Key, _Kept] = TTLCache(maximum_bytes, seconds, getsizeof=_size_of)
        self._making: dict[tuple[Key, int], _Making] = {}
        self._reading: asyncio.Task[int] | None = None
        self._next_reading: asyncio.Task[int] | None = None
        self._asking = 0
        self._was_shared = False

    async def get(self, key: Key, make: Callable[[], Coroutine[Any, Any, bytes]]) -> bytes:
        """Return the kept answer, or what `make` makes; calls for the same one at the same time share it."""
        version = await self._current_version()
        kept = self._kept.get(key)
        if kept is not None and kept.version == version:
            return kept.answer
        making = self._making.get((key, version))
        if making is None:
            making = self._making[key, version] = _Making(asyncio.create_task(make()))
        making.waiting += 1
        try:
            answer = await asyncio.shield(making.task)
        finally:
            making.waiting -= 1
            if making.waiting == 0:  # it is done, or nobody wants it any more
                making.task.cancel()
                del self._making[key, version]
        with suppress(ValueError):  # larger than all that may be kept
            self._kept[key] = _Kept(version, answer, len(answer) + len(key[1]) + _ENTRY_BYTES)
        return answer

    async def _current_version(self) -> int:
        """Return a version whose reading began after this call."""
        if self._next_reading is None:
            self._next_reading = asyncio.create_task(self._read_next_version(self._reading))
        self._asking += 1
        return await asyncio.shield(self._next_reading)

    async def _read_next_version(self, before: asyncio.Task[int] | None) -> int:
        """Read for all who ask until the reading begins: at once, unless calls overlap."""
        is_busy = self._was_shared
        if before is not None and not before.done():
            is_busy = True
            await asyncio.wait([before], timeout=READING_SECONDS)
        if is_busy:
            await asyncio.sleep(GATHERING_SECONDS)
        self._reading, self._next_reading = self._next_reading, None
        self._was_shared, self._asking = self._asking > 1, 0
        return await self._read_version()


def _size_of(kept: _Kept) -> int:
    return kept.size
