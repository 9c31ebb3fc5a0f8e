"""A service that starts child processes: gRPC must not touch them between fork and exec."""

import os
import subprocess
import sys

import pytest

SCRIPT = """
import importlib
import sys

importlib.import_module(sys.argv[1])  # imports as the service does, and serves nothing under this name

import asyncio
import grpc
import uvloop


async def echo(request, context):
    return request


async def main():
    server = grpc.aio.server()
    port = server.add_insecure_port("127.0.0.1:0")
    handlers = {"Echo": grpc.unary_unary_rpc_method_handler(echo)}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("a.B", handlers),))
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        call = channel.unary_unary("/a.B/Echo")

        async def load():
            while True:
                await call(b"x")

        busy = asyncio.create_task(load())
        for _ in range(20):
            child = await asyncio.create_subprocess_exec("true")
            assert await child.wait() == 0
        busy.cancel()
    await server.stop(None)


with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
    runner.run(main())
"""


@pytest.mark.parametrize("service", ["analytics", "abtest", "optimizer"])
def test_children_start_without_grpcs_fork_handlers(service: str) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "GRPC_ENABLE_FORK_SUPPORT"}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, f"services.{service}.__main__"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "fork" not in done.stderr
