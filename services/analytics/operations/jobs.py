"""The jobs of analytics, and the use cases that look after them."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal
from zoneinfo import ZoneInfo

from services.analytics.operations.alerts import AlertOperations
from services.analytics.operations.recount import RecountOperations, judge
from services.analytics.operations.rolling import RollingOperations
from services.common import job_table
from services.common.database import Database
from services.common.errors import InternalError, NotFoundError
from services.common.job_table import JobRecord
from services.common.jobs import DailyAt, Every, Job

ROLL_SECONDS = 60
"""How long after midnight the last 30 days may be those of the day before; reads then take daily rows."""
JobState = Literal["waiting", "running", "failing"]


@dataclass(frozen=True, kw_only=True)
class JobStatus:
    """A job as kept, and how far it is."""

    record: JobRecord
    state: JobState


def build_jobs(
    *,
    alerts: AlertOperations,
    alert_seconds: float,
    recount: RecountOperations,
    rolling: RollingOperations,
    attribute: Callable[[], Awaitable[str]],
    attribution_seconds: float,
    zone: ZoneInfo,
) -> Sequence[Job]:
    """Return every job of analytics; the same in all replicas.

    The operations given here work on the jobs' own connections; `attribute` runs attribution once, every
    `attribution_seconds`.
    """
    return [
        Job(
            name="alerts",
            schedule=Every(seconds=alert_seconds),
            run=lambda _context: _evaluate(alerts),
        ),
        Job(
            name="reconcile",
            schedule=DailyAt(hour=4, zone=zone),
            run=lambda _context: _reconcile(recount),
        ),
        Job(
            name="attribution",
            schedule=Every(seconds=attribution_seconds),
            run=lambda _context: attribute(),
        ),
        Job(
            name="roll_last_30_days",
            schedule=Every(seconds=ROLL_SECONDS),
            run=lambda _context: _roll(rolling),
        ),
    ]


async def _evaluate(alerts: AlertOperations) -> str:
    return str(await alerts.evaluate())


async def _reconcile(recount: RecountOperations) -> str:
    """Fail where any rollup differs from a recount, so that operators see it."""
    verdict = judge([comparison async for comparison in recount.compare()])
    if verdict.differing:
        raise InternalError(f"{verdict}; the command reconcile shows some of them", reason="INTERNAL")
    return str(verdict)


async def _roll(rolling: RollingOperations) -> str:
    return f"the last 30 days end with {await rolling.roll()}"


class JobOperations:
    """Lists jobs, and has them run.

    Args:
        database: where the table `jobs` is.
        jobs: those of this service.
        wake: has this replica look for due jobs.
    """

    def __init__(self, database: Database, jobs: Sequence[Job], *, wake: Callable[[], None]) -> None:
        self._database = database
        self._names = [job.name for job in jobs]
        self._wake = wake

    async def list_jobs(self) -> Sequence[JobStatus]:
        """Return every job by name."""
        async with self._database.acquire() as connection:
            now = await job_table.fetch_database_time(connection)
            records = await job_table.list_jobs(connection, self._names)
        return [_judge(record, now) for record in records]

    async def run_job(self, job_name: str) -> JobStatus:
        """Have a job run as soon as a replica is free, once more if it runs just now.

        Raises:
            NotFoundError: JOB_UNKNOWN.
        """
        record = None
        if job_name in self._names:
            async with self._database.acquire() as connection:
                now = await job_table.fetch_database_time(connection)
                record = await job_table.request_job(connection, job_name, now)
        if record is None:
            raise NotFoundError(
                f"no job '{job_name}'; known are {', '.join(sorted(self._names))}",
                reason="JOB_UNKNOWN",
                metadata={"job_name": job_name},
            )
        self._wake()
        return _judge(record, now)


def _judge(record: JobRecord, now: datetime) -> JobStatus:
    """Return a job's state; a lease that has run out is a lost replica's, and its run has failed."""
    if record.lease_until is not None and record.lease_until > now:
        return JobStatus(record=record, state="running")
    failing = record.consecutive_failures > 0 or record.lease_until is not None
    return JobStatus(record=record, state="failing" if failing else "waiting")
