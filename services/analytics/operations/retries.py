"""Runs a transaction again after a collision with another one."""

import asyncio
from collections.abc import Awaitable, Callable
from random import Random
from typing import TypeVar

from services.common.errors import AbortedError

Result = TypeVar("Result")


class Retries:
    """How often a collided transaction is run again, and how long is waited before.

    Args:
        attempts: how often it is run at most.
        base_seconds: the longest first wait; it doubles each time, and a random share of it is waited.
        random: where the shares come from.
    """

    def __init__(self, random: Random, *, attempts: int = 6, base_seconds: float = 0.02) -> None:
        self._random = random
        self._attempts = attempts
        self._base_seconds = base_seconds

    async def run(self, transact: Callable[[], Awaitable[Result]]) -> Result:
        """Return what `transact` returns; it must be safe to run again after it raised AbortedError."""
        for attempt in range(self._attempts - 1):
            try:
                return await transact()
            except AbortedError:
                await asyncio.sleep(self._random.random() * self._base_seconds * 2**attempt)
        return await transact()
