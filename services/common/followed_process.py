"""A process whose output and end are followed, whoever else still holds its pipes.

It leads a session of its own, so that what it started itself ends with it: asyncio's `Process.wait` would
wait for the last holder of its output.
"""

import asyncio
import os
import signal
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Final, Self, cast

DRAIN_SECONDS: Final = 5.0
"""How long after its end output is awaited from descendants that left its session."""
_STDIN, _STDOUT = 0, 1


class FollowedProcess(asyncio.SubprocessProtocol):
    """A process that was started; `output` ends with what it writes, or soon after it ends.

    Its standard error is this process's.
    """

    def __init__(self, limit: int) -> None:
        self.output = asyncio.StreamReader(limit=limit)
        self._exited = asyncio.Event()
        self._transport: asyncio.SubprocessTransport
        self._draining: asyncio.TimerHandle | None = None

    @classmethod
    async def start(cls, command: Sequence[str], *, environment: Mapping[str, str], limit: int) -> Self:
        """Start a command; a line of its output may have `limit` bytes.

        Raises:
            OSError: it cannot be started.
        """
        _, process = await asyncio.get_running_loop().subprocess_exec(
            lambda: cls(limit), *command, stderr=None, env=environment, start_new_session=True
        )
        return process

    def tell(self, data: bytes) -> None:
        """Write to its standard input, without waiting until it reads."""
        cast(asyncio.WriteTransport, self._transport.get_pipe_transport(_STDIN)).write(data)

    async def wait(self) -> int:
        """Wait until it has ended; return its status, negative for a signal."""
        await self._exited.wait()
        status = self._transport.get_returncode()
        assert status is not None
        return status

    async def end(self) -> None:
        """Kill it with all it has started, unless it has ended, and let go of its pipes."""
        if not self._exited.is_set():
            self._kill_session()
            await self._exited.wait()
        if self._draining is not None:
            self._draining.cancel()
        self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """It was started: reading pauses while `output` holds too much."""
        self._transport = cast(asyncio.SubprocessTransport, transport)
        output = self._transport.get_pipe_transport(_STDOUT)
        assert output is not None
        self.output.set_transport(output)

    def pipe_data_received(self, fd: int, data: bytes) -> None:  # noqa: ARG002 (only one pipe is read)
        """It said something."""
        self.output.feed_data(data)

    def pipe_connection_lost(self, fd: int, exc: Exception | None) -> None:  # noqa: ARG002 (no one can mend it)
        """Nobody can say anything any more, or nobody reads what it is told."""
        if fd == _STDOUT:
            self.output.feed_eof()

    def process_exited(self) -> None:
        """It has ended: so does what it started, and with that its output."""
        self._kill_session()
        self._exited.set()
        output = self._transport.get_pipe_transport(_STDOUT)
        assert output is not None
        self._draining = asyncio.get_running_loop().call_later(DRAIN_SECONDS, output.close)

    def _kill_session(self) -> None:
        with suppress(ProcessLookupError, PermissionError):  # nobody is left in it
            os.killpg(self._transport.get_pid(), signal.SIGKILL)
