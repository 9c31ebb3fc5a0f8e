"""One child process of a run: it cannot outlive the run, and its output is passed on line by line."""

import asyncio
import io
import os
import signal
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from deploy.local.console import Console
from deploy.local.paths import REPOSITORY
from deploy.local.postgres import launch_command

LAST_LINES = 20
_KILL_SECONDS = 30.0
_OUTPUT_SECONDS = 5.0
"""How long after the end of a process the end of its output is awaited."""
_CHUNK_BYTES = 65536
_LONGEST_LINE_BYTES = 65536


@dataclass(frozen=True, kw_only=True)
class Program:
    """What to run, and how to know that it serves.

    `command` is asked at every start. `is_ready` makes one attempt and returns whether the program serves.
    `drain` runs before the stop signal. `ports` are those it listens on itself, by their setting's name.
    `user` is its user id in a user namespace, None for no namespace. `show` makes a function that says what
    the console shows of a line (None: nothing); the file keeps the whole line.
    """

    name: str
    command: Callable[[], Sequence[str]]
    is_ready: Callable[[], Awaitable[bool]]
    environment: Mapping[str, str] | None = field(default=None, repr=False)
    ports: Mapping[str, int] = field(default_factory=dict)
    drain: Callable[[], Awaitable[None]] | None = None
    stop_signal: signal.Signals = signal.SIGTERM
    stop_seconds: float = 30.0
    user: int | None = None
    show: Callable[[], Callable[[str], str | None]] | None = None


class Child:
    """A running process in a group of its own."""

    def __init__(
        self,
        name: str,
        process: asyncio.subprocess.Process,
        output: io.FileIO,
        console: Console,
        *,
        show: Callable[[str], str | None] | None = None,
    ) -> None:
        self.name = name
        self.last_lines: deque[str] = deque(maxlen=LAST_LINES)
        self._process = process
        self._console = console
        self._show = show
        self._group_ended = False
        self._pump = asyncio.create_task(self._pass_on(output))

    @classmethod
    async def start(
        cls,
        name: str,
        command: Sequence[str],
        console: Console,
        *,
        environment: Mapping[str, str] | None = None,
        stop_signal: signal.Signals = signal.SIGTERM,
        user: int | None = None,
        show: Callable[[str], str | None] | None = None,
    ) -> "Child":
        """Start `command` in the repository's root, with `environment` instead of this process's own.

        `show` says what the console shows of a line (None: nothing); without it, all.
        """
        # A pipe of our own: asyncio's would put the end of the process off until all its children ended too.
        read_end, write_end = os.pipe()
        try:
            process = await asyncio.create_subprocess_exec(
                *launch_command(command, death_signal=stop_signal, user=user),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=write_end,
                stderr=write_end,
                cwd=REPOSITORY,
                env={**(os.environ if environment is None else environment), "PYTHONUNBUFFERED": "1"},
                start_new_session=True,  # Ctrl-C reaches only the run, which stops the others in order
            )
        except BaseException:
            os.close(read_end)
            raise
        finally:
            os.close(write_end)
        return cls(name, process, os.fdopen(read_end, "rb", buffering=0), console, show=show)

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    @property
    def status(self) -> int | None:
        """The exit status, negative for a signal; None while the process runs."""
        return self._process.returncode

    async def wait(self) -> int:
        """Return the exit status once the process has ended and its output is passed on."""
        status = await self._process.wait()
        self.kill()  # what it started and left behind
        self._group_ended = True  # the number of the group may now be given to another
        # A grandchild outside the group could hold the pipe open for ever.
        await asyncio.wait([self._pump], timeout=_OUTPUT_SECONDS)
        self._pump.cancel()
        await asyncio.gather(self._pump, return_exceptions=True)
        return status

    async def stop(self, number: signal.Signals, *, seconds: float) -> bool:
        """Send `number`, wait, and kill after `seconds`; return whether it ended by itself."""
        with suppress(ProcessLookupError):
            self._process.send_signal(number)
        try:
            await asyncio.wait_for(asyncio.shield(self._process.wait()), seconds)
            in_time = True
        except TimeoutError:
            self.kill()
            in_time = False
        await asyncio.wait_for(self.wait(), _KILL_SECONDS)
        return in_time

    def kill(self) -> None:
        """Kill the process and what it started at once."""
        if not self._group_ended:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)

    async def _pass_on(self, output: io.FileIO) -> None:
        """Pass lines on; a piece that ends with a carriage return is the state of a progress bar."""
        stream = asyncio.StreamReader()
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(stream), output
        )
        try:
            await self._pass_pieces_on(stream)
        finally:
            transport.close()

    async def _pass_pieces_on(self, stream: asyncio.StreamReader) -> None:
        rest = b""
        try:
            while chunk := await stream.read(_CHUNK_BYTES):
                pieces = (rest + chunk).splitlines(keepends=True)
                # The last piece may go on in the next chunk, also where it ends in the first half of \r\n.
                rest = b"" if pieces[-1].endswith(b"\n") else pieces.pop()
                for piece in pieces:
                    self._pass_piece_on(piece)
                if len(rest) > _LONGEST_LINE_BYTES:
                    self._pass_piece_on(rest)
                    rest = b""
        finally:  # also where nobody waits for the end of the output any more
            if rest:
                self._pass_piece_on(rest)

    def _pass_piece_on(self, piece: bytes) -> None:
        text = piece.decode("utf-8", errors="replace").rstrip("\r\n")
        if piece.endswith(b"\r"):
            if text:
                self._console.progress(self.name, text)
        elif text.strip():
            self.last_lines.append(text)
            shown = text if self._show is None else self._show(text)
            if shown is None:
                self._console.keep(self.name, text)
            else:
                self._console.line(self.name, shown, kept=text)


def describe_status(status: int) -> str:
    """Return an exit status in words: `status 1`, `signal SIGKILL`."""
    if status >= 0:
        return f"status {status}"
    try:
        return f"signal {signal.Signals(-status).name}"
    except ValueError:
        return f"signal {-status}"
