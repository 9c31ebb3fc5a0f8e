"""Group commit: requests that wait while one batch is written become the next batch."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

Request = TypeVar("Request")
Outcome = TypeVar("Outcome")


class GroupCommit(Generic[Request, Outcome]):
    """Runs `commit` for all waiting requests at once, one batch after the other.

    An idle process answers a request at once; under load a batch is whatever came during the one before. A
    request is answered only after its batch is committed.

    Args:
        commit: does the work of a batch and returns an outcome per request, in order; an exception in place
            of an outcome is raised to that request alone, one that `commit` raises to all of the batch.
        batch_size: the most requests that one batch takes.
    """

    def __init__(
        self,
        commit: Callable[[Sequence[Request]], Awaitable[Sequence[Outcome | Exception]]],
        *,
        batch_size: int,
    ) -> None:
        self._commit = commit
        self._batch_size = batch_size
        self._waiting: deque[tuple[Request, asyncio.Future[Outcome]]] = deque()
        self._worker: asyncio.Task[None] | None = None

    async def submit(self, request: Request) -> Outcome:
        """Return the outcome of `request` once it is durable.

        A caller that is cancelled does not take its request back: the batch may be under way.
        """
        future: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self._waiting.append((request, future))
        if self._worker is None or self._worker.done():
            self._worker = asyncio.create_task(self._work())
        return await future

    async def _work(self) -> None:
        while self._waiting:
            batch = [self._waiting.popleft() for _ in range(min(self._batch_size, len(self._waiting)))]
            try:
                outcomes = await self._commit([request for request, _ in batch])
            except Exception as error:  # noqa: BLE001 (handed to every caller of the batch)
                outcomes = [error] * len(batch)
            for (_, future), outcome in zip(batch, outcomes, strict=True):
                _resolve(future, outcome)


def _resolve(future: asyncio.Future[Outcome], outcome: Outcome | Exception) -> None:
    if future.done():  # its caller was cancelled
        return
    if isinstance(outcome, Exception):
        future.set_exception(outcome)
    else:
        future.set_result(outcome)
