"""Jobs as operators see them, by the real stub; the runner itself is tested with the plumbing."""

import asyncio
from datetime import UTC, datetime, timedelta

import asyncpg

from deploy.local.bootstrap import DatabaseAddresses
from gen.campaigns.analytics.v1 import operations_service_pb2 as pb
from tests.analytics_factories import Stubs, add_catalog, event, ingest, refusal, running_server


async def job_of(stubs: Stubs, job_name: str) -> pb.Job:
    answer = await stubs.operations.ListJobs(pb.ListJobsRequest())
    names = [job.job_name for job in answer.jobs]
    assert names == sorted(names)
    return answer.jobs[names.index(job_name)]


async def test_jobs_are_listed_before_their_first_run(database: DatabaseAddresses) -> None:
    before = datetime.now(UTC)
    async with running_server(database.analytics) as stubs:
        job = await job_of(stubs, "reconcile")
    assert job.schedule == "daily at 04:00 UTC"
    assert job.state == pb.JOB_STATE_WAITING
    first_run = job.next_run_time.ToDatetime(UTC)
    assert (first_run.hour, first_run.minute) == (4, 0)
    assert timedelta(0) < first_run - before < timedelta(days=1, hours=1)
    assert (job.last_result, job.last_error, job.consecutive_failures) == ("", "", 0)
    for time in ("last_started_time", "last_finished_time", "last_succeeded_time"):
        assert not job.HasField(time)


async def test_an_unknown_job_is_refused(stubs: Stubs) -> None:
    unknown = await refusal(stubs.operations.RunJob(pb.RunJobRequest(job_name="reconciel")))
    assert (unknown.code, unknown.reason) == ("NOT_FOUND", "JOB_UNKNOWN")
    nameless = await refusal(stubs.operations.RunJob(pb.RunJobRequest()))
    assert (nameless.code, nameless.fields) == ("INVALID_ARGUMENT", {"job_name": "FIELD_REQUIRED"})


async def test_a_job_runs_when_asked_and_says_what_came_out(database: DatabaseAddresses) -> None:
    async with running_server(database.analytics, jobs_enabled=True, job_poll_seconds=3600) as stubs:
        await add_catalog(stubs)
        await ingest(stubs, event("a"))
        answer = await stubs.operations.RunJob(pb.RunJobRequest(job_name="reconcile"))
        assert answer.job.next_run_time.ToDatetime(UTC) <= datetime.now(UTC)
        async with asyncio.timeout(60):
            while not (job := await job_of(stubs, "reconcile")).last_result:
                await asyncio.sleep(0.01)
    assert job.last_result.startswith("every rollup equals a recount of the events (")
    assert job.state == pb.JOB_STATE_WAITING
    assert job.last_succeeded_time == job.last_finished_time
    assert job.next_run_time.ToDatetime(UTC) > job.last_finished_time.ToDatetime(UTC)


async def test_a_failing_job_says_so(database: DatabaseAddresses) -> None:
    async with running_server(database.analytics, jobs_enabled=True, job_poll_seconds=3600) as stubs:
        await add_catalog(stubs)
        await ingest(stubs, event("a"))
        admin = await asyncpg.connect(database.admin)
        try:
            await admin.execute("update analytics.campaign_totals set clicks = 7")
        finally:
            await admin.close()
        await stubs.operations.RunJob(pb.RunJobRequest(job_name="reconcile"))
        async with asyncio.timeout(60):
            while not (job := await job_of(stubs, "reconcile")).last_error:
                await asyncio.sleep(0.01)
    assert "2 rows differ from a recount" in job.last_error
    assert (job.state, job.consecutive_failures) == (pb.JOB_STATE_FAILING, 1)
    assert not job.HasField("last_succeeded_time")


async def test_a_running_job_and_a_lost_one_are_told_apart(stubs: Stubs, database: DatabaseAddresses) -> None:
    admin = await asyncpg.connect(database.admin)
    lease = "update analytics.jobs set lease_holder = 'x', lease_until = now() + $1::int * interval '1 hour'"
    try:
        for hours, state in ((1, pb.JOB_STATE_RUNNING), (-1, pb.JOB_STATE_FAILING)):
            await admin.execute(lease, hours)
            assert (await job_of(stubs, "reconcile")).state == state
    finally:
        await admin.close()
