"""A bare gRPC server in a process of its own: `/benchmark.Echo/<size>` answers with that many bytes.

It is what a read RPC is measured against: the same library and event loop, no interceptor, no message.
"""

import asyncio
import sys
from typing import Any, TypeAlias

import grpc
import uvloop

PREFIX = "/benchmark.Echo/"
Handler: TypeAlias = "grpc.RpcMethodHandler[bytes, bytes]"  # a string: it takes parameters in its stub only


class EchoHandler(grpc.GenericRpcHandler):
    """Answers `PREFIX` + size with so many bytes."""

    def __init__(self) -> None:
        self._handlers: dict[str, Handler] = {}

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Handler:
        """Return what answers a method."""
        method = str(handler_call_details.method)
        if method not in self._handlers:
            self._handlers[method] = _build_handler(int(method.removeprefix(PREFIX)))
        return self._handlers[method]


def _build_handler(size: int) -> Handler:
    answer = bytes(size)

    async def echo(_request: bytes, _context: Any) -> bytes:  # noqa: ANN401 (its type is gRPC's)
        return answer

    handler: Handler = grpc.unary_unary_rpc_method_handler(echo)
    return handler


async def serve(port: int) -> None:
    """Serve until the process is told to stop."""
    server = grpc.aio.server(
        options=[("grpc.so_reuseport", 0), ("grpc.max_receive_message_length", 16 << 20)]
    )
    server.add_generic_rpc_handlers((EchoHandler(),))
    server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    await server.wait_for_termination()


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve(int(sys.argv[1])))
