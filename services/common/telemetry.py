"""Structured logs with the request's id in every line, and the Prometheus metrics of an RPC server."""

import logging
import sys
from contextvars import ContextVar
from typing import Literal, cast

import structlog
from prometheus_client import Counter, Gauge, Histogram
from structlog.typing import EventDict, FilteringBoundLogger, Processor, WrappedLogger

request_id: ContextVar[str] = ContextVar("request_id", default="")

RPC_STARTED = Counter("grpc_server_started_total", "RPCs that began.", ["grpc_service", "grpc_method"])
RPC_HANDLED = Counter(
    "grpc_server_handled_total",
    "RPCs that ended, by status.",
    ["grpc_service", "grpc_method", "grpc_code"],
)
RPC_SECONDS = Histogram(
    "grpc_server_handling_seconds",
    "Seconds from the start to the end of an RPC.",
    ["grpc_service", "grpc_method"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 120),
)
RPC_IN_FLIGHT = Gauge("grpc_server_in_flight", "RPCs under way.", ["grpc_service", "grpc_method"])


def _add_request_id(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    if value := request_id.get():
        event.setdefault("request_id", value)
    return event


def configure_logging(*, level: str, log_format: Literal["console", "json"], service: str) -> None:
    """Send structlog's and the standard library's lines to standard error in one format.

    Call once, at start-up. Every line has a UTC time, a level, the service and, within a request, its id.
    """

    def add_service(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        event.setdefault("service", service)
        return event

    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _add_request_id,
    ]
    renderers: list[Processor]
    if log_format == "json":
        shared.append(add_service)
        renderers = [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    else:
        plain = structlog.dev.plain_traceback  # a traceback with locals would put users' data into the logs
        renderers = [structlog.dev.ConsoleRenderer(colors=False, pad_event_to=0, exception_formatter=plain)]
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=shared,
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *renderers],
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(formatter)
    logging.basicConfig(level=level, handlers=[handler], force=True)
    for name in ("_cygrpc", "grpc", "asyncio"):  # they log every call at DEBUG
        logging.getLogger(name).setLevel(max(logging.INFO, logging.getLevelName(level)))
    # While the database is away its pool tells each attempt with a traceback; our errors tell it in a line.
    logging.getLogger("asyncpg.pool").setLevel(logging.ERROR)
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )


def get_logger(name: str) -> FilteringBoundLogger:
    """Return a structured logger; keyword arguments of its methods become fields of the line."""
    return cast("FilteringBoundLogger", structlog.stdlib.get_logger(name))
