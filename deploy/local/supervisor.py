"""Starts programs stage by stage, keeps each one running, and stops them in reverse order."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from deploy.local.console import Console
from deploy.local.errors import RunError
from deploy.local.launch import NAMESPACE_FORBIDDEN_STATUS
from deploy.local.ports import listens, taken_port_error
from deploy.local.postgres import namespace_error
from deploy.local.process import Child, Program, describe_status

LONGEST_PAUSE_SECONDS = 30.0
STEADY_SECONDS = 60.0
_PROBE_SECONDS = 0.05
_PROGRESS_SECONDS = 5.0


@dataclass(kw_only=True)
class _Kept:
    """A program, its present child, and the task that restarts it."""

    program: Program
    child: Child
    keeper: asyncio.Task[None] | None = None


class Supervisor:
    """The running programs of one run.

    Args:
        console: shows and keeps what happens.
        start_seconds: longest a program may take to become ready.
        restart_seconds: wait before a first restart; it doubles with each failure in a row, up to 30 s.
        clock: seconds, for tests.
    """

    def __init__(
        self,
        console: Console,
        *,
        start_seconds: float,
        restart_seconds: float,
        clock: Callable[[], float] | None = None,
    ) -> None:
        self._console = console
        self._start_seconds = start_seconds
        self._restart_seconds = restart_seconds
        self._clock = clock or asyncio.get_running_loop().time
        self._stages: list[list[_Kept]] = []
        self._killed = False

    async def start(self, *programs: Program) -> None:
        """Start one stage: its programs at the same time; return when all are ready, and keep them so.

        Raises:
            RunError: one ended or did not become ready; carries its last lines.
        """
        stage: list[_Kept] = []
        self._stages.append(stage)
        for program in programs:
            child = await self._launch(program)
            stage.append(_Kept(program=program, child=child))
        waits = [asyncio.create_task(self._await_ready(kept)) for kept in stage]
        try:
            await asyncio.gather(*waits)
        finally:
            for wait in waits:
                wait.cancel()
        for kept in stage:
            kept.keeper = asyncio.create_task(self._keep_running(kept))

    async def stop(self) -> None:
        """Drain and stop everything in reverse order of its start."""
        keepers = [kept.keeper for stage in self._stages for kept in stage if kept.keeper]
        for keeper in keepers:
            keeper.cancel()
        await asyncio.gather(*keepers, return_exceptions=True)
        for stage in reversed(self._stages):
            await asyncio.gather(*(self._stop_one(kept) for kept in stage))
        self._stages.clear()

    def kill(self) -> None:
        """Kill everything at once, and restart nothing any more."""
        self._killed = True
        for stage in self._stages:
            for kept in stage:
                kept.child.kill()

    async def _launch(self, program: Program) -> Child:
        return await Child.start(
            program.name,
            program.command(),
            self._console,
            environment=program.environment,
            stop_signal=program.stop_signal,
            user=program.user,
            show=program.show and program.show(),
        )

    async def _await_ready(self, kept: _Kept) -> None:
        program, child = kept.program, kept.child
        started = said = self._clock()
        while not await program.is_ready():
            now = self._clock()
            if child.status is not None:
                await child.wait()
                raise _start_error(child, f"ended with {describe_status(child.status)} before it was ready")
            if now - started >= self._start_seconds:
                raise _start_error(child, f"was not ready within {self._start_seconds:.0f} s")
            if now - said >= _PROGRESS_SECONDS:
                said = now
                self._console.say(f"waiting for {program.name} ({now - started:.0f} s)")
            await asyncio.sleep(_PROBE_SECONDS)
        self._check_listeners(program, child)

    def _check_listeners(self, program: Program, child: Child) -> None:
        """Refuse an answer that came from a process this run did not start."""
        for setting, port in program.ports.items():
            if not listens(child.pid, port):
                raise taken_port_error(setting, port)

    async def _keep_running(self, kept: _Kept) -> None:
        failures = 0
        while True:
            up_since = self._clock()
            status = await kept.child.wait()
            if self._killed:
                return
            if self._clock() - up_since >= STEADY_SECONDS:
                failures = 0
            failures += 1
            pause = min(self._restart_seconds * 2 ** (failures - 1), LONGEST_PAUSE_SECONDS)
            again = f", failure {failures} in a row" if failures > 1 else ""
            self._console.say(
                f"{kept.program.name} died ({describe_status(status)}{again}); restart in {pause:.1f} s; "
                f"its lines are in {self._console.log_path(kept.program.name)}"
            )
            await asyncio.sleep(pause)
            if self._killed:
                return
            if await self._restart(kept):
                self._console.say(f"{kept.program.name} is ready again (process {kept.child.pid})")

    async def _restart(self, kept: _Kept) -> bool:
        try:
            kept.child = await self._launch(kept.program)
            await self._await_ready(kept)
        except RunError as error:
            if not self._killed:
                self._console.say(f"restart failed: {error}")
            kept.child.kill()
            return False
        return True

    async def _stop_one(self, kept: _Kept) -> None:
        program, child = kept.program, kept.child
        if child.status is not None:
            return
        if program.drain is not None:
            await program.drain()
        if await child.stop(program.stop_signal, seconds=program.stop_seconds):
            self._console.say(f"{program.name} stopped")
        else:
            self._console.say(f"{program.name} did not stop within {program.stop_seconds:.0f} s: killed")


def _start_error(child: Child, what: str) -> RunError:
    if child.status == NAMESPACE_FORBIDDEN_STATUS:
        return namespace_error()
    return RunError(f"{child.name} {what}; its last lines:", details=tuple(child.last_lines))
