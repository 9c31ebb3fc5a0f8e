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

Key: TypeAlias = tuple[str, bytes]
"""A method's path and the bytes of its request."""


@dataclass(frozen=True, slots=True)
class _Kept:
    version: int
    answer: bytes


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
        maximum_bytes: of all kept answers together; the oldest go first.
    """

    def __init__(
        self, read_version: Callable[[], Awaitable[int]], *, seconds: float, maximum_bytes: int
    ) -> None:
        self._read_version = read_version
        self._kept: TTLCache[Key, _Kept] = TTLCache(maximum_bytes, seconds, getsizeof=_size_of)
        self._making: dict[tuple[Key, int], _Making] = {}
        self._reading = asyncio.Lock()
        self._next_version: asyncio.Task[int] | None = None

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
            self._kept[key] = _Kept(version, answer)
        return answer

    async def _current_version(self) -> int:
        """Return a version whose reading began after this call."""
        if self._next_version is None:
            self._next_version = asyncio.create_task(self._read_next_version())
        return await asyncio.shield(self._next_version)

    async def _read_next_version(self) -> int:
        async with self._reading:
            self._next_version = None
            return await self._read_version()


def _size_of(kept: _Kept) -> int:
    return len(kept.answer) + 1  # an empty answer takes a place, too
