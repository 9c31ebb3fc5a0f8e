"""What the gateway says itself, in the one JSON shape of errors: `{code, message, details}`.

Native gRPC callers get a gRPC status from Envoy and no JSON: the mappers leave them alone.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

DOMAIN = "gateway"
OVERRIDE_REASON = "PATH_FIELD_IN_QUERY"
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


REPLIES = (
    Reply(status=400, code=3, reason="REQUEST_INVALID"),
    Reply(
        status=404, code=5, reason="PATH_UNKNOWN", message="no rpc has this path and method; see gen/openapi"
    ),
    Reply(
        status=405, code=12, reason="METHOD_NOT_ALLOWED", message="this path does not know this HTTP method"
    ),
    Reply(
        status=408,
        code=4,
        reason="REQUEST_TIMED_OUT",
        message="the request did not arrive whole in time",
    ),
    Reply(status=411, code=3, reason="REQUEST_INVALID"),
    Reply(
        status=413,
        code=8,
        reason="BODY_TOO_LARGE",
        message="the body is over the gateway's limit; send it in several requests",
    ),
    Reply(status=414, code=3, reason="REQUEST_INVALID", message="the path is too long"),
    Reply(status=415, code=3, reason="REQUEST_INVALID"),
    Reply(status=429, code=8, reason="TOO_MANY_REQUESTS", message="too many requests; try later"),
    Reply(status=431, code=3, reason="REQUEST_INVALID", message="the request's headers are too large"),
    Reply(
        status=500,
        code=13,
        reason="GATEWAY_FAILED",
        message="the gateway could not read the service's answer",
    ),
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


def local_reply_config() -> dict[str, Any]:
    """Return the connection manager's `local_reply_config`."""
    return {"mappers": list(_mappers())}


def _mappers() -> Iterator[dict[str, Any]]:
    for reply in REPLIES:
        yield {
            "filter": {"and_filter": {"filters": [_status_is(reply.status), _no_grpc_caller()]}},
            "body_format_override": {
                "json_format": {
                    "code": reply.code,
                    "message": reply.message,
                    "details": [{"@type": _ERROR_INFO, "reason": reply.reason, "domain": DOMAIN}],
                },
                "content_type": _JSON,
            },
        }


def _status_is(status: int) -> dict[str, Any]:
    value = {"default_value": status, "runtime_key": f"gateway.local_reply_{status}"}
    return {"status_code_filter": {"comparison": {"op": "EQ", "value": value}}}


def _no_grpc_caller() -> dict[str, Any]:
    """Match who did not speak gRPC when the request came in: the transcoder keeps their method in a header."""
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
