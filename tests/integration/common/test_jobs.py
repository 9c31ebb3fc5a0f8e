"""Jobs against a real PostgreSQL: once across runners, resumed after a loss, tried again after a failure."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import asyncpg
import pytest

from deploy.local.bootstrap import DatabaseAddresses
from services.common import job_table
from services.common.database import Connection, Database
from services.common.errors import UnavailableError, invalid_field
from services.common.job_lease import JobTimes, LeaseLostError
from services.common.job_table import ABANDONED, JobRecord
from services.common.jobs import NOT_YET_SECONDS, Every, Job, JobContext, JobRunner, NotYetError

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


@pytest.fixture
def hands() -> Hands:
    return Hands()


@pytest.fixture
async def replica(database: DatabaseAddresses, hands: Hands) -> Replica:
    """Return what opens a replica with its own pool: it runs jobs where a test polls."""

    @asynccontextmanager
    async def open_replica(*jobs: Job) -> AsyncIterator[JobRunner]:
        pool = await Database.open(database.analytics, application_name="test", max_size=3)
        runner = JobRunner(pool, jobs, lease_seconds=LEASE_SECONDS, times=hands.times)
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


Table = Callable[[str], Awaitable[JobRecord]]


async def run_due(runner: JobRunner) -> int:
    """Run what is due to its end; return how many that were."""
    runs = await runner.poll()
    await asyncio.gather(*runs)
    return len(runs)


async def test_each_due_run_happens_once_across_replicas(replica: Replica, hands: Hands) -> None:
    counts = {"a": 0, "b": 0}

    def job(name: str, seconds: float) -> Job:
        async def run(_context: JobContext) -> str:
            counts[name] += 1
            await asyncio.sleep(0)
            return "counted"

        return Job(name=name, schedule=Every(seconds=seconds), run=run)

    async with replica(job("a", 10), job("b", 20)) as one, replica(job("a", 10), job("b", 20)) as two:
        for _ in range(5):
            await asyncio.gather(*(run_due(runner) for runner in (one, two, one, two)))
            hands.seconds += 10
    assert counts == {"a": 5, "b": 3}


async def test_a_run_is_recorded(replica: Replica, table: Table, hands: Hands) -> None:
    work = Work()
    async with replica(Job(name="a", schedule=Every(seconds=60), run=work)) as runner:
        assert (await table("a")).next_run_at == START
        (run,) = await runner.poll()
        running = await table("a")
        assert (running.last_started_at, running.last_finished_at, running.run_count) == (START, None, 1)
        assert running.lease_until == START + timedelta(seconds=LEASE_SECONDS)
        hands.seconds = 7
        work.end.set_result("12 counted")
        await run
    ended = await table("a")
    finished = START + timedelta(seconds=7)
    assert (ended.last_finished_at, ended.last_succeeded_at) == (finished, finished)
    assert ended.next_run_at == finished + timedelta(seconds=60)
    assert (ended.last_result, ended.last_error, ended.lease_holder) == ("12 counted", "", None)
    assert ended.schedule == "every 60 s"


async def test_the_job_of_a_killed_replica_resumes_elsewhere_with_its_cursor(
    replica: Replica, table: Table, hands: Hands, database: DatabaseAddresses
) -> None:
    killed, heir = Work(), Work()
    async with replica(Job(name="a", schedule=Every(seconds=60), run=killed)) as one:
        await one.poll()
        await killed.began.wait()
        await killed.contexts[0].save({"after": "c7", "done": 7})
        hands.seconds = 29
        async with replica(Job(name="a", schedule=Every(seconds=60), run=heir)) as two:
            assert await run_due(two) == 0, "the lease still holds"
            hands.seconds = 31  # the first replica's renewals have stopped: nobody moves its waits
            (run,) = await two.poll()
            await heir.began.wait()
            assert heir.contexts[0].cursor == {"after": "c7", "done": 7}
            taken = await table("a")
            assert (taken.consecutive_failures, taken.last_error, taken.run_count) == (1, ABANDONED, 2)
            # What the killed one still says, were it alive after all, counts no more.
            with pytest.raises(LeaseLostError):
                await killed.contexts[0].save({"after": "c8"})
            heir.end.set_result("all done")
            await run
    ended = await table("a")
    assert (ended.last_result, ended.consecutive_failures) == ("all done", 0)
    connection = await asyncpg.connect(database.analytics)
    try:
        assert await connection.fetchval("select cursor from jobs") == "{}"
    finally:
        await connection.close()


async def test_a_long_run_keeps_its_lease_by_renewing_it(replica: Replica, hands: Hands) -> None:
    work, other = Work(), Work()
    async with (
        replica(Job(name="a", schedule=Every(seconds=60), run=work)) as one,
        replica(Job(name="a", schedule=Every(seconds=60), run=other)) as two,
    ):
        await one.poll()
        await work.began.wait()
        for _ in range(10):
            hands.seconds += LEASE_SECONDS / 3
            await hands.beat()
            assert await run_due(two) == 0
        assert hands.seconds > 3 * LEASE_SECONDS
    assert not other.contexts


async def test_a_run_stops_when_its_lease_is_anothers(replica: Replica, hands: Hands, table: Table) -> None:
    work, heir = Work(), Work()
    async with (
        replica(Job(name="a", schedule=Every(seconds=60), run=work)) as one,
        replica(Job(name="a", schedule=Every(seconds=60), run=heir)) as two,
    ):
        (stopped,) = await one.poll()
        await work.began.wait()
        hands.seconds = LEASE_SECONDS + 1
        await two.poll()
        await heir.began.wait()
        for wait in hands.waits:
            wait.set()
        await stopped
        assert (await table("a")).lease_holder is not None
        assert not heir.end.done()


async def test_a_run_stops_when_it_cannot_renew_in_time(
    replica: Replica, hands: Hands, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = Work()

    async def fail(*_arguments: object) -> bool:
        raise UnavailableError("away", reason="DATABASE_UNAVAILABLE")

    async with replica(Job(name="a", schedule=Every(seconds=60), run=work)) as runner:
        (run,) = await runner.poll()
        await work.began.wait()
        monkeypatch.setattr(job_table, "renew_lease", fail)
        hands.seconds = LEASE_SECONDS / 3
        await hands.beat()
        assert not run.done(), "one missed renewal is not a lost lease"
        hands.seconds = LEASE_SECONDS - 1
        for wait in hands.waits:
            wait.set()
        await run
        assert not work.end.done()


async def test_failures_are_counted_and_tried_again_with_growing_waits(
    replica: Replica, hands: Hands, table: Table
) -> None:
    errors: list[Exception] = [invalid_field("x", "is wrong"), KeyError("a secret"), ValueError()]
    cursors = []

    async def run(context: JobContext) -> str:
        cursors.append(context.cursor)
        if errors:
            await context.save({"at": len(cursors)})
            raise errors.pop(0)
        return "well"

    async with replica(Job(name="a", schedule=Every(seconds=60), run=run)) as runner:
        for count, (wait, text) in enumerate([(10, "x: is wrong"), (20, "KeyError"), (40, "ValueError")], 1):
            assert await run_due(runner) == 1
            failed = await table("a")
            assert failed.consecutive_failures == count
            assert text in failed.last_error
            assert "secret" not in failed.last_error
            assert failed.next_run_at == START + timedelta(seconds=hands.seconds + wait)
            assert failed.last_succeeded_at is None
            hands.seconds += wait - 1
            assert await run_due(runner) == 0
            hands.seconds += 1
        assert await run_due(runner) == 1
    ended = await table("a")
    assert (ended.consecutive_failures, ended.last_error, ended.last_result) == (0, "", "well")
    assert cursors == [{}, {"at": 1}, {"at": 2}, {"at": 3}]


@pytest.mark.parametrize(("every", "next_in"), [(86_400, NOT_YET_SECONDS), (60, 60)])
async def test_what_is_not_there_yet_is_a_result_and_looked_for_again_soon(
    replica: Replica, table: Table, every: float, next_in: float
) -> None:
    async def wait_for_data(_context: JobContext) -> str:
        raise NotYetError("too little data yet: 3 days")

    async with replica(Job(name="a", schedule=Every(seconds=every), run=wait_for_data)) as runner:
        assert await run_due(runner) == 1
        record = await table("a")
    assert (record.last_result, record.last_error) == ("too little data yet: 3 days", "")
    assert (record.consecutive_failures, record.last_succeeded_at) == (0, START)
    assert record.next_run_at == START + timedelta(seconds=next_in)


async def test_a_run_that_takes_too_long_is_stopped(replica: Replica, table: Table) -> None:
    endless = Job(name="a", schedule=Every(seconds=60), run=Work(), longest_seconds=0.001)
    async with replica(endless) as runner:
        assert await run_due(runner) == 1
    assert (await table("a")).last_error == "it took longer than 0.001 seconds and was stopped"


async def test_stopping_gives_the_lease_back_with_the_cursor(replica: Replica, table: Table) -> None:
    work, heir = Work(), Work()
    async with replica(Job(name="a", schedule=Every(seconds=60), run=work)) as runner:
        await runner.poll()
        await work.began.wait()
        await work.contexts[0].save({"half": True})
    stopped = await table("a")
    assert (stopped.lease_holder, stopped.consecutive_failures) == (None, 0)
    async with replica(Job(name="a", schedule=Every(seconds=60), run=heir)) as runner:
        await runner.poll()
        await heir.began.wait()
    assert heir.contexts[0].cursor == {"half": True}


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
            await asyncio.wait_for(runs.get(), 30)
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
        await asyncio.wait_for(broken.wait(), 30)
        monkeypatch.setattr(job_table, "claim_job", claim)
        await asyncio.wait_for(ran.wait(), 30)
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


async def test_every_statement_is_valid_for_the_services_role(database: DatabaseAddresses) -> None:
    connection = await asyncpg.connect(database.analytics)
    try:
        for statement in job_table.STATEMENTS.values():
            await connection.prepare(statement.sql)
    finally:
        await connection.close()


async def test_two_jobs_of_one_name_are_refused(database: DatabaseAddresses) -> None:
    pool = await Database.open(database.analytics, application_name="test")
    job = Job(name="a", schedule=Every(seconds=60), run=Work())
    with pytest.raises(ValueError, match="one name"):
        JobRunner(pool, [job, job])
    await pool.close()
