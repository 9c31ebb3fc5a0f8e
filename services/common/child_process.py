"""Runs heavy work in a process of its own, so that requests keep their latency, and follows it.

The child (`child_work.py`) writes lines of JSON to its standard output: `{"stage", "fraction"}` while it
works, and last either `{"result"}` or `{"refused"}`, an error in parts. Its standard error is this process's.
It ends when its standard input closes, so that it never outlives this process; and what it starts itself ends
with it.
"""

import asyncio
import json
import os
import signal
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from services.common.child_work import FOLLOW_PARENT
from services.common.errors import (
    AbortedError,
    DeadlineExceededError,
    DomainError,
    InternalError,
    error_from_json,
)
from services.common.followed_process import FollowedProcess
from services.common.telemetry import get_logger

OnProgress = Callable[[str, float], None]
LONGEST_LINE_BYTES: Final = 16 * 2**20
"""A child that says more in one line is broken off."""
_SHOWN_BYTES: Final = 200
_ROOT = Path(__file__).resolve().parents[2]
_log = get_logger("child_process")


def ignore_progress(_stage: str, _fraction: float) -> None:
    """Nobody follows."""


@dataclass(frozen=True, kw_only=True)
class _Stage:
    stage: str
    fraction: float


@dataclass(frozen=True, kw_only=True)
class _Result:
    value: object


_Said = _Stage | _Result | DomainError


@dataclass(frozen=True, kw_only=True)
class ChildProcess:
    """What to run, for how long at most, and how to speak of its failures.

    Attributes:
        module: run as `python -m`.
        subject: what the messages are about, such as "the forecasts".
        what_stays: what a failure leaves, such as "the earlier ones stay"; ends its message.
        environment: settings over this process's own.
        timeout_seconds: after these it is killed; None waits as long as whoever runs it.
        timeout_reason: of the error where it took too long.
        remedy: what to do where it took too long; ends that message.
        killed_reason: of the AbortedError where somebody killed it; empty if that is a failure as any other.
    """

    module: str
    subject: str
    what_stays: str = ""
    environment: Mapping[str, str] = field(default_factory=dict)
    timeout_seconds: float | None = None
    timeout_reason: str = "PEER_DEADLINE_EXCEEDED"
    remedy: str = ""
    killed_reason: str = ""

    async def run(
        self, *arguments: str, told: bytes = b"", on_progress: OnProgress = ignore_progress
    ) -> object:
        """Run it with command line arguments, tell it a line, and return its result.

        Cancelling this kills the process, with all that it has started, and waits for its end.

        Raises:
            DomainError: what the work refused, in its own words.
            AbortedError: it was killed, where that has a reason.
            DeadlineExceededError: it took too long, and was killed.
            InternalError: it failed or made no sense; its standard error has the traceback.
            OSError: it cannot be started.
        """
        process = await FollowedProcess.start(
            [sys.executable, "-m", self.module, *arguments],
            environment=self._environment(),
            limit=LONGEST_LINE_BYTES,
        )
        try:
            async with asyncio.timeout(self.timeout_seconds):
                if told:
                    process.tell(told + b"\n")
                last = await self._follow(process, on_progress)
                return self._judge(await process.wait(), last)
        except TimeoutError as error:
            raise DeadlineExceededError(
                f"{self.subject} took longer than {self.timeout_seconds:g} seconds and had to be stopped"
                f"{_appended(self.remedy)}",
                reason=self.timeout_reason,
            ) from error
        finally:
            await process.end()

    def _environment(self) -> dict[str, str]:
        paths = [str(_ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
        return {
            "OPENBLAS_NUM_THREADS": "1",  # requests keep a core, and small fits are faster
            **os.environ,
            **self.environment,
            "PYTHONPATH": os.pathsep.join(paths),
            FOLLOW_PARENT: "1",
        }

    async def _follow(self, process: FollowedProcess, on_progress: OnProgress) -> _Said | None:
        """Pass on the stages that it says until its output ends; return what it said last."""
        last: _Said | None = None
        while line := await self._read_line(process.output):
            last = self._understand(line)
            if isinstance(last, _Stage):
                on_progress(last.stage, last.fraction)
        return last

    async def _read_line(self, output: asyncio.StreamReader) -> bytes:
        try:
            return await output.readline()
        except ValueError as error:  # over the limit
            _log.error("a child process said too much in one line", module=self.module)
            raise self._broken_off() from error

    def _understand(self, line: bytes) -> _Said:
        try:
            return _read(line)
        except (ValueError, RecursionError) as error:
            _log.error("a child process made no sense", module=self.module, said=line[:_SHOWN_BYTES])
            raise self._broken_off() from error

    def _judge(self, status: int, last: _Said | None) -> object:
        if isinstance(last, DomainError):
            raise last
        if status == 0 and isinstance(last, _Result):
            return last.value
        if status < 0 and self.killed_reason:
            raise AbortedError(
                f"{self.subject} was killed ({signal.Signals(-status).name}){_appended(self.what_stays)}",
                reason=self.killed_reason,
            )
        raise self._broken_off()

    def _broken_off(self) -> InternalError:
        return InternalError(f"{self.subject} broke off{_appended(self.what_stays)}", reason="INTERNAL")


def _read(line: bytes) -> _Said:
    match json.loads(line):
        case {"stage": str(stage), "fraction": int() | float() as fraction}:
            return _Stage(stage=stage, fraction=fraction)
        case {"result": value}:
            return _Result(value=value)
        case {"refused": dict(parts)}:
            return error_from_json(parts)
        case _:
            raise ValueError("neither a stage nor a result nor a refusal")


def _appended(clause: str) -> str:
    return f"; {clause}" if clause else ""
