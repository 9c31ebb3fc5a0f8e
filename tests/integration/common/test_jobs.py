"""Jobs against a real PostgreSQL: once across runners, resumed after a loss, tried again after a failure."""

import asyncio
from datetime import timedelta

import asyncpg
import pytest

from deploy.local.bootstrap import DatabaseAddresses
from services.common import job_table
from services.common.database import Database
from services.common.errors import UnavailableError, invalid_field
from services.common.job_lease import LeaseLostError
from services.common.job_table import ABANDONED
from services.common.jobs import NOT_YET_SECONDS, Every, Job, JobContext, JobRunner, NotYetError
from tests.integration.common.job_hands import LEASE_SECONDS, START, Hands, Replica, Table, Work, run_due


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
