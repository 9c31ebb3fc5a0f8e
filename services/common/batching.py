"""Batches of requests: what comes while one batch is worked on, or right after one another, is the next."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, Generic, TypeVar

from services.common.errors import ResourceExhaustedError

Request = TypeVar("Request")
Outcome = TypeVar("Outcome")
_QUIET_TURNS: Final = 8
"""Turns of the event loop without a request after which nobody else is taken to be on the way."""
_LONGEST_GATHERING_SECONDS: Final = 0.005


class Batcher(Generic[Request, Outcome]):
    """Runs `work` for all waiting requests at once, one batch after the other.

    A batch is whatever came during the one before, and what comes while it is gathered: as long as the event
    loop goes on bringing requests, 5 ms at most. With 64 callers that makes batches four times as large, so
    that what a batch costs is a quarter for each; an idle loop has nothing to bring, and a single request
    goes at once. Answers that leave together also cost gRPC, here and at the caller, fewer turns of the loop.

    Args:
        what: the requests, in the plural, as a refusal names them.
        work: does the work of a batch and returns an outcome per request, in order; an exception in place
            of an outcome is raised to that request alone, one that `work` raises to all of the batch.
        batch_size: the most requests that one batch takes.
        most_waiting: requests that may wait; further ones are refused, so that memory does not grow.
    """

    def __init__(
        self,
        what: str,
        work: Callable[[Sequence[Request]], Awaitable[Sequence[Outcome | Exception]]],
        *,
        batch_size: int,
        most_waiting: int,
    ) -> None:
        self._what = what
        self._work = work
        self._batch_size = batch_size
        self._most_waiting = most_waiting
        self._waiting: deque[tuple[Request, asyncio.Future[Outcome]]] = deque()
        self._worker: asyncio.Task[None] | None = None

    async def submit(self, request: Request) -> Outcome:
        """Return the outcome of `request` once its batch is worked off.

        A caller that is cancelled does not take its request back: the batch may be under way.

        Raises:
            ResourceExhaustedError: too many requests wait.
        """
        if len(self._waiting) >= self._most_waiting:
            raise ResourceExhaustedError(
                f"too many {self._what} wait; send this one again shortly", reason="TOO_MANY_WAITING"
            )
        future: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self._waiting.append((request, future))
        if self._worker is None or self._worker.done():
            self._worker = asyncio.create_task(self._work_off())
        return await future

    async def _work_off(self) -> None:
        while self._waiting:
            await self._gather()
            batch = [self._waiting.popleft() for _ in range(min(self._batch_size, len(self._waiting)))]
            try:
                outcomes = await self._work([request for request, _ in batch])
            except Exception as error:  # noqa: BLE001 (handed to every caller of the batch)
                outcomes = [error] * len(batch)
            for (_, future), outcome in zip(batch, outcomes, strict=True):
                _resolve(future, outcome)

    async def _gather(self) -> None:
        """Let the event loop bring the requests that it has read already."""
        loop = asyncio.get_running_loop()
        until = loop.time() + _LONGEST_GATHERING_SECONDS
        quiet = 0
        while quiet < _QUIET_TURNS and len(self._waiting) < self._batch_size and loop.time() < until:
            waiting = len(self._waiting)
            await asyncio.sleep(0)
            quiet = quiet + 1 if len(self._waiting) == waiting else 0


def _resolve(future: asyncio.Future[Outcome], outcome: Outcome | Exception) -> None:
    if future.done():  # its caller was cancelled
        return
    if isinstance(outcome, Exception):
        future.set_exception(outcome)
    else:
        future.set_result(outcome)
