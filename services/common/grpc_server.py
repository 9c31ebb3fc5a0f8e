"""A gRPC server as every service runs it: interceptor, health, reflection, metrics, signals, drain."""

import asyncio
import signal
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, cast

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection, reflection_pb2_grpc
from prometheus_client import start_http_server

from services.common.answers import Answers
from services.common.errors import DomainError, FailedPreconditionError, UnavailableError
from services.common.interceptors import InterceptedServer
from services.common.settings import ServiceSettings
from services.common.telemetry import get_logger

READINESS_SECONDS = 2.0
"""How often a serving process asks itself whether it still can."""
LONGEST_LOOK_SECONDS = 30.0
"""How long that may take before it cannot: whatever it waits for, requests wait for as well."""
_MAXIMUM_METADATA_BYTES = 128 * 1024
"""All that a gateway lets through (60 KiB by Envoy's default) and adds: a browser's cookies, a long path."""
_SERVING = health_pb2.HealthCheckResponse.ServingStatus.Value("SERVING")
_NOT_SERVING = health_pb2.HealthCheckResponse.ServingStatus.Value("NOT_SERVING")
_log = get_logger("server")
Ready = Callable[[], Awaitable[object]]


@dataclass(frozen=True, kw_only=True)
class Service:
    """One proto service of a server: its full name, what adds its servicer, and who keeps which answers."""

    name: str
    register: Callable[[grpc.aio.Server], None]
    answers: Mapping[str, Answers] = field(default_factory=dict)


def build_server(*, settings: ServiceSettings, services: Sequence[Service]) -> grpc.aio.Server:
    """Return a server of `services`, health and reflection not among them; not bound, not started."""
    answers = {
        f"/{service.name}/{method}": keeper
        for service in services
        for method, keeper in service.answers.items()
    }
    server = grpc.aio.server(
        options=[
            ("grpc.so_reuseport", 0),  # otherwise a second process shares a taken port without a word
            ("grpc.max_receive_message_length", settings.max_message_bytes),
            ("grpc.max_send_message_length", settings.max_message_bytes),
            ("grpc.max_metadata_size", _MAXIMUM_METADATA_BYTES),
            ("grpc.absolute_max_metadata_size", _MAXIMUM_METADATA_BYTES),
            ("grpc.keepalive_permit_without_calls", 1),
            ("grpc.http2.min_recv_ping_interval_without_data_ms", 20_000),
        ],
    )
    intercepted = _intercept(server, services, answers)
    for service in services:
        service.register(intercepted)
    return server


def _intercept(
    server: grpc.aio.Server, services: Sequence[Service], answers: Mapping[str, Answers] | None = None
) -> grpc.aio.Server:
    """Return what generated code takes for the server, and adds servicers to."""
    return cast("grpc.aio.Server", InterceptedServer(server, services[0].name, answers))


async def serve(
    *,
    settings: ServiceSettings,
    services: Sequence[Service],
    ready: Ready | None = None,
    stopping: asyncio.Event | None = None,
    on_started: Callable[[int], None] | None = None,
    on_drained: Callable[[], object] | None = None,
) -> None:
    """Serve until SIGTERM, SIGINT or `stopping`; then say NOT_SERVING, wait, finish calls under way, stop.

    Args:
        settings: where to listen, how long to drain.
        services: the proto services; the first one's name is the domain of errors.
        ready: raises a DomainError while the service cannot do its work; asked every two seconds, and its
            answer is the health of the server.
        stopping: set by the caller to stop, as a signal would.
        on_started: called with the bound port once the server serves.
        on_drained: called when balancers have had their time to move away; ends the calls that would not end
            by themselves.

    Raises:
        FailedPreconditionError: a port is taken; the message names the port and its setting.
    """
    stopping = stopping or asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    server = build_server(settings=settings, services=services)
    intercepted = _intercept(server, services)
    health_servicer = health.aio.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(health_servicer, intercepted)
    names = [service.name for service in services]
    told = [*names, health.SERVICE_NAME, reflection.SERVICE_NAME]
    add_reflection: Any = reflection_pb2_grpc.add_ServerReflectionServicer_to_server  # untyped
    add_reflection(reflection.aio.ReflectionServicer(told), intercepted)
    for name in ["", *names]:  # until the first look at readiness
        await health_servicer.set(name, _NOT_SERVING)
    port = _bind(server, settings)
    stop_metrics = _serve_metrics(settings)
    await server.start()
    look = _Look(ready)
    checking = asyncio.create_task(_keep_health(health_servicer, ["", *names], look))
    _log.info("serving", host=settings.host, port=port, services=names)
    if on_started is not None:
        on_started(port)
    try:
        await stopping.wait()
        _log.info("draining", seconds=settings.drain_seconds)
        checking.cancel()
        with suppress(asyncio.CancelledError):
            await checking
        await health_servicer.enter_graceful_shutdown()
        await asyncio.sleep(settings.drain_seconds)
    finally:
        checking.cancel()
        look.end()
        if on_drained is not None:
            on_drained()
        await server.stop(settings.grace_seconds)
        stop_metrics()
        _log.info("stopped")


async def _keep_health(servicer: health.aio.HealthServicer, names: Sequence[str], look: "_Look") -> None:
    """Set the health of `names` from what `look` says, for as long as the server serves."""
    known = None
    while True:
        try:
            await look.ready()
            status = _SERVING
        except DomainError as error:
            status = _NOT_SERVING
            if known != status:
                _log.warning("not ready", reason=error.reason, error=error.message)
        except Exception as error:  # noqa: BLE001 (a health that nobody keeps would stay as it is)
            status = _NOT_SERVING
            if known != status:
                _log.error("not ready, by a defect", exc_info=error)
        if status != known:
            for name in names:
                await servicer.set(name, status)
            if known is not None and status == _SERVING:
                _log.info("ready again")
            known = status
        await asyncio.sleep(READINESS_SECONDS)


class _Look:
    """One look at readiness at a time, however long it takes."""

    def __init__(self, ready: Ready | None) -> None:
        self._ready = ready
        self._under_way: asyncio.Future[object] | None = None

    async def ready(self) -> None:
        """Raise what the look does; UnavailableError while it takes too long, which is gone on with."""
        if self._ready is None:
            return
        under_way = self._under_way = self._under_way or asyncio.ensure_future(self._ready())
        await asyncio.wait({under_way}, timeout=LONGEST_LOOK_SECONDS)
        if not under_way.done():
            raise UnavailableError(
                f"whether it can serve is not known after {LONGEST_LOOK_SECONDS:g} seconds",
                reason="PEER_UNAVAILABLE",
            )
        self._under_way = None
        under_way.result()

    def end(self) -> None:
        """Give up the look that is under way."""
        if self._under_way is not None:
            self._under_way.cancel()


def _bind(server: grpc.aio.Server, settings: ServiceSettings) -> int:
    address = f"[{settings.host}]" if ":" in settings.host else settings.host
    try:
        port = server.add_insecure_port(f"{address}:{settings.port}")
    except RuntimeError:
        port = 0
    if port == 0:
        raise _taken(settings, "PORT", settings.port)
    return port


def _serve_metrics(settings: ServiceSettings) -> Callable[[], None]:
    if settings.metrics_port == 0:
        return lambda: None
    try:
        http, thread = start_http_server(settings.metrics_port, settings.host)
    except OSError as error:
        raise _taken(settings, "METRICS_PORT", settings.metrics_port) from error

    def stop() -> None:
        http.shutdown()
        http.server_close()
        thread.join()

    return stop


def _taken(settings: ServiceSettings, name: str, port: int) -> FailedPreconditionError:
    setting = f"{settings.model_config.get('env_prefix', '')}{name}".upper()
    return FailedPreconditionError(
        f"port {port} of {settings.host} cannot be bound (is it taken?); set {setting} to another one",
        reason="PORT_TAKEN",
        metadata={"port": str(port), "setting": setting},
    )
