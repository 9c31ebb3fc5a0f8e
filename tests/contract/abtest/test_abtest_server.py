"""The process as it runs: health, reflection, command line."""

import asyncio
import subprocess
import sys
from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from deploy.local.bootstrap import DatabaseAddresses
from gen.campaigns.abtest.v1 import history_pb2 as pb
from gen.campaigns.abtest.v1.abtest_service_pb2_grpc import ABTestServiceStub
from services.abtest.server import SERVICE_NAME, serve
from services.abtest.settings import AbtestSettings


async def is_serving(stub: Any) -> bool:  # noqa: ANN401 (its stub names no method)
    try:
        answer = await stub.Check(health_pb2.HealthCheckRequest(service=SERVICE_NAME))
    except grpc.aio.AioRpcError as error:
        if error.code() is not grpc.StatusCode.NOT_FOUND:  # as it is before readiness was first asked for
            raise
        return False
    return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)


async def test_a_served_process_is_healthy_and_answers(database: DatabaseAddresses) -> None:
    settings = AbtestSettings(database_url=database.abtest, port=0, metrics_port=0, drain_seconds=0)
    stopping = asyncio.Event()
    started: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    serving = asyncio.create_task(serve(settings, stopping=stopping, on_started=started.set_result))
    port = await asyncio.wait_for(started, 60)
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        health: Any = health_pb2_grpc.HealthStub(channel)
        async with asyncio.timeout(60):
            while await is_serving(health) is False:
                await asyncio.sleep(0.01)
        history = await ABTestServiceStub(channel).ListTestHistory(pb.ListTestHistoryRequest())
        assert not history.tests
    stopping.set()
    await asyncio.wait_for(serving, 60)


def test_help_names_every_setting() -> None:
    result = subprocess.run(
        [sys.executable, "-m", "services.abtest", "--help"], capture_output=True, text=True, check=True
    )
    for name in AbtestSettings.model_fields:
        assert f"ABTEST_{name.upper()}" in result.stdout


def test_a_missing_setting_fails_by_name() -> None:
    result = subprocess.run(
        [sys.executable, "-m", "services.abtest"], capture_output=True, text=True, check=False, env={}
    )
    assert result.returncode == 2
    assert "ABTEST_DATABASE_URL" in result.stderr
