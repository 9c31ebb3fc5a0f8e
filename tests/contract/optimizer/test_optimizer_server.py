"""The optimizer's server as it is started: health by its database, and what it may not import."""

import asyncio
import subprocess
import sys
from pathlib import Path
from typing import Any

from grpc_health.v1 import health_pb2, health_pb2_grpc

from deploy.local.bootstrap import DatabaseAddresses
from services.common.grpc_client import open_channel
from services.optimizer import server
from tests.contract.optimizer.harness import PATIENCE_SECONDS, optimizer_settings


async def test_it_serves_while_the_database_answers_even_without_a_model_server(
    database: DatabaseAddresses, tmp_path: Path
) -> None:
    stopping, started = asyncio.Event(), asyncio.get_running_loop().create_future()
    settings = optimizer_settings(database.optimizer, tmp_path, 1).model_copy(update={"drain_seconds": 0.0})
    serving = asyncio.create_task(server.serve(settings, stopping=stopping, on_started=started.set_result))
    port = await asyncio.wait_for(started, PATIENCE_SECONDS)
    async with open_channel(f"127.0.0.1:{port}") as channel:
        health: Any = health_pb2_grpc.HealthStub(channel)
        watch = health.Watch(health_pb2.HealthCheckRequest(service=server.SERVICE_NAME))
        async with asyncio.timeout(PATIENCE_SECONDS):
            async for answer in watch:
                if answer.status == health_pb2.HealthCheckResponse.SERVING:
                    break
    stopping.set()
    await asyncio.wait_for(serving, PATIENCE_SECONDS)
    assert server.SERVICE_NAME == "campaigns.optimizer.v1.OptimizerService"


def test_the_serving_process_imports_nothing_that_trains() -> None:
    program = (
        "import sys, services.optimizer.server;"
        "heavy = {'sklearn', 'skl2onnx', 'onnx', 'onnxruntime', 'pandas', 'scipy.stats',"
        " 'services.optimizer.training'};"
        "print(sorted(heavy & set(sys.modules)))"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
