"""Channels to other servers, and what their errors mean to us."""

import grpc

from services.common.errors import (
    DeadlineExceededError,
    DomainError,
    FailedPreconditionError,
    InternalError,
    NotFoundError,
    ResourceExhaustedError,
    UnavailableError,
)


def open_channel(address: str, *, max_message_bytes: int = 16 * 1024 * 1024) -> grpc.aio.Channel:
    """Open a plaintext channel that reconnects by itself within about a second.

    Pass `timeout=` at every call: a channel has no deadline of its own.
    """
    return grpc.aio.insecure_channel(
        address,
        options=[
            ("grpc.max_send_message_length", max_message_bytes),
            ("grpc.max_receive_message_length", max_message_bytes),
            ("grpc.initial_reconnect_backoff_ms", 100),
            ("grpc.min_reconnect_backoff_ms", 100),
            ("grpc.max_reconnect_backoff_ms", 1000),
            ("grpc.keepalive_time_ms", 60_000),
        ],
    )


def translate_rpc_error(error: grpc.aio.AioRpcError, *, peer: str) -> DomainError:
    """Return the error of ours for a failed call to `peer` (a readable name, such as `model server`).

    What the peer says of a wrong request is a defect of ours, so its text is not passed on.
    """
    metadata = {"peer": peer}
    match error.code():
        case grpc.StatusCode.UNAVAILABLE:
            return UnavailableError(
                f"the {peer} does not answer; try again shortly", reason="PEER_UNAVAILABLE", metadata=metadata
            )
        case grpc.StatusCode.DEADLINE_EXCEEDED:
            return DeadlineExceededError(
                f"the {peer} did not answer in time", reason="PEER_DEADLINE_EXCEEDED", metadata=metadata
            )
        case grpc.StatusCode.NOT_FOUND:
            return NotFoundError(
                f"the {peer} does not have what was asked of it", reason="PEER_NOT_FOUND", metadata=metadata
            )
        case grpc.StatusCode.RESOURCE_EXHAUSTED:
            return ResourceExhaustedError(
                f"the {peer} is over its limits; try again later",
                reason="PEER_RESOURCE_EXHAUSTED",
                metadata=metadata,
            )
        case grpc.StatusCode.FAILED_PRECONDITION:
            return FailedPreconditionError(
                f"the {peer} is not in a state for this", reason="PEER_FAILED_PRECONDITION", metadata=metadata
            )
        case _:
            return InternalError(f"the {peer} failed", reason="PEER_FAILED", metadata=metadata)
