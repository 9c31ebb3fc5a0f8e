"""One attempt each at finding out whether a process serves; none waits longer than a second or two."""

import asyncio
import http.client
from typing import Any

import asyncpg
import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from deploy.local.settings import HOST

_ATTEMPT_SECONDS = 2.0


async def postgres_connects(url: str) -> bool:
    """Return whether the server at `url` takes a connection now."""
    try:
        connection = await asyncpg.connect(url, timeout=_ATTEMPT_SECONDS)
    except (OSError, TimeoutError, asyncpg.PostgresError):
        return False
    await connection.close()
    return True


async def grpc_serves(port: int) -> bool:
    """Return whether the gRPC server on `port` says SERVING for itself as a whole."""
    async with grpc.aio.insecure_channel(
        f"{HOST}:{port}", options=[("grpc.enable_http_proxy", 0)]
    ) as channel:
        stub: Any = health_pb2_grpc.HealthStub(channel)
        try:
            answer = await stub.Check(health_pb2.HealthCheckRequest(), timeout=_ATTEMPT_SECONDS)
        except grpc.aio.AioRpcError:
            return False
    return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)


async def http_answers(port: int, path: str, *, method: str = "GET") -> bool:
    """Return whether `method` on `path` is answered with status 200."""
    return await asyncio.to_thread(_request, port, path, method) == http.client.OK


def _request(port: int, path: str, method: str) -> int | None:
    connection = http.client.HTTPConnection(HOST, port, timeout=_ATTEMPT_SECONDS)
    try:
        connection.request(method, path)
        return connection.getresponse().status
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()
