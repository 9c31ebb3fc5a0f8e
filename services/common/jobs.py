"""Jobs that run by themselves, once across all replicas, by a lease in the service's own schema.

A job is a coroutine function with a schedule. Every replica runs a `JobRunner` with the same jobs; whoever
finds one due takes its lease in the table `jobs` and renews it for as long as the run takes. A replica that
dies leaves a lease that runs out; then another one resumes from the cursor that was saved last. A replica
that cannot renew its lease in time (by its own steady clock) stops its run before anybody can begin another.

The table is that of `job_table`; a service creates it in its own schema by a migration of its own.
"""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from os import getpid
from typing import Any
from uuid import uuid4
from zoneinfo import ZoneInfo

from prometheus_client import Counter, Histogram

from services.common import job_table
from services.common.database import Database
from services.common.errors import DomainError
from services.common.job_lease import JobTimes, Lease, LeaseLostError
from services.common.job_table import Cursor
from services.common.telemetry import get_logger, request_id

LONGEST_RUN_SECONDS = 6 * 3600.0
FIRST_RETRY_SECONDS = 10.0
LONGEST_RETRY_SECONDS = 3600.0
LONGEST_TEXT = 500
"""Characters kept of a result or an error."""
CONCLUDE_SECONDS = 1.0
"""How long the end of a run waits for the database before it is written again."""
STOP_SECONDS = 10.0
"""How long a stop waits for runs that do not end when they are cancelled."""
DONE, FAILED, NOT_YET = "done", "failed", "not yet"
NOT_YET_SECONDS = 600.0
"""How long after a run that found too little to work on the next one comes at the latest."""
_RUNS = Counter("job_runs_total", "Runs of jobs that ended, by outcome.", ["job_name", "outcome"])
_SECONDS = Histogram(
    "job_run_seconds",
    "Seconds that a run of a job took.",
    ["job_name"],
    buckets=(0.01, 0.1, 1, 10, 60, 600, 3600),
)
_log = get_logger("jobs")


@dataclass(frozen=True, kw_only=True)
class Every:
    """Runs so many seconds after the run before ended; the first time at once."""

    seconds: float

    def next_after(self, moment: datetime) -> datetime:
        """Return the first run after a moment."""
        return moment + timedelta(seconds=self.seconds)

    def first_after(self, moment: datetime) -> datetime:
        """Return the very first run, where the job is new at a moment."""
        return moment

    def __str__(self) -> str:
        return f"every {self.seconds:g} s"


@dataclass(frozen=True, kw_only=True)
class DailyAt:
    """Runs once a day at a time on the wall; where the clock skips that time, when it would have been."""

    hour: int
    minute: int = 0
    zone: ZoneInfo

    def next_after(self, moment: datetime) -> datetime:
        """Return the first run after a moment."""
        day = moment.astimezone(self.zone).date()
        due = self._on(day)
        return due if due > moment else self._on(day + timedelta(days=1))

    def first_after(self, moment: datetime) -> datetime:
        """Return the very first run, where the job is new at a moment."""
        return self.next_after(moment)

    def _on(self, day: date) -> datetime:
        wall = time(self.hour, self.minute, tzinfo=self.zone)
        return datetime.combine(day, wall).astimezone(UTC)

    def __str__(self) -> str:
        return f"daily at {self.hour:02d}:{self.minute:02d} {self.zone.key}"


Schedule = Every | DailyAt


class NotYetError(Exception):
    """What a run needs is not there yet, and its coming is no defect's repair; the message is the result.

    The run ends well, and the next one is soon, whatever the schedule.
    """


@dataclass(frozen=True, kw_only=True)
class JobContext:
    """What a run of a job is given.

    `cursor` is empty, or where a run before was cut off or failed, what that one saved last. `save` keeps a
    cursor durably and extends the lease; it raises LeaseLostError where another replica has taken over.
    """

    job_name: str
    cursor: dict[str, Any]
    save: Callable[[Cursor], Awaitable[None]]


@dataclass(frozen=True, kw_only=True)
class Job:
    """A job: its name, when it runs, and what it does.

    `run` returns one line that says what came out, kept for operators. Raising marks the run as failed (but
    for `NotYetError`); it is tried again with growing waits. It may be cancelled anywhere (the service stops,
    the lease is lost, it takes longer than `longest_seconds`), and must then be fit to start again from its
    last cursor.
    """

    name: str
    schedule: Schedule
    run: Callable[[JobContext], Awaitable[str]]
    longest_seconds: float = LONGEST_RUN_SECONDS


def retry_after(failures: int) -> timedelta:
    """Return the wait after so many failures in a row: 10 s, doubled each time, at most an hour."""
    doublings = min(max(failures - 1, 0), 20)
    return timedelta(seconds=min(FIRST_RETRY_SECONDS * 2**doublings, LONGEST_RETRY_SECONDS))


class JobRunner:
    """Runs what is due, each job in a task of its own.

    Args:
        database: where the table `jobs` is. Leases are taken and renewed there by single short statements, so
            jobs that hold connections for long should work on another pool.
        jobs: the same in every replica.
        poll_seconds: how often it looks for what is due.
        lease_seconds: how long a job of a lost replica stays untouched.
        times: clocks.
    """

    def __init__(
        self,
        database: Database,
        jobs: Sequence[Job],
        *,
        poll_seconds: float = 2.0,
        lease_seconds: float = 60.0,
        times: JobTimes | None = None,
    ) -> None:
        self._database = database
        self._jobs = {job.name: job for job in jobs}
        if len(self._jobs) != len(jobs):
            raise ValueError("two jobs have one name")
        self._poll_seconds = poll_seconds
        self._lease = timedelta(seconds=lease_seconds)
        self._times = times or JobTimes()
        self._woken = asyncio.Event()
        self._runs: set[asyncio.Task[None]] = set()
        self._running: set[str] = set()
        self._holder = f"{socket.gethostname()}:{getpid()}"

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Look for due jobs until the end of the block; then cut runs off and give their leases back."""
        polling = asyncio.create_task(self._keep_polling())
        try:
            yield
        finally:
            await _end(polling)
            await self.cut_off()

    async def register(self) -> None:
        """Keep every job in the table, so that it is listed and can be due."""
        async with self._database.acquire() as connection:
            now = await self._times.now(connection)
            for job in self._jobs.values():
                due = job.schedule.first_after(now)
                await job_table.register_job(connection, job.name, str(job.schedule), due)

    def wake(self) -> None:
        """Look for due jobs now."""
        self._woken.set()

    async def poll(self) -> Sequence[asyncio.Task[None]]:
        """Take the lease of every job that is due and free, and begin to run it; return the runs begun."""
        begun = []
        while lease := await self._claim_or_give_back():
            job = self._jobs[lease.claim.job_name]
            self._running.add(job.name)
            run = asyncio.create_task(self._run(job, lease))
            self._runs.add(run)
            run.add_done_callback(self._runs.discard)
            begun.append(run)
        return begun

    async def cut_off(self) -> None:
        """Cancel the runs under way and wait until their leases are given back, if that is soon."""
        runs = set(self._runs)
        await asyncio.sleep(0)  # a run that has not begun when it is cancelled would give nothing back
        for run in runs:
            run.cancel()
        if runs:
            await asyncio.wait(runs, timeout=STOP_SECONDS)

    async def _keep_polling(self) -> None:
        registered, lost = False, False
        while True:
            try:
                if not registered:
                    await self.register()
                    registered = True
                await self.poll()
                lost = False
            except DomainError as error:
                if not lost:
                    _log.warning("cannot look for due jobs", reason=error.reason, error=error.message)
                lost = True
            except Exception as error:  # noqa: BLE001 (jobs that nobody looks for would never run again)
                _log.error("cannot look for due jobs, by a defect", exc_info=error)
            with suppress(TimeoutError):
                async with asyncio.timeout(self._poll_seconds):
                    await self._woken.wait()
            self._woken.clear()

    async def _claim_or_give_back(self) -> Lease | None:
        """Claim; cancelled, wait for what the database is doing, and give back what it took."""
        claiming = asyncio.create_task(self._claim())
        try:
            return await asyncio.shield(claiming)
        except asyncio.CancelledError:
            await asyncio.wait({claiming}, timeout=STOP_SECONDS)
            if not claiming.done():
                claiming.cancel()
            elif claiming.exception() is None and (lease := claiming.result()) is not None:
                await lease.release()
            raise

    async def _claim(self) -> Lease | None:
        free = [name for name in self._jobs if name not in self._running]
        if not free:
            return None
        asked_at = self._times.steady()
        async with self._database.acquire() as connection:
            now = await self._times.now(connection)
            run_id = f"{self._holder}:{uuid4()}"
            claim = await job_table.claim_job(connection, free, run_id, now, now + self._lease)
        if claim is None:
            return None
        return Lease(self._database, claim, duration=self._lease, safe_since=asked_at, times=self._times)

    async def _run(self, job: Job, lease: Lease) -> None:
        """Run a job whose lease is taken, and keep what came out."""
        request_id.set(lease.claim.run_id)
        outcome = "cut off"
        try:
            with _SECONDS.labels(job.name).time():
                outcome, text = await _work(job, lease)
            await self._conclude(job, lease, outcome, text[:LONGEST_TEXT])
        except asyncio.CancelledError:
            await asyncio.shield(lease.release())
            raise
        except LeaseLostError:
            outcome = "lease lost"
            _log.warning("a run stopped, because another replica may have its job now", job=job.name)
        except Exception as error:  # noqa: BLE001 (the lease runs out, and the job runs again)
            outcome = "not kept"
            _log.error("the end of a run cannot be kept, by a defect", job=job.name, exc_info=error)
        finally:
            self._running.discard(job.name)
            _RUNS.labels(job.name, outcome).inc()

    async def _conclude(self, job: Job, lease: Lease, outcome: str, text: str) -> None:
        """Keep how a run ended; tried again while the database is away and the lease is safe."""
        while True:
            try:
                kept = await self._keep_end(job, lease, outcome, text)
            except DomainError as error:
                if lease.seconds_left() <= CONCLUDE_SECONDS:
                    raise LeaseLostError from error
                await self._times.wait(CONCLUDE_SECONDS)
                continue
            if not kept:
                raise LeaseLostError
            return

    async def _keep_end(self, job: Job, lease: Lease, outcome: str, text: str) -> bool:
        """Keep how a run ended and when the next is due; False where the lease is another's by now."""
        async with self._database.acquire() as connection:
            now = await self._times.now(connection)
            if outcome == FAILED:
                due = now + retry_after(lease.claim.consecutive_failures + 1)
                return await job_table.fail_job(connection, lease.claim, now, text, due)
            due = job.schedule.next_after(now)
            if outcome == NOT_YET:
                due = min(due, now + timedelta(seconds=NOT_YET_SECONDS))
            return await job_table.finish_job(connection, lease.claim, now, text, due)


async def _work(job: Job, lease: Lease) -> tuple[str, str]:
    """Return how a run ended, and its result or error; LeaseLostError where it had to stop."""
    context = JobContext(job_name=job.name, cursor=dict(lease.claim.cursor), save=lease.renew)
    work = asyncio.ensure_future(job.run(context))
    keeping = asyncio.create_task(lease.keep())
    try:
        await asyncio.wait({work, keeping}, timeout=job.longest_seconds, return_when=asyncio.FIRST_COMPLETED)
        if work.done():
            return DONE, str(work.result())
        if keeping.done():
            raise LeaseLostError
        return FAILED, f"it took longer than {job.longest_seconds:g} seconds and was stopped"
    except LeaseLostError:
        raise
    except NotYetError as error:
        return NOT_YET, str(error)
    except DomainError as error:
        _log.warning("a job failed", job=job.name, reason=error.reason, error=error.message)
        return FAILED, error.message
    except Exception as error:  # noqa: BLE001 (whatever a job raises, the others go on)
        _log.error("a job failed by a defect", job=job.name, exc_info=error)
        return FAILED, f"a defect ({type(error).__name__}); the log has more under {lease.claim.run_id}"
    finally:
        await _end(work, keeping)


async def _end(*tasks: "asyncio.Future[str] | asyncio.Task[None]") -> None:
    """Cancel tasks and wait until they are over."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
