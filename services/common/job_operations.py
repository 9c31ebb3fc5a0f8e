"""The use cases that look after a service's jobs: listing them, and having one run now."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from services.common import job_table
from services.common.database import Database
from services.common.errors import NotFoundError
from services.common.job_table import JobRecord
from services.common.jobs import Job

JobState = Literal["waiting", "running", "failing"]


@dataclass(frozen=True, kw_only=True)
class JobStatus:
    """A job as kept, and how far it is."""

    record: JobRecord
    state: JobState


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
