"""Jobs of the optimizer through a real stub: listed with their schedule, and run when asked."""

import asyncio
from pathlib import Path

import grpc
import pytest

from deploy.local.bootstrap import DatabaseAddresses
from gen.campaigns.optimizer.v1 import operations_service_pb2 as pb
from gen.campaigns.optimizer.v1.operations_service_pb2_grpc import OptimizerOperationsServiceStub
from tests.contract.optimizer.harness import PATIENCE_SECONDS, optimizer_settings, refusal_of, running_channel

JOBS = {
    "affinity",
    "affinity_model",
    "check_drift",
    "outcomes",
    "prune_models",
    "retrain_model",
    "send_times",
}


async def test_every_job_is_listed_with_its_schedule(database: DatabaseAddresses, tmp_path: Path) -> None:
    async with running_channel(optimizer_settings(database.optimizer, tmp_path, 1)) as channel:
        stub = OptimizerOperationsServiceStub(channel)
        listed = (await stub.ListJobs(pb.ListJobsRequest())).jobs
    assert [job.job_name for job in listed] == sorted(JOBS)
    for job in listed:
        assert job.schedule
        assert job.state == pb.JOB_STATE_WAITING
        assert not job.HasField("last_started_time")
        assert job.HasField("next_run_time")


async def test_a_job_that_is_asked_for_runs_and_says_what_came_out(
    database: DatabaseAddresses, tmp_path: Path
) -> None:
    settings = optimizer_settings(database.optimizer, tmp_path, 1).model_copy(
        update={"jobs_enabled": True, "job_poll_seconds": 0.05}
    )
    async with running_channel(settings) as channel:
        stub = OptimizerOperationsServiceStub(channel)
        asked = await stub.RunJob(pb.RunJobRequest(job_name="prune_models"))
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not (done := await job_named(stub, "prune_models")).HasField("last_finished_time"):
                await asyncio.sleep(0.05)
    assert asked.job.job_name == "prune_models"
    assert done.state == pb.JOB_STATE_WAITING
    assert done.last_result
    assert done.last_succeeded_time == done.last_finished_time
    assert done.consecutive_failures == 0


async def job_named(stub: OptimizerOperationsServiceStub, name: str) -> pb.Job:
    listed = (await stub.ListJobs(pb.ListJobsRequest())).jobs
    return next(job for job in listed if job.job_name == name)


@pytest.mark.parametrize(
    ("name", "code", "reason"),
    [("", "INVALID_ARGUMENT", "FIELD_REQUIRED"), ("nothing", "NOT_FOUND", "JOB_UNKNOWN")],
)
async def test_a_job_that_is_none_is_refused(
    database: DatabaseAddresses, tmp_path: Path, name: str, code: str, reason: str
) -> None:
    async with running_channel(optimizer_settings(database.optimizer, tmp_path, 1)) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await OptimizerOperationsServiceStub(channel).RunJob(pb.RunJobRequest(job_name=name))
    refusal = refusal_of(refused.value)
    assert (refusal.code, refusal.reason) == (code, reason)
