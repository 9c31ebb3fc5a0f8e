"""The clocks of replicas, moved by hand, and jobs that wait to be told how to end."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from services.common.database import Connection
from services.common.job_lease import JobTimes
from services.common.job_table import JobRecord
from services.common.jobs import JobContext, JobRunner

START = datetime(2026, 3, 1, 12, tzinfo=UTC)
LEASE_SECONDS = 30


@dataclass
class Hands:
    """The clocks of a test, moved by hand: all replicas share the time, each has its own waits."""

    seconds: float = 0
    waits: list[asyncio.Event] = field(default_factory=list)

    async def now(self, _connection: Connection) -> datetime:
        return START + timedelta(seconds=self.seconds)

    async def wait(self, _seconds: float) -> None:
        self.waits.append(asyncio.Event())
        await self.waits[-1].wait()

    async def beat(self) -> None:
        """Let everybody who waits go on, and see them wait again or be over."""
        waits, self.waits = self.waits, []
        for wait in waits:
            wait.set()
        while not self.waits:
            await asyncio.sleep(0)

    @property
    def times(self) -> JobTimes:
        return JobTimes(now=self.now, steady=lambda: self.seconds, wait=self.wait)


@dataclass
class Work:
    """A job that says how far it is, and waits to be told how to end."""

    contexts: list[JobContext] = field(default_factory=list)
    began: asyncio.Event = field(default_factory=asyncio.Event)
    end: "asyncio.Future[str]" = field(default_factory=lambda: asyncio.get_running_loop().create_future())

    async def __call__(self, context: JobContext) -> str:
        self.contexts.append(context)
        self.began.set()
        return await asyncio.shield(self.end)


Replica = Callable[..., AbstractAsyncContextManager[JobRunner]]
Table = Callable[[str], Awaitable[JobRecord]]


async def run_due(runner: JobRunner) -> int:
    """Run what is due to its end; return how many that were."""
    runs = await runner.poll()
    await asyncio.gather(*runs)
    return len(runs)
