"""What the server every service runs says of itself, from its start to its stop: ports, health, metrics."""

import asyncio
import socket
from typing import Any
from urllib.request import urlopen

import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from services.common.errors import FailedPreconditionError, UnavailableError
from tests.ports import free_port
from tests.unit.common.sample_server import LIMIT_SECONDS, NAME, SampleSettings, failure, running


async def test_health_is_reported_for_the_server_and_each_service() -> None:
    async with running(SampleSettings(drain_seconds=0)) as server:
        assert await server.health() == await server.health(NAME) == health_pb2.HealthCheckResponse.SERVING


async def test_nothing_serves_before_the_first_look_at_readiness() -> None:
    looked = asyncio.Event()
    async with running(SampleSettings(drain_seconds=0), looked.wait) as server:
        assert (
            await server.health() == await server.health(NAME) == health_pb2.HealthCheckResponse.NOT_SERVING
        )
        looked.set()


async def test_health_follows_readiness(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.common.grpc_server.READINESS_SECONDS", 0.01)
    down = True

    async def ready() -> None:
        if down:
            raise UnavailableError("no database", reason="DATABASE_UNAVAILABLE")

    async with running(SampleSettings(drain_seconds=0), ready) as server:

        async def until(status: int) -> None:
            while await server.health(NAME) != status:
                await asyncio.sleep(0.01)

        await asyncio.wait_for(until(health_pb2.HealthCheckResponse.NOT_SERVING), LIMIT_SECONDS)
        down = False
        await asyncio.wait_for(until(health_pb2.HealthCheckResponse.SERVING), LIMIT_SECONDS)
        down = True
        await asyncio.wait_for(until(health_pb2.HealthCheckResponse.NOT_SERVING), LIMIT_SECONDS)


async def test_a_look_at_readiness_that_does_not_end_is_not_ready(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is gone on with, and none is begun beside it; the first look is at once."""
    monkeypatch.setattr("services.common.grpc_server.READINESS_SECONDS", 0.01)
    monkeypatch.setattr("services.common.grpc_server.LONGEST_LOOK_SECONDS", 0.01)
    looks, answered = [0], asyncio.Event()
    answered.set()

    async def ready() -> None:
        looks[0] += 1
        await answered.wait()

    async with running(SampleSettings(drain_seconds=0), ready) as server:

        async def until(status: int) -> None:
            while await server.health(NAME) != status:
                await asyncio.sleep(0.01)

        await asyncio.wait_for(until(health_pb2.HealthCheckResponse.SERVING), LIMIT_SECONDS)
        answered.clear()
        await asyncio.wait_for(until(health_pb2.HealthCheckResponse.NOT_SERVING), LIMIT_SECONDS)
        begun = looks[0]
        for _ in range(50):
            assert await server.health() == health_pb2.HealthCheckResponse.NOT_SERVING
        assert looks[0] == begun
        answered.set()
        await asyncio.wait_for(until(health_pb2.HealthCheckResponse.SERVING), LIMIT_SECONDS)


async def test_draining_says_not_serving_and_finishes_the_calls_under_way() -> None:
    """Told to whoever watches: who asks may come too late, after the drain."""
    async with running(SampleSettings(drain_seconds=0, grace_seconds=LIMIT_SECONDS)) as server:
        stub: Any = health_pb2_grpc.HealthStub(server.channel)
        watching = stub.Watch(health_pb2.HealthCheckRequest(), timeout=LIMIT_SECONDS)
        assert (await watching.read()).status == health_pb2.HealthCheckResponse.SERVING
        slow = asyncio.create_task(server.call(b"slow"))
        await server.sample.begun.wait()
        server.stopping.set()
        assert (await watching.read()).status == health_pb2.HealthCheckResponse.NOT_SERVING
        watching.cancel()
        assert not slow.done()
        server.sample.release.set()
        assert await slow == b"answer"
        assert server.sample.finished == ["slow"]
    assert server.task.done()


def taken_port() -> tuple[socket.socket, int]:
    holder = socket.socket()
    holder.bind(("127.0.0.1", 0))
    holder.listen()
    return holder, int(holder.getsockname()[1])


@pytest.mark.parametrize("name", ["port", "metrics_port"])
async def test_a_taken_port_is_named_with_its_setting(name: str) -> None:
    holder, port = taken_port()
    values = {name: port, "drain_seconds": 0}
    with holder, pytest.raises(FailedPreconditionError, match=f"port {port} .* set SAMPLE_{name.upper()} "):
        async with running(SampleSettings.model_validate(values)):
            pass


async def test_calls_are_counted_in_the_metrics() -> None:
    port = free_port()
    wanted = (
        f'grpc_server_handled_total{{grpc_code="INVALID_ARGUMENT",grpc_method="Unary",grpc_service="{NAME}"}}'
    )

    def metrics() -> str:
        with urlopen(f"http://127.0.0.1:{port}/metrics", timeout=LIMIT_SECONDS) as response:
            return str(response.read().decode())

    async with running(SampleSettings(metrics_port=port, drain_seconds=0)) as server:
        await failure(server, b"field")
        async with asyncio.timeout(LIMIT_SECONDS):
            while wanted not in await asyncio.to_thread(metrics):  # counted once its answer has left
                await asyncio.sleep(0.01)


async def test_health_outlives_a_defect_of_the_look_at_readiness(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.common.grpc_server.READINESS_SECONDS", 0.01)
    broken = True

    async def ready() -> None:
        if broken:
            raise RuntimeError("a defect")

    async with running(SampleSettings(drain_seconds=0), ready) as server:
        assert await server.health() == health_pb2.HealthCheckResponse.NOT_SERVING
        broken = False
        async with asyncio.timeout(LIMIT_SECONDS):
            while await server.health() != health_pb2.HealthCheckResponse.SERVING:
                await asyncio.sleep(0.01)
