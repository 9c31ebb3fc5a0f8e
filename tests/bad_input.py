# ruff: noqa: ANN401 (values of any field of a message pass through here)
"""Bad input for any rpc, made from its descriptors, and what an answer to it may be."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
from google.protobuf import descriptor_pool, message_factory
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.internal import encoder
from google.protobuf.message import Message

from deploy.envoy.contract import Binding, load_rpcs
from gen.campaigns.analytics.v1 import (  # noqa: F401 (they fill the pool of descriptors)
    alert_service_pb2,
    analytics_service_pb2,
    catalog_service_pb2,
    export_service_pb2,
    operations_service_pb2,
)
from gen.campaigns.type.v1.error_reason_pb2 import ErrorReason
from tests.analytics_factories import Refusal, read_refusal

DESCRIPTORS = Path(__file__).resolve().parents[1] / "gen" / "descriptors" / "api.binpb"
PACKAGE = "campaigns.analytics.v1."
REASONS = {name.removeprefix("ERROR_REASON_") for name in ErrorReason.keys()}  # noqa: SIM118 (an enum)
CALLERS_FAULT = {
    "INVALID_ARGUMENT",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "FAILED_PRECONDITION",
    "OUT_OF_RANGE",
    "RESOURCE_EXHAUSTED",
}
INSIDE = re.compile(
    r"traceback|\.py\b|/services/|site-packages|asyncpg|postgres|psql|\bselect\b|\binsert\b|\bpg_|"
    r"_pkey|_fkey|_check\b|relation |syntax error|overflow|numpy|0x[0-9a-f]{6}|object has no|exception",
    re.IGNORECASE,
)
"""What no caller is told."""
LONGEST_MESSAGE = 2000
SECONDS = 300.0
"""No answer by then is a hang."""

TEXTS = (
    "",
    "\0",
    "a\0b",
    "nobody",
    " ",
    "x" * 129,
    "x" * 100_000,
    "'; --",
    "\u202e\U0001f3f4\uffff",
    "0001-01-01",
    "9999-12-31",
    "2026-02-30",
    "2026-3-1",
    "2026-03-01\n",
    "\u0662\u0660\u0662\u0666-\u0660\u0663-\u0660\u0661",
    "e30",
    "bnVsbA",
)
INTEGERS = (0, -1, 1, 100_000)
NUMBERS = (float("nan"), float("inf"), float("-inf"), 1e308, -1e308, -1.0, 0.0, 5e-324)
TIMES = (
    (0, 0),
    (2**63 - 1, 0),
    (-(2**63), 0),
    (-62_135_596_800, 0),
    (253_402_300_799, 999_999_999),
    (0, -1),
    (0, 2**31 - 1),
)


@dataclass(frozen=True, kw_only=True)
class Rpc:
    """One rpc; `name` is that of its service and its own."""

    name: str
    path: str
    request: Any
    answer: Any
    client_streams: bool
    server_streams: bool
    bindings: tuple[Binding, ...]


def list_rpcs(package: str = PACKAGE) -> list[Rpc]:
    """Return every rpc of every service of a package, as the committed descriptors have them."""
    pool = descriptor_pool.Default()
    found = []
    for rpc in load_rpcs(DESCRIPTORS):
        if rpc.service.startswith(package):
            method = pool.FindServiceByName(rpc.service).FindMethodByName(rpc.name)
            found.append(
                Rpc(
                    name=f"{rpc.service.removeprefix(package)}.{rpc.name}",
                    path=rpc.path,
                    request=message_factory.GetMessageClass(method.input_type),
                    answer=message_factory.GetMessageClass(method.output_type),
                    client_streams=rpc.client_streams,
                    server_streams=rpc.server_streams,
                    bindings=rpc.bindings,
                )
            )
    return found


def hostile_values(field: Any) -> Iterator[Any]:
    """Yield values that a caller may put into a field, right or wrong; of a message, none but times."""
    if field.message_type is not None and field.message_type.full_name == "google.protobuf.Timestamp":
        make = message_factory.GetMessageClass(field.message_type)
        yield from (make(seconds=seconds, nanos=nanos) for seconds, nanos in TIMES)
    elif field.enum_type is not None:
        yield from (-1, 999, 2**31 - 1, -(2**31))
    elif field.cpp_type == FieldDescriptor.CPPTYPE_STRING:
        yield from TEXTS
    elif field.cpp_type == FieldDescriptor.CPPTYPE_DOUBLE:
        yield from NUMBERS
    elif field.cpp_type == FieldDescriptor.CPPTYPE_INT32:
        yield from (*INTEGERS, 2**31 - 1, -(2**31))
    elif field.cpp_type == FieldDescriptor.CPPTYPE_INT64:
        yield from (*INTEGERS, 2**63 - 1, -(2**63))


def hostile_requests(fit: Message) -> Iterator[tuple[str, Message]]:
    """Yield the request with one field, however deep, made hostile, and which one and how."""
    for field, value in _hostile_fields(fit):
        yield f"{field} {str(value)[:40]!r}", _with(fit, field.split("."), value)


def _hostile_fields(message: Message, before: str = "") -> Iterator[tuple[str, Any]]:
    for field in message.DESCRIPTOR.fields:
        path = f"{before}{field.name}"
        values = list(hostile_values(field))
        yield from ((path, value) for value in values)
        if field.message_type is None or values:
            continue
        if field.is_repeated:
            entries = getattr(message, field.name)
            if entries:
                yield from _hostile_fields(entries[0], f"{path}.")
        elif field.containing_oneof is None or message.HasField(field.name):
            yield from _hostile_fields(getattr(message, field.name), f"{path}.")


def _with(fit: Message, path: list[str], value: Any) -> Message:
    """Return a copy of a request with a field set, in the first entry where that is of a list."""
    changed = type(fit)()
    changed.CopyFrom(fit)
    owner: Any = changed
    for name in path[:-1]:
        inner = getattr(owner, name)
        owner = inner[0] if owner.DESCRIPTOR.fields_by_name[name].is_repeated else inner
    field = owner.DESCRIPTOR.fields_by_name[path[-1]]
    if field.is_repeated:
        getattr(owner, field.name).append(value)
    elif field.message_type is not None:
        getattr(owner, field.name).CopyFrom(value)
    else:
        setattr(owner, field.name, value)
    return changed


def broken_bytes(request: Any) -> Iterator[tuple[str, bytes]]:
    """Yield bytes that are no message of this kind: broken as a whole, and text that is not UTF-8."""
    yield "a number without an end", b"\xff" * 20
    yield "a field that is cut off", _tag(1, 2) + b"\x64ab"
    yield "groups within groups", b"\x0b" * 20_000
    for names, prefix in _texts_of(request):
        yield f"{names} is not UTF-8", prefix(b"\xff\xfe\xfa")
        yield f"{names} is half of a pair", prefix(b"\xed\xa0\x80")


def _texts_of(descriptor: Any, before: str = "", depth: int = 0) -> Iterator[tuple[str, Any]]:
    for field in descriptor.fields:
        name = f"{before}{field.name}"
        if field.cpp_type == FieldDescriptor.CPPTYPE_STRING:
            yield name, lambda text, number=field.number: _block(number, text)
        elif field.message_type is not None and depth < 2:
            for inner, prefix in _texts_of(field.message_type, f"{name}.", depth + 1):
                yield (
                    inner,
                    lambda text, number=field.number, prefix=prefix: _block(number, prefix(text)),
                )


def _tag(number: int, wire_type: int) -> bytes:
    return encoder.TagBytes(number, wire_type)


def _block(number: int, content: bytes) -> bytes:
    assert len(content) < 128, "its length is one byte"
    return _tag(number, 2) + bytes([len(content)]) + content


def names_a_field(request: Message, path: str) -> bool:
    """Return whether a path leads to a field (or a oneof) of a request, or of the question within it."""
    if _leads(request.DESCRIPTOR, path):
        return True
    return any(
        field.message_type is not None and _leads(field.message_type, path)
        for oneof in request.DESCRIPTOR.oneofs
        for field in oneof.fields
    )


def _leads(descriptor: Any, path: str) -> bool:
    for part in path.split("."):
        name = re.sub(r"\[\d+\]$", "", part)
        if descriptor is None or name not in {*descriptor.fields_by_name, *descriptor.oneofs_by_name}:
            return False
        field = descriptor.fields_by_name.get(name)
        descriptor = field.message_type if field is not None else None
    return True


async def ask(channel: grpc.aio.Channel, rpc: Rpc, request: bytes) -> bytes:
    """Return the answer, the first one of a stream."""
    method: Any
    if rpc.client_streams:
        method = channel.stream_unary(rpc.path)
        answer: bytes = await method(iter([request]), timeout=SECONDS)
        return answer
    if not rpc.server_streams:
        method = channel.unary_unary(rpc.path)
        answer = await method(request, timeout=SECONDS)
        return answer  # noqa: RET504 (it is what the stubs leave untyped)
    method = channel.unary_stream(rpc.path)
    call = method(request, timeout=SECONDS)
    first = await call.read()
    call.cancel()
    return first if isinstance(first, bytes) else b""


async def refuse(channel: grpc.aio.Channel, rpc: Rpc, request: bytes) -> Refusal | None:
    """Return how a request is refused, None where it is answered; a refusal tells nothing of the inside."""
    try:
        await ask(channel, rpc, request)
    except grpc.aio.AioRpcError as error:
        refused = read_refusal(error)
        assert not INSIDE.search(refused.message), refused
        assert len(refused.message) <= LONGEST_MESSAGE, refused
        return refused
    return None


def judge(rpc: Rpc, refused: Refusal | None) -> str:
    """Return what is wrong with how any request whatever is refused; empty where nothing is."""
    if refused is None:
        return ""
    if (refused.code, refused.reason) == ("ABORTED", "STATE_CHANGED"):  # by what the caller expected
        return ""
    if refused.code not in CALLERS_FAULT or refused.reason not in REASONS or not refused.message:
        return f"is refused by {refused}"
    if refused.code != "INVALID_ARGUMENT" or refused.reason == "REQUEST_INVALID":
        return ""
    if not refused.fields:
        return f"is refused without a field: {refused}"
    strange = [field for field in refused.fields if not names_a_field(rpc.request(), field)]
    return f"is refused by what is no field: {refused}" if strange else ""
