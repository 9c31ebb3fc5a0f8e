"""What every service with a database of its own opens and runs: its connections and its jobs."""

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

from services.common.database import Database
from services.common.job_operations import JobOperations
from services.common.jobs import Job, JobRunner
from services.common.settings import DatabaseSettings


@asynccontextmanager
async def open_database(
    settings: DatabaseSettings,
    *,
    application_name: str,
    connections: int | None = None,
    statement_timeout_seconds: float | None = None,
    mark_write: str | None = None,
) -> AsyncIterator[Database]:
    """Yield a service's database, closed afterwards; what is None is as its settings say."""
    database = await Database.open(
        settings.database_url,
        application_name=application_name,
        max_size=connections or settings.database_connections,
        statement_timeout_seconds=statement_timeout_seconds or settings.statement_timeout_seconds,
        mark_write=mark_write,
    )
    try:
        yield database
    finally:
        await database.close()


@asynccontextmanager
async def open_jobs_database(
    settings: DatabaseSettings,
    database: Database,
    *,
    application_name: str,
    statement_timeout_seconds: float,
    mark_write: str | None = None,
) -> AsyncIterator[Database]:
    """Yield the pool that jobs work on: their own, so that they never take a request's connection.

    Where this replica runs no jobs that is `database`, the requests'.
    """
    if not settings.jobs_enabled:
        yield database
        return
    async with open_database(
        settings,
        application_name=application_name,
        connections=settings.job_connections,
        statement_timeout_seconds=statement_timeout_seconds,
        mark_write=mark_write,
    ) as own:
        yield own


@asynccontextmanager
async def running_jobs(
    settings: DatabaseSettings, database: Database, jobs: Sequence[Job]
) -> AsyncIterator[JobOperations]:
    """Register jobs, run them until the end of the block where this replica does; yield their use cases."""
    runner = JobRunner(
        database, jobs, poll_seconds=settings.job_poll_seconds, lease_seconds=settings.job_lease_seconds
    )
    await runner.register()
    async with AsyncExitStack() as stack:
        if settings.jobs_enabled:
            await stack.enter_async_context(runner.running())
        yield JobOperations(database, jobs, wake=runner.wake)
