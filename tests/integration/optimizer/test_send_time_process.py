"""The job that keeps send times: the real process over a real database, started only where there is work."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import asyncpg
import pytest

from deploy.local.bootstrap import DatabaseAddresses
from services.common.database import Database
from services.common.jobs import Job, JobContext
from services.optimizer.domain.send_time.send_time import QuietHours
from services.optimizer.operations.send_time_jobs import build_send_time_job
from services.optimizer.operations.send_times import SendTimeOperations
from services.optimizer.send_time_process import SendTimeProcess
from tests.contract.optimizer.harness import fetch_rows

CONVERTED = 4
QUIET = QuietHours(start=20, end=8)


async def insert_purchases(url: str, user: str, moments: list[datetime]) -> None:
    connection = await asyncpg.connect(url)
    try:
        await connection.executemany(
            "insert into analytics.events (user_id, event_id, event_type, event_at, counted_at,"
            " stamped_fields, is_machine_open, currency_code) values ($1, $2, $3, $4, $4, 0, false, 'USD')",
            [(user, at.isoformat(), CONVERTED, at) for at in moments],
        )
    finally:
        await connection.close()


async def kept(url: str) -> list[tuple[object, ...]]:
    connection = await asyncpg.connect(url)
    try:
        rows = await connection.fetch(
            "select user_id, optimal_hour, quiet_start_hour, quiet_end_hour"
            " from optimizer.user_optimal_send_times order by user_id"
        )
        return [tuple(row) for row in rows]
    finally:
        await connection.close()


def process(database: DatabaseAddresses) -> SendTimeProcess:
    return SendTimeProcess(
        database_url=database.optimizer, timeout_seconds=900.0, quiet=QUIET, profile_hours=24.0
    )


@pytest.fixture
async def job(database: DatabaseAddresses) -> AsyncIterator[Job]:
    """The job over the real process."""
    pool = await Database.open(database.optimizer, application_name="test")
    try:
        operations = SendTimeOperations(
            pool, now=lambda: datetime.now(UTC), quiet=QUIET, refit=timedelta(days=1)
        )
        yield build_send_time_job(operations, process(database), seconds=900.0)
    finally:
        await pool.close()


async def run(job: Job) -> str:
    async def save(_cursor: object) -> None:
        raise AssertionError("this job needs no cursor")

    return await job.run(JobContext(job_name=job.name, cursor={}, save=save))


async def test_the_process_computes_what_is_due(database: DatabaseAddresses, job: Job) -> None:
    assert (job.name, str(job.schedule)) == ("send_times", "every 900 s")
    assert await run(job) == "nothing came in"
    noon = datetime.now(UTC).replace(hour=12, minute=5, second=0, microsecond=0)
    days = [noon - timedelta(days=day) for day in range(2, 14)]
    for user in ("anna", "bela"):
        await insert_purchases(database.admin, user, days)
    assert await run(job) == "2 users, profile of 2 users fitted"
    assert await kept(database.admin) == [("anna", 12, 20, 8), ("bela", 12, 20, 8)]


async def test_a_run_that_is_stopped_is_gone_on_with(database: DatabaseAddresses, job: Job) -> None:
    """Cancelled when users are taken out of the queue and not kept yet: they are back in it."""
    at = datetime.now(UTC) - timedelta(days=3)
    await insert_purchases(database.admin, "anna", [at])
    holder = await asyncpg.connect(database.admin)
    try:
        async with holder.transaction():
            await holder.execute("lock table optimizer.user_optimal_send_times in share mode")
            stopped = asyncio.create_task(run(job))
            while not await fetch_rows(
                database.admin,
                "select 1 from pg_stat_activity where application_name = 'optimizer-send-times'"
                " and wait_event_type = 'Lock' and query like '%insert into user_optimal_send_times%'",
            ):
                assert not stopped.done()
                await asyncio.sleep(0.02)
            stopped.cancel()
            await asyncio.gather(stopped, return_exceptions=True)
            while await fetch_rows(
                database.admin,
                "select pg_terminate_backend(pid) from pg_stat_activity"
                " where application_name = 'optimizer-send-times'",
            ):
                await asyncio.sleep(0.02)
        assert await kept(database.admin) == []
        queued = await holder.fetch("select user_id, retry_at from optimizer.send_time_queue")
        assert [tuple(row) for row in queued] == [("anna", None)]
    finally:
        await holder.close()
    assert await run(job) == "1 users"
    assert [row[0] for row in await kept(database.admin)] == ["anna"]
