"""Back-pressure: a few work at once, some more wait for their turn, and whoever comes then is refused."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from services.common.errors import ResourceExhaustedError


class WaitingRoom:
    """Gives turns in the order of arrival; used from one event loop.

    What waits holds memory, so that without a limit a burst would grow it without bound. Whoever waits here
    holds nothing else: take a turn before taking a connection.

    Args:
        what: those who wait, in the plural, as the refusal names them.
        at_once: how many may have their turn at the same time.
        waiting: how many more may wait for it.
    """

    def __init__(self, what: str, *, at_once: int, waiting: int) -> None:
        self._what = what
        self._turns = asyncio.Semaphore(at_once)
        self._room = at_once + waiting
        self._inside = 0

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Wait for a turn, which lasts as long as the block.

        Raises:
            ResourceExhaustedError: TOO_MANY_WAITING, at once.
        """
        if self._inside >= self._room:
            raise ResourceExhaustedError(
                f"too many {self._what} wait; send this one again shortly", reason="TOO_MANY_WAITING"
            )
        self._inside += 1
        try:
            async with self._turns:
                yield
        finally:
            self._inside -= 1
