"""The server every service runs, with a real channel: a generic handler stands for a servicer."""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.request import urlopen

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2
from google.rpc.error_details_pb2 import ErrorInfo
from grpc_health.v1 import health_pb2, health_pb2_grpc
from pydantic_settings import SettingsConfigDict

from services.common.errors import (
    ConstraintViolation,
    FailedPreconditionError,
    FieldViolation,
    UnavailableError,
    invalid_field,
    invalid_fields,
)
from services.common.grpc_server import Service, serve
from services.common.interceptors import Context
from services.common.settings import ServiceSettings

NAME = "sample.v1.SampleService"


class SampleSettings(ServiceSettings):
    model_config = SettingsConfigDict(env_prefix="SAMPLE_")


@dataclass
class Sample:
    """A servicer whose request says what should happen."""

    finished: list[str] = field(default_factory=list)
    release: asyncio.Event = field(default_factory=asyncio.Event)

    async def unary(self, request: bytes, context: Context) -> bytes:
        match request:
            case b"field":
                raise invalid_field("a.b", "must be good", "NOT_GOOD")
            case b"many":
                raise invalid_fields(
                    [FieldViolation(field=f"a[{i}]", description="bad") for i in range(10_000)]
                )
            case b"wordy":
                raise invalid_fields(
                    [FieldViolation(field=f"a[{i}]", description="\U0001f600" * 9999) for i in range(30)]
                )
            case b"defect":
                raise ValueError("a secret")
            case b"constraint":
                raise ConstraintViolation("secret_constraint")
            case b"missing":
                raise NotImplementedError
            case b"abort":
                await context.abort(grpc.StatusCode.DATA_LOSS, "by hand")
            case b"slow":
                await self.release.wait()
                self.finished.append("slow")
        return b"answer"

    async def stream(self, request: bytes, _context: object) -> AsyncIterator[bytes]:
        yield b"first"
        if request == b"field":
            raise invalid_field("c", "must be good")
        yield b"second"

    async def collect(self, requests: AsyncIterator[bytes], _context: object) -> bytes:
        return b"".join([part async for part in requests])

    async def echo(self, requests: AsyncIterator[bytes], _context: object) -> AsyncIterator[bytes]:
        async for part in requests:
            yield part

    def register(self, server: grpc.aio.Server) -> None:
        handlers: Any = {
            "Unary": grpc.unary_unary_rpc_method_handler(self.unary),
            "Read": grpc.unary_unary_rpc_method_handler(self.unary, ErrorInfo.FromString),
            "ReadAll": grpc.stream_unary_rpc_method_handler(self.collect, ErrorInfo.FromString),
            "Stream": grpc.unary_stream_rpc_method_handler(self.stream),
            "Collect": grpc.stream_unary_rpc_method_handler(self.collect),
            "Echo": grpc.stream_stream_rpc_method_handler(self.echo),
        }
        server.add_registered_method_handlers(NAME, handlers)


@dataclass
class Running:
    port: int
    sample: Sample
    stopping: asyncio.Event
    task: asyncio.Task[None]
    channel: grpc.aio.Channel

    async def call(self, request: bytes, metadata: tuple[tuple[str, str], ...] = ()) -> bytes:
        call: Any = self.channel.unary_unary(f"/{NAME}/Unary")
        return bytes(await call(request, timeout=10, metadata=metadata))

    async def health(self, service: str = "") -> int:
        stub: Any = health_pb2_grpc.HealthStub(self.channel)
        return int((await stub.Check(health_pb2.HealthCheckRequest(service=service), timeout=10)).status)


@asynccontextmanager
async def running(
    settings: ServiceSettings, ready: Callable[[], Awaitable[object]] | None = None
) -> AsyncIterator[Running]:
    sample, stopping = Sample(), asyncio.Event()
    port: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    task = asyncio.create_task(
        serve(
            settings=settings,
            services=[Service(name=NAME, register=sample.register)],
            stopping=stopping,
            on_started=port.set_result,
            ready=ready,
        )
    )
    waiting: set[asyncio.Future[Any]] = {port, task}
    await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    if task.done():
        task.result()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port.result()}") as channel:
        try:
            yield Running(port.result(), sample, stopping, task, channel)
        finally:
            stopping.set()
            await asyncio.wait_for(task, 20)


@pytest.fixture
async def server() -> AsyncIterator[Running]:
    async with running(SampleSettings(drain_seconds=0)) as server:
        yield server


async def failure(server: Running, request: bytes) -> grpc.aio.AioRpcError:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await server.call(request)
    return caught.value


def status_of(error: grpc.aio.AioRpcError) -> status_pb2.Status:
    trailers = dict(error.trailing_metadata() or ())
    return status_pb2.Status.FromString(bytes(trailers["grpc-status-details-bin"]))


async def test_a_domain_error_reaches_the_client_with_reason_domain_and_field(server: Running) -> None:
    error = await failure(server, b"field")
    assert (error.code(), error.details()) == (grpc.StatusCode.INVALID_ARGUMENT, "a.b: must be good")
    status = status_of(error)
    info, request = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
    assert status.details[0].Unpack(info)
    assert status.details[1].Unpack(request)
    assert (info.reason, info.domain) == ("NOT_GOOD", NAME)
    assert request.field_violations[0].field == "a.b"


@pytest.mark.parametrize("request_", [b"defect", b"constraint"])
async def test_a_defect_tells_the_client_nothing_but_the_request_id(server: Running, request_: bytes) -> None:
    error = await failure(server, request_)
    assert error.code() is grpc.StatusCode.INTERNAL
    assert "secret" not in str(error)
    info = error_details_pb2.ErrorInfo()
    assert status_of(error).details[0].Unpack(info)
    assert info.metadata["request_id"] == dict(error.trailing_metadata() or ())["x-request-id"]


async def test_a_method_that_is_not_built_is_unimplemented_by_name(server: Running) -> None:
    error = await failure(server, b"missing")
    assert (error.code(), error.details()) == (
        grpc.StatusCode.UNIMPLEMENTED,
        "Unary is not offered by this version",
    )


async def test_an_unknown_method_is_unimplemented(server: Running) -> None:
    call: Any = server.channel.unary_unary(f"/{NAME}/Nothing")
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call(b"", timeout=10)
    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED


async def test_an_abort_of_the_servicer_passes_as_it_is(server: Running) -> None:
    error = await failure(server, b"abort")
    assert (error.code(), error.details()) == (grpc.StatusCode.DATA_LOSS, "by hand")


@pytest.mark.parametrize(("sent", "kept"), [("abc-1", True), ("x" * 500, False), ("with space", False)])
async def test_the_callers_request_id_is_echoed_where_it_is_sane(
    server: Running, sent: str, kept: bool
) -> None:
    call: Any = server.channel.unary_unary(f"/{NAME}/Unary")
    pending = call(b"", timeout=10, metadata=(("x-request-id", sent),))
    assert await pending == b"answer"
    echoed = dict(await pending.trailing_metadata())["x-request-id"]
    assert (echoed == sent) is kept
    assert echoed


async def test_a_stream_ends_with_the_error_after_what_it_sent(server: Running) -> None:
    call: Any = server.channel.unary_stream(f"/{NAME}/Stream")
    received = []
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        async for part in call(b"field", timeout=10):
            received.append(part)
    assert received == [b"first"]
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert [part async for part in call(b"", timeout=10)] == [b"first", b"second"]


async def test_client_streams_work_through_the_interceptor(server: Running) -> None:
    collect: Any = server.channel.stream_unary(f"/{NAME}/Collect")
    echo: Any = server.channel.stream_stream(f"/{NAME}/Echo")
    assert await collect(iter([b"a", b"b"]), timeout=10) == b"ab"
    assert [part async for part in echo(iter([b"a", b"b"]), timeout=10)] == [b"a", b"b"]


async def test_health_is_reported_for_the_server_and_each_service(server: Running) -> None:
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

        await asyncio.wait_for(until(health_pb2.HealthCheckResponse.NOT_SERVING), 10)
        down = False
        await asyncio.wait_for(until(health_pb2.HealthCheckResponse.SERVING), 10)
        down = True
        await asyncio.wait_for(until(health_pb2.HealthCheckResponse.NOT_SERVING), 10)


async def test_draining_says_not_serving_and_finishes_the_calls_under_way() -> None:
    async with running(SampleSettings(drain_seconds=0.5)) as server:
        slow = asyncio.create_task(server.call(b"slow"))
        await server.call(b"")
        server.stopping.set()
        while await server.health() == health_pb2.HealthCheckResponse.SERVING:
            await asyncio.sleep(0.01)
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
    holder, port = taken_port()
    holder.close()
    async with running(SampleSettings(metrics_port=port, drain_seconds=0)) as server:
        await failure(server, b"field")
        with urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as response:  # noqa: ASYNC210
            text = response.read().decode()
    wanted = (
        f'grpc_server_handled_total{{grpc_code="INVALID_ARGUMENT",grpc_method="Unary",grpc_service="{NAME}"}}'
    )
    assert wanted in text


@pytest.mark.parametrize(("request_", "violations"), [(b"many", 10_000), (b"wordy", 30)])
async def test_an_error_of_any_size_arrives(server: Running, request_: bytes, violations: int) -> None:
    error = await failure(server, request_)
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    status = status_of(error)
    info, request = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
    assert status.details[0].Unpack(info)
    assert status.details[1].Unpack(request)
    told = len(request.field_violations)
    assert request.field_violations[0].field == "a[0]"
    assert 0 < told < violations
    assert told + int(info.metadata["omitted_violations"]) == violations
    assert status.message == error.details()


@pytest.mark.parametrize("method", ["Read", "ReadAll"])
async def test_bytes_that_are_no_message_are_refused_in_words_of_ours(server: Running, method: str) -> None:
    kind: Any = server.channel.unary_unary if method == "Read" else server.channel.stream_unary
    broken = b"\x0a\x01\xff"  # field 1 of one byte that is no UTF-8
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await kind(f"/{NAME}/{method}")(broken if method == "Read" else iter([broken]), timeout=10)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    info = error_details_pb2.ErrorInfo()
    assert status_of(caught.value).details[0].Unpack(info)
    assert info.reason == "REQUEST_INVALID"
    assert f"no message of {method}" in (caught.value.details() or "")


async def test_headers_as_large_as_a_gateway_lets_through_are_taken(server: Running) -> None:
    assert await server.call(b"", metadata=(("cookie", "x" * 60_000),)) == b"answer"


async def test_health_outlives_a_defect_of_the_look_at_readiness(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.common.grpc_server.READINESS_SECONDS", 0.01)
    broken = True

    async def ready() -> None:
        if broken:
            raise RuntimeError("a defect")

    async with running(SampleSettings(drain_seconds=0), ready) as server:
        assert await server.health() == health_pb2.HealthCheckResponse.NOT_SERVING
        broken = False
        async with asyncio.timeout(10):
            while await server.health() != health_pb2.HealthCheckResponse.SERVING:
                await asyncio.sleep(0.01)
