"""The one interceptor of every server: request id, log line, metrics, and where every error is met."""

import asyncio
import inspect
import logging
import re
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from random import getrandbits
from typing import Any, NoReturn, TypeAlias, cast

import grpc
from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2, status_pb2

from services.common.answers import Answers
from services.common.errors import (
    DomainError,
    InternalError,
    InvalidArgumentError,
    UnimplementedError,
)
from services.common.telemetry import (
    RPC_HANDLED,
    RPC_IN_FLIGHT,
    RPC_SECONDS,
    RPC_STARTED,
    get_logger,
    request_id,
)

# Strings, because these classes take parameters in their stubs only.
Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"
Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"

REQUEST_ID_KEY = "x-request-id"
_REQUEST_ID = re.compile(r"^[\x21-\x7e]{1,128}$")
_STATUS_DETAILS_KEY = "grpc-status-details-bin"
_QUIET_SERVICES = frozenset({"grpc.health.v1.Health"})
_MESSAGE_BUDGET = 1024
_DETAILS_BUDGET = 2048
"""What of an error is sent, in bytes: clients take 8 KiB of trailers, base64 and percent signs included."""
_log = get_logger("rpc")
_rpc_logger = logging.getLogger("rpc")


def to_status(error: DomainError, domain: str) -> status_pb2.Status:
    """Return the `google.rpc.Status` of `error`; `domain` is the service that speaks (ErrorInfo.domain).

    An error is as large as trailers may be: a long message is cut, and of many violations the first ones are
    told, with the number of the others as `omitted_violations` in the metadata.
    """
    request, told, left = error_details_pb2.BadRequest(), 0, _DETAILS_BUDGET
    for violation in error.violations:
        field_violation = error_details_pb2.BadRequest.FieldViolation(
            field=_shortened(violation.field),
            description=_shortened(violation.description),
            reason=violation.reason or error.reason,
        )
        left -= field_violation.ByteSize()
        if left < 0 and told:
            break
        request.field_violations.append(field_violation)
        told += 1
    metadata = {key: _shortened(value) for key, value in error.metadata.items()}
    if told < len(error.violations):
        metadata["omitted_violations"] = str(len(error.violations) - told)
    status = status_pb2.Status(code=grpc.StatusCode[error.code].value[0], message=_shortened(error.message))
    status.details.add().Pack(
        error_details_pb2.ErrorInfo(reason=error.reason, domain=domain, metadata=metadata)
    )
    if told:
        status.details.add().Pack(request)
    return status


def _shortened(text: str) -> str:
    """Return `text`, cut where its percent-encoded form would be too long for a trailer."""
    left = _MESSAGE_BUDGET
    for position, character in enumerate(text):
        left -= 1 if character.isascii() and character.isprintable() else 3 * len(character.encode())
        if left < 0:
            return text[:position] + "\u2026"
    return text


class InterceptedServer:
    """Stands for a server where servicers are added: wraps every handler, once, and adds it.

    `grpc.aio.ServerInterceptor` is asked for the handler in every call, which takes a tenth of a small call's
    time; what wraps is the same here.

    Args:
        server: what serves.
        domain: the name in ErrorInfo.domain, the server's main proto service.
        answers: who keeps the answers of a method, by the method's path; unary methods only.
    """

    def __init__(
        self, server: grpc.aio.Server, domain: str, answers: Mapping[str, Answers] | None = None
    ) -> None:
        self._server = server
        self._domain = domain
        self._answers = answers or {}

    def add_generic_rpc_handlers(self, handlers: Sequence[grpc.GenericRpcHandler]) -> None:
        """Pass over what generated code adds as well: the same handlers come by name."""

    def add_registered_method_handlers(self, service: str, handlers: "Mapping[str, Handler]") -> None:
        """Add the methods of a proto service, by name, wrapped."""
        wrapped = {
            name: _wrap(handler, _Call(service, name, self._domain, self._answers.get(f"/{service}/{name}")))
            for name, handler in handlers.items()
        }
        self._server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, wrapped),))


class _Call:
    """What all calls of one method share: names, metrics, and who keeps its answers, if anybody does."""

    def __init__(self, service: str, method: str, domain: str, answers: Answers | None) -> None:
        self.path = f"/{service}/{method}"
        self.answers = answers
        self.service = service
        self.method = method
        self._domain = domain
        self.is_told = self.service not in _QUIET_SERVICES
        self.started = RPC_STARTED.labels(self.service, self.method)
        self.seconds = RPC_SECONDS.labels(self.service, self.method)
        self.in_flight = RPC_IN_FLIGHT.labels(self.service, self.method)
        self.handled = {
            code.value[0]: RPC_HANDLED.labels(self.service, self.method, code.name)
            for code in grpc.StatusCode
        }

    def observe(self, context: Context) -> "_Observed":
        """Count, time and log the call in the block."""
        return _Observed(self, context)

    async def fail(self, error: Exception, context: Context) -> NoReturn:
        """End the call with the status of `error`; only a `DomainError` is told to the client."""
        if isinstance(error, grpc.aio.AbortError):
            raise error
        met = error
        if isinstance(error, NotImplementedError):
            error = UnimplementedError(
                f"{self.method} is not offered by this version", reason="METHOD_NOT_OFFERED"
            )
        if not isinstance(error, DomainError):
            _log.error("defect", method=self.method, exc_info=error)
            error = InternalError(
                "an internal error; the operator finds it by the request id",
                reason="INTERNAL",
                metadata={"request_id": request_id.get()},
            )
        else:
            told = _shortened(error.message)
            _log.info("refused", method=self.method, code=error.code, reason=error.reason, error=told)
        status = to_status(error, self._domain)
        _forget_frames(met)
        await context.abort(
            grpc.StatusCode[error.code],
            status.message,
            trailing_metadata=(
                (REQUEST_ID_KEY, request_id.get()),
                (_STATUS_DETAILS_KEY, status.SerializeToString()),
            ),
        )


class _Observed:
    """One call, from its begin to its end."""

    __slots__ = ("_begun", "_call", "_context")

    def __init__(self, call: _Call, context: Context) -> None:
        self._call = call
        self._context = context

    def __enter__(self) -> None:
        identity = _request_id_of(self._context)
        request_id.set(identity)
        self._context.set_trailing_metadata(((REQUEST_ID_KEY, identity),))
        self._call.started.inc()
        self._call.in_flight.inc()
        self._begun = time.perf_counter()

    def __exit__(self, kind: type[BaseException] | None, _error: object, _traceback: object) -> None:
        seconds = time.perf_counter() - self._begun
        call = self._call
        call.in_flight.dec()
        call.seconds.observe(seconds)
        is_cancelled = kind is not None and issubclass(kind, asyncio.CancelledError)
        code = grpc.StatusCode.CANCELLED.value[0] if is_cancelled else _code_of(self._context)
        call.handled[code].inc()
        if call.is_told and _rpc_logger.isEnabledFor(logging.DEBUG):
            _log.debug("call", method=call.method, code=code, milliseconds=round(seconds * 1000, 2))


def _forget_frames(error: BaseException | None) -> None:
    """Forget where an error and those behind it were raised, once that is logged.

    gRPC keeps what ended a call for as long as it keeps the call, now and then long after its end; the frames
    would keep all that the call had read and made.
    """
    while error is not None:
        error.__traceback__ = None
        error = error.__cause__ or error.__context__


def _request_id_of(context: Context) -> str:
    for key, value in context.invocation_metadata() or ():
        if key == REQUEST_ID_KEY and isinstance(value, str) and _REQUEST_ID.match(value):
            return value
    return f"{getrandbits(128):032x}"


def _code_of(context: Context) -> int:
    code = context.code()
    if isinstance(code, grpc.StatusCode):
        return int(code.value[0])
    return int(code or 0)


def _reader(handler: Handler, call: _Call) -> Callable[[Any], Any]:
    """Return what makes a message of a request's bytes, or a stream of messages of a stream of bytes.

    gRPC itself would tell the caller of a failure in words of ours: the exception's class and text.
    """
    deserialize: Any = handler.request_deserializer or (lambda message: message)

    def read(message: bytes) -> Any:  # noqa: ANN401 (gRPC's handlers are untyped)
        try:
            return deserialize(message)
        except DecodeError as error:
            raise InvalidArgumentError(
                f"the request is no message of {call.method}: broken bytes, or text that is not UTF-8",
                reason="REQUEST_INVALID",
            ) from error

    async def read_all(messages: AsyncIterator[bytes]) -> AsyncIterator[Any]:
        async for message in messages:
            yield read(message)

    return read_all if handler.request_streaming else read


def _wrap(handler: Handler, call: _Call) -> Handler:
    behaviour: Any
    read = _reader(handler, call)
    if call.answers is not None:
        return _wrap_kept(handler, call, call.answers)
    if not handler.response_streaming:
        behaviour = handler.stream_unary if handler.request_streaming else handler.unary_unary

        async def unary(request: Any, context: Context) -> Any:  # noqa: ANN401 (gRPC's handlers are untyped)
            with call.observe(context):
                try:
                    return await behaviour(read(request), context)
                except Exception as error:  # noqa: BLE001 (the one place that meets every error)
                    del request  # see _forget_frames: this one is not forgotten
                    return await call.fail(error, context)

        make: Any = (
            grpc.stream_unary_rpc_method_handler
            if handler.request_streaming
            else grpc.unary_unary_rpc_method_handler
        )
        return cast("Handler", make(unary, None, handler.response_serializer))

    behaviour = handler.stream_stream if handler.request_streaming else handler.unary_stream
    if not inspect.isasyncgenfunction(behaviour):  # health's Watch writes by itself
        return handler

    async def stream(request: Any, context: Context) -> AsyncIterator[Any]:  # noqa: ANN401
        with call.observe(context):
            try:
                async for response in behaviour(read(request), context):
                    yield response
            except Exception as error:  # noqa: BLE001 (the one place that meets every error)
                del request
                await call.fail(error, context)

    make_stream: Any = (
        grpc.stream_stream_rpc_method_handler
        if handler.request_streaming
        else grpc.unary_stream_rpc_method_handler
    )
    return cast("Handler", make_stream(stream, None, handler.response_serializer))


def _wrap_kept(handler: Handler, call: _Call, answers: Answers) -> Handler:
    read = _reader(handler, call)
    behaviour: Any = handler.unary_unary
    serialize: Any = handler.response_serializer

    async def unary(request: bytes, context: Context) -> bytes:
        async def make() -> bytes:
            return bytes(serialize(await behaviour(read(request), context)))

        with call.observe(context):
            try:
                return await answers.get((call.path, request), make)
            except Exception as error:  # noqa: BLE001 (the one place that meets every error)
                del request  # as in `_wrap`; of `make` as well
                await call.fail(error, context)

    return grpc.unary_unary_rpc_method_handler(unary)
