"""The lease of one run of a job: renewed while it runs, and given up in time."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from time import monotonic

from services.common import job_table
from services.common.database import Connection, Database
from services.common.errors import DomainError
from services.common.job_table import Claim, Cursor
from services.common.telemetry import get_logger

_RENEWALS_PER_LEASE = 3
_log = get_logger("jobs")


class LeaseLostError(Exception):
    """Another replica may run this job now: the run must stop, and what it says is not kept."""


@dataclass(frozen=True, kw_only=True)
class JobTimes:
    """Where a runner's times come from; the defaults unless a test has its own.

    `now` is the clock that all replicas share, `steady` this process's own that never jumps, in seconds, and
    `wait` waits for so many seconds.
    """

    now: Callable[[Connection], Awaitable[datetime]] = job_table.fetch_database_time
    steady: Callable[[], float] = monotonic
    wait: Callable[[float], Awaitable[object]] = asyncio.sleep


class Lease:
    """One run's lease.

    Args:
        database: where it is kept.
        claim: what was taken.
        duration: how long a renewal holds.
        safe_since: by the steady clock, when it was asked for: it holds for `duration` from then at least.
        times: clocks.
    """

    def __init__(
        self, database: Database, claim: Claim, *, duration: timedelta, safe_since: float, times: JobTimes
    ) -> None:
        self.claim = claim
        self._database = database
        self._duration = duration
        self._safe_since = safe_since
        self._times = times

    def seconds_left(self) -> float:
        """Return how long nobody else can have this lease."""
        return self._safe_since + self._duration.total_seconds() - self._times.steady()

    async def renew(self, cursor: Cursor | None = None) -> None:
        """Extend the lease, and keep the cursor if there is one; LeaseLostError where it is another's."""
        asked_at = self._times.steady()
        async with self._database.acquire() as connection:
            until = await self._times.now(connection) + self._duration
            if not await job_table.renew_lease(connection, self.claim, until, cursor):
                raise LeaseLostError
        self._safe_since = asked_at

    async def keep(self) -> None:
        """Renew the lease for as long as that works; return when it is, or may soon be, another's."""
        seconds = self._duration.total_seconds() / _RENEWALS_PER_LEASE
        while True:
            await self._times.wait(seconds)
            try:
                async with asyncio.timeout(max(self.seconds_left(), 0)):
                    await self.renew()
            except (LeaseLostError, TimeoutError):
                return
            except DomainError as error:
                _log.warning("a lease cannot be renewed", job=self.claim.job_name, error=error.message)
                if self.seconds_left() <= seconds:
                    return

    async def release(self) -> None:
        """Give the lease back, the job still due; where that fails, it runs out by itself."""
        with suppress(DomainError):
            async with self._database.acquire() as connection:
                await job_table.release_job(connection, self.claim)
