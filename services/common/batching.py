"""Batches of requests: what comes while one batch is worked on, or right after one another, is the next."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextvars import Context
from itertools import islice
from typing import Final, Generic, TypeVar

from services.common.errors import ResourceExhaustedError

Request = TypeVar("Request")
Outcome = TypeVar("Outcome")
_QUIET_TURNS: Final = 8
"""Turns of the event loop without a request after which nobody else is taken to be on the way."""
_LONGEST_GATHERING_SECONDS: Final = 0.005


class Batcher(Generic[Request, Outcome]):
    """Runs `work` for waiting requests together, one batch after the other, in the order they came.

    A batch is whatever came during the one before, and what comes while it is gathered: as long as the event
    loop goes on bringing requests, 5 ms at most. With 64 callers that makes batches four times as large, so
    that what a batch costs is a quarter for each; an idle loop has nothing to bring, and a single request
    goes at once. Answers that leave together also cost gRPC, here and at the caller, fewer turns of the loop.

    Args:
        what: the requests, in the plural, as a refusal names them.
        work: does the work of a batch and returns an outcome per request, in order; an exception in place
            of an outcome is raised to that request alone, one that `work` raises to all of the batch. It
            runs in no caller's context.
        batch_size: the most requests that one batch takes.
        most_waiting: requests that may wait; further ones are refused, so that memory does not grow.
        count_together: how many of the requests given, from the first and at least one, can be a batch; all
            by default.
    """

    def __init__(
        self,
        what: str,
        work: Callable[[Sequence[Request]], Awaitable[Sequence[Outcome | Exception]]],
        *,
        batch_size: int,
        most_waiting: int,
        count_together: Callable[[Sequence[Request]], int] = len,
    ) -> None:
        self._what = what
        self._work = work
        self._batch_size = batch_size
        self._most_waiting = most_waiting
        self._count_together = count_together
        self._waiting: dict[asyncio.Future[Outcome], Request] = {}
        self._worker: asyncio.Task[None] | None = None

    async def submit(self, request: Request) -> Outcome:
        """Return the outcome of `request` once its batch is worked off.

        A caller that goes away leaves the line; what is under way for it is not taken back.

        Raises:
            ResourceExhaustedError: too many requests wait.
        """
        if len(self._waiting) >= self._most_waiting:
            raise ResourceExhaustedError(
                f"too many {self._what} wait; send this one again shortly", reason="TOO_MANY_WAITING"
            )
        future: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self._waiting[future] = request
        if self._worker is None or self._worker.done():
            self._worker = asyncio.create_task(self._work_off(), context=Context())
        try:
            return await future
        finally:
            self._waiting.pop(future, None)

    async def _work_off(self) -> None:
        while self._waiting:
            await self._gather()
            gathered = len(self._waiting)
            while gathered > 0 and self._waiting:
                gathered -= await self._work_off_batch()
                await asyncio.sleep(0)  # work that never waits would hold the loop

    async def _work_off_batch(self) -> int:
        """Answer the first requests whose callers have not left; return how many they were."""
        staying = (entry for entry in self._waiting.items() if not entry[0].done())
        batch = dict(islice(staying, self._batch_size))
        if not batch:
            return 0
        outcomes: Sequence[Outcome | Exception]
        try:
            batch = dict(islice(batch.items(), self._count_together(list(batch.values()))))
            for future in batch:
                del self._waiting[future]
            outcomes = await self._work(list(batch.values()))
            if len(outcomes) != len(batch):
                raise ValueError(f"{len(outcomes)} outcomes of {len(batch)} {self._what}")
        except Exception as error:  # noqa: BLE001 (handed to every caller of the batch)
            outcomes = [error] * len(batch)
        except BaseException:
            for future in batch:
                future.cancel()
            raise
        for future, outcome in zip(batch, outcomes, strict=True):
            self._waiting.pop(future, None)
            _resolve(future, outcome)
        return len(batch)

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
