"""A runner of jobs that polls by itself, whatever breaks meanwhile."""

import asyncio
from datetime import timedelta

import asyncpg
import pytest

from deploy.local.bootstrap import DatabaseAddresses
from services.common import job_table
from services.common.database import Database
from services.common.errors import UnavailableError
from services.common.jobs import Every, Job, JobContext, JobRunner
from tests.integration.common.job_hands import LEASE_SECONDS, START, Hands, Replica, Table, Work, run_due

LIMIT_SECONDS = 120


async def test_a_job_can_be_asked_for_before_its_time_and_while_it_runs(
    replica: Replica, hands: Hands, table: Table, database: DatabaseAddresses
) -> None:
    pool = await Database.open(database.analytics, application_name="test")

    async def ask() -> None:
        async with pool.acquire() as connection:
            assert await job_table.request_job(connection, "a", START + timedelta(seconds=hands.seconds))
            assert await job_table.request_job(connection, "b", START) is None

    work = Work()
    async with replica(Job(name="a", schedule=Every(seconds=60), run=work)) as runner:
        (run,) = await runner.poll()
        await work.began.wait()
        hands.seconds = 1
        await ask()
        assert await run_due(runner) == 0, "it runs already"
        work.end.set_result("first")
        await run
        assert (await table("a")).next_run_at == START + timedelta(seconds=1)
        assert await run_due(runner) == 1
        assert (await table("a")).next_run_at == START + timedelta(seconds=61)
        hands.seconds = 5
        await ask()
        assert await run_due(runner) == 1
    await pool.close()
    assert (await table("a")).run_count == 3


async def test_a_changed_schedule_is_kept_and_never_later(replica: Replica, table: Table) -> None:
    async def run(_context: JobContext) -> str:
        return "x" * 10_000

    async with replica(Job(name="a", schedule=Every(seconds=3600), run=run)) as runner:
        await run_due(runner)
    assert len((await table("a")).last_result) == 500
    async with replica(Job(name="a", schedule=Every(seconds=3600), run=run)):
        assert (await table("a")).next_run_at == START + timedelta(hours=1)
    async with replica(Job(name="a", schedule=Every(seconds=60), run=run)):
        assert (await table("a")).schedule == "every 60 s"
        assert (await table("a")).next_run_at == START


async def test_a_stop_amid_a_claim_leaves_no_lease(database: DatabaseAddresses, table: Table) -> None:
    pool = await Database.open(database.analytics, application_name="jobs", max_size=3)
    admin = await asyncpg.connect(database.admin)

    async def run(_context: JobContext) -> str:
        raise AssertionError

    async def wait_until_blocked() -> None:
        blocked = (
            "select 1 from pg_stat_activity where application_name = 'jobs' and wait_event_type = 'Lock'"
        )
        while not await admin.fetchval(blocked):
            await asyncio.sleep(0.01)

    runner = JobRunner(pool, [Job(name="a", schedule=Every(seconds=60), run=run)], poll_seconds=0.01)
    locker = await asyncpg.connect(database.analytics)
    try:
        await runner.register()
        async with locker.transaction():
            await locker.execute("lock table jobs in share mode")
            polling = asyncio.create_task(runner.poll())
            await asyncio.wait_for(wait_until_blocked(), LIMIT_SECONDS)
            polling.cancel()
            await asyncio.sleep(0)
        with pytest.raises(asyncio.CancelledError):
            await polling
    finally:
        await asyncio.gather(admin.close(), locker.close(), pool.close())
    kept = await table("a")
    assert (kept.run_count, kept.lease_holder, kept.lease_until, kept.last_error) == (1, None, None, "")


async def test_a_running_runner_polls_by_itself_and_survives_lost_connections(
    database: DatabaseAddresses, table: Table
) -> None:
    pool = await Database.open(database.analytics, application_name="jobs", max_size=3)
    admin = await asyncpg.connect(database.admin)
    runs: asyncio.Queue[int] = asyncio.Queue()

    async def run(_context: JobContext) -> str:
        runs.put_nowait(1)
        return "ran"

    runner = JobRunner(pool, [Job(name="a", schedule=Every(seconds=0.001), run=run)], poll_seconds=0.01)
    try:
        async with runner.running():
            await runs.get()
            await admin.execute(
                "alter role analytics connection limit 0;"
                " select pg_terminate_backend(pid) from pg_stat_activity where usename = 'analytics'"
            )
            runner.wake()
            while not runs.empty():
                runs.get_nowait()
            await admin.execute("alter role analytics connection limit -1")
            await asyncio.wait_for(runs.get(), LIMIT_SECONDS)
    finally:
        await admin.close()
        await pool.close()
    assert (await table("a")).last_result == "ran"


async def test_a_defect_in_looking_for_jobs_does_not_end_the_looking(
    database: DatabaseAddresses, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool = await Database.open(database.analytics, application_name="jobs", max_size=3)
    claim, broken, ran = job_table.claim_job, asyncio.Event(), asyncio.Event()

    async def defect(*_arguments: object) -> None:
        broken.set()
        raise RuntimeError

    async def run(_context: JobContext) -> str:
        ran.set()
        return "ran"

    monkeypatch.setattr(job_table, "claim_job", defect)
    runner = JobRunner(pool, [Job(name="a", schedule=Every(seconds=60), run=run)], poll_seconds=0.01)
    async with runner.running():
        await asyncio.wait_for(broken.wait(), LIMIT_SECONDS)
        monkeypatch.setattr(job_table, "claim_job", claim)
        await asyncio.wait_for(ran.wait(), LIMIT_SECONDS)
    await pool.close()


async def test_the_end_of_a_run_is_kept_when_the_database_is_back(
    replica: Replica, hands: Hands, table: Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    finish, asked = job_table.finish_job, asyncio.Event()

    async def away(*_arguments: object) -> bool:
        asked.set()
        raise UnavailableError("away", reason="DATABASE_UNAVAILABLE")

    monkeypatch.setattr(job_table, "finish_job", away)
    work = Work()
    work.end.set_result("kept")
    async with replica(Job(name="a", schedule=Every(seconds=60), run=work)) as runner:
        (run,) = await runner.poll()
        await asked.wait()
        await asyncio.sleep(0)
        monkeypatch.setattr(job_table, "finish_job", finish)
        while not run.done():
            for wait in hands.waits:
                wait.set()
            await asyncio.sleep(0)
        assert (await table("a")).last_result == "kept"
        monkeypatch.setattr(job_table, "finish_job", away)
        hands.seconds = 60
        (run,) = await runner.poll()
        hands.seconds += LEASE_SECONDS - 0.5
        await run
        assert (await table("a")).lease_holder is not None


async def test_a_defect_in_keeping_a_result_leaves_the_others_alone(
    replica: Replica, table: Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_arguments: object) -> bool:
        raise RuntimeError

    monkeypatch.setattr(job_table, "finish_job", broken)
    work = Work()
    work.end.set_result("lost")
    async with replica(Job(name="a", schedule=Every(seconds=60), run=work)) as runner:
        assert await run_due(runner) == 1
        assert await run_due(runner) == 0
    assert (await table("a")).lease_holder is not None
