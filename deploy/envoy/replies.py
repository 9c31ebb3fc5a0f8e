"""What the gateway says itself, in the one JSON shape of errors: `{code, message, details}`.

Native gRPC callers get a gRPC status from Envoy and no JSON: the mappers leave them alone.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

DOMAIN = "gateway"
MAXIMUM_BODY_BYTES = 16 * 1024 * 1024
"""Largest REST body, and largest answer to one: the services' own limit on a gRPC message."""

_JSON = "application/json"
_GRPC = "application/grpc"
_OWN_TEXT = "%LOCAL_REPLY_BODY%"
_ERROR_INFO = "type.googleapis.com/google.rpc.ErrorInfo"


@dataclass(frozen=True, kw_only=True)
class Reply:
    """One kind of local reply: HTTP status, canonical code number, reason, and the message."""

    status: int
    code: int
    reason: str
    message: str = _OWN_TEXT
    path: str = ""
    """Regular expression of the paths that it is for; empty for all."""


REPLIES = (
    Reply(  # Envoy has no words of its own for these
        status=400,
        code=3,
        reason="REQUEST_INVALID",
        message="the path may not hold an encoded NUL or a fragment",
        path=".*(%00|#).*",
    ),
    Reply(status=400, code=3, reason="REQUEST_INVALID"),
    Reply(status=404, code=5, reason="PATH_UNKNOWN", message="no rpc has this path and method"),
    Reply(status=408, code=4, reason="REQUEST_TIMED_OUT", message="the request did not arrive whole in time"),
    Reply(
        status=413,
        code=8,
        reason="BODY_TOO_LARGE",
        message=f"the body is over {MAXIMUM_BODY_BYTES} bytes; send it in several requests",
    ),
    Reply(status=431, code=3, reason="REQUEST_INVALID", message="the path or the headers are too long"),
    Reply(
        status=502,
        code=14,
        reason="SERVICE_UNAVAILABLE",
        message="the service behind this path broke off; try again",
    ),
    Reply(
        status=503,
        code=14,
        reason="SERVICE_UNAVAILABLE",
        message="the service behind this path does not answer; try again",
    ),
    Reply(
        status=504,
        code=4,
        reason="SERVICE_TIMED_OUT",
        message="the service behind this path took too long",
    ),
)
ANY_OTHER = Reply(status=400, code=2, reason="GATEWAY_FAILED")
"""What is left of the statuses from 400 up."""


def local_reply_config() -> dict[str, Any]:
    """Return the connection manager's `local_reply_config`."""
    return {"mappers": list(_mappers())}


def _mappers() -> Iterator[dict[str, Any]]:
    for reply in REPLIES:
        yield _mapper(reply, "EQ")
    yield _mapper(ANY_OTHER, "GE")


def _mapper(reply: Reply, operator: str) -> dict[str, Any]:
    info = {"@type": _ERROR_INFO, "reason": reply.reason, "domain": DOMAIN, "metadata": {}}
    filters = [_status_is(operator, reply.status), _no_grpc_caller()]
    if reply.path:
        filters.append(_path_matches(reply.path))
    return {
        "filter": {"and_filter": {"filters": filters}},
        "body_format_override": {
            "json_format": {"code": reply.code, "message": reply.message, "details": [info]},
            "content_type": _JSON,
        },
    }


def _status_is(operator: str, status: int) -> dict[str, Any]:
    value = {"default_value": status, "runtime_key": f"gateway.local_reply_{operator.lower()}_{status}"}
    return {"status_code_filter": {"comparison": {"op": operator, "value": value}}}


def _path_matches(regex: str) -> dict[str, Any]:
    return {"header_filter": {"header": {"name": ":path", "string_match": {"safe_regex": {"regex": regex}}}}}


def _no_grpc_caller() -> dict[str, Any]:
    """Match who came without gRPC: the transcoder, which makes gRPC of it, keeps the method in a header."""
    transcoded = {"header_filter": {"header": {"name": "x-envoy-original-method", "present_match": True}}}
    plain = {
        "header_filter": {
            "header": {
                "name": "content-type",
                "string_match": {"prefix": _GRPC},
                "invert_match": True,
                "treat_missing_header_as_empty": True,
            }
        }
    }
    return {"or_filter": {"filters": [transcoded, plain]}}
