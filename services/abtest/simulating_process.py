"""Simulates in a process of its own, so that the serving one keeps its latency.

The child ends when its standard input closes, so that it never outlives this process.
"""

import asyncio
import os
import sys
from dataclasses import dataclass
from pathlib import Path

from services.abtest.domain.simulation import SimulationDesign
from services.abtest.domain.simulation_summary import SimulationSummary
from services.abtest.simulating.codec import design_to_json, summary_from_json
from services.common.errors import DeadlineExceededError, InternalError

_ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, kw_only=True)
class SimulatingProcess:
    """How to simulate: for how long at most."""

    timeout_seconds: float

    async def run(self, design: SimulationDesign) -> SimulationSummary:
        """Return what simulated tests of a design show.

        Cancelling this kills the process and waits for its end.

        Raises:
            DeadlineExceededError: it took too long, and was killed.
            InternalError: it failed or was killed; its standard error (this process's) has the traceback.
        """
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "services.abtest.simulating",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            env=_environment(),
        )
        try:
            async with asyncio.timeout(self.timeout_seconds):
                output = await _ask(process, design)
                status = await process.wait()
        except TimeoutError as error:
            raise DeadlineExceededError(
                f"the simulation took longer than {self.timeout_seconds:g} seconds and was stopped; ask for "
                "fewer simulations, looks or planned looks",
                reason="SIMULATION_TOO_LARGE",
            ) from error
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        if status or not output:
            raise InternalError("the simulation broke off", reason="INTERNAL")
        return summary_from_json(output)


async def _ask(process: asyncio.subprocess.Process, design: SimulationDesign) -> bytes:
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(design_to_json(design) + b"\n")
    return await process.stdout.read()


def _environment() -> dict[str, str]:
    paths = [str(_ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {
        "OPENBLAS_NUM_THREADS": "1",  # nothing here gains from more
        **os.environ,
        "PYTHONPATH": os.pathsep.join(paths),
    }
