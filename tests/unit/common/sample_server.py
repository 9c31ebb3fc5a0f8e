"""The server every service runs, with a real channel: a generic handler stands for a servicer."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc
import pytest
from google.rpc.error_details_pb2 import ErrorInfo
from grpc_health.v1 import health_pb2, health_pb2_grpc
from pydantic_settings import SettingsConfigDict

from services.common.errors import (
    ConstraintViolation,
    FieldViolation,
    invalid_field,
    invalid_fields,
)
from services.common.grpc_server import Service, serve
from services.common.interceptors import Context
from services.common.settings import ServiceSettings

NAME = "sample.v1.SampleService"
LIMIT_SECONDS = 120


class SampleSettings(ServiceSettings):
    model_config = SettingsConfigDict(env_prefix="SAMPLE_")


@dataclass
class Sample:
    """A servicer whose request says what should happen."""

    begun: asyncio.Event = field(default_factory=asyncio.Event)
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
                self.begun.set()
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
        return bytes(await call(request, timeout=LIMIT_SECONDS, metadata=metadata))

    async def health(self, service: str = "") -> int:
        stub: Any = health_pb2_grpc.HealthStub(self.channel)
        return int(
            (await stub.Check(health_pb2.HealthCheckRequest(service=service), timeout=LIMIT_SECONDS)).status
        )


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
            await asyncio.wait_for(task, LIMIT_SECONDS)


async def failure(server: Running, request: bytes) -> grpc.aio.AioRpcError:
    """Return how a call fails."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await server.call(request)
    return caught.value
