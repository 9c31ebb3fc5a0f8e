"""Replicas of a job runner whose clocks tests move by hand."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from deploy.local.bootstrap import DatabaseAddresses
from services.common import job_table, jobs
from services.common.database import Database
from services.common.job_table import JobRecord
from services.common.jobs import Job, JobRunner
from tests.integration.common.job_hands import LEASE_SECONDS, Hands, Replica


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a stop wait for what it ends, however busy the machine is."""
    monkeypatch.setattr(jobs, "STOP_SECONDS", 300.0)


@pytest.fixture
def hands() -> Hands:
    return Hands()


@pytest.fixture
async def replica(database: DatabaseAddresses, hands: Hands) -> Replica:
    """Return what opens a replica with its own pool: it runs jobs where a test polls."""

    @asynccontextmanager
    async def open_replica(*of: Job) -> AsyncIterator[JobRunner]:
        pool = await Database.open(database.analytics, application_name="test", max_size=3)
        runner = JobRunner(pool, of, lease_seconds=LEASE_SECONDS, times=hands.times)
        await runner.register()
        try:
            yield runner
        finally:
            await runner.cut_off()
            await pool.close()

    return open_replica


@pytest.fixture
async def table(database: DatabaseAddresses) -> AsyncIterator[Callable[[str], Awaitable[JobRecord]]]:
    """Return what reads a job's row."""
    pool = await Database.open(database.analytics, application_name="test")

    async def read(job_name: str) -> JobRecord:
        async with pool.acquire() as connection:
            (record,) = await job_table.list_jobs(connection, [job_name])
        return record

    yield read
    await pool.close()
