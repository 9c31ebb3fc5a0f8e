"""Runs the forecasts in a process of its own; the serving process never sees statsmodels.

The child writes lines of JSON to its standard output: `{"stage", "fraction"}` while it works, and last either
`{"summary"}` or `{"refused": {code, reason, message}}`. It ends when its standard input closes, so that it
never outlives this process.
"""

import asyncio
import json
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from services.common.errors import DeadlineExceededError, DomainError, InternalError

_ROOT = Path(__file__).resolve().parents[2]


def _ignore(_stage: str, _fraction: float) -> None:
    """Nobody follows."""


@dataclass(frozen=True, kw_only=True)
class ForecastingProcess:
    """How to make forecasts: over which database, in which zone, for how long at most."""

    database_url: str
    reporting_time_zone: str
    timeout_seconds: float
    on_progress: Callable[[str, float], None] = _ignore

    async def run(self) -> str:
        """Make all forecasts anew; return what was made, in one line.

        Cancelling this kills the process and waits for its end.

        Raises:
            DomainError: what the run refused, in its own words.
            DeadlineExceededError: it took too long, and was killed.
            InternalError: it failed or was killed; its standard error (this process's) has the traceback.
        """
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "services.analytics.forecasting",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            env=self._environment(),
        )
        try:
            async with asyncio.timeout(self.timeout_seconds):
                return await self._follow(process)
        except TimeoutError as error:
            raise DeadlineExceededError(
                f"the forecasts took longer than {self.timeout_seconds:g} seconds and were stopped",
                reason="FORECAST_NOT_MADE",
            ) from error
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()

    def _environment(self) -> dict[str, str]:
        paths = [str(_ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
        return {
            "OPENBLAS_NUM_THREADS": "1",  # threads of its own make small fits three times as long
            **os.environ,
            "PYTHONPATH": os.pathsep.join(paths),
            "ANALYTICS_DATABASE_URL": self.database_url,
            "REPORTING_TIME_ZONE": self.reporting_time_zone,
        }

    async def _follow(self, process: asyncio.subprocess.Process) -> str:
        assert process.stdout is not None
        last: dict[str, Any] = {}
        async for line in process.stdout:
            last = json.loads(line)
            if "stage" in last:
                self.on_progress(last["stage"], last["fraction"])
        status = await process.wait()
        if status == 0 and "summary" in last:
            return str(last["summary"])
        if "refused" in last:
            refused = last["refused"]
            kinds = {kind.code: kind for kind in DomainError.__subclasses__()}
            raise kinds.get(refused["code"], InternalError)(refused["message"], reason=refused["reason"])
        raise InternalError("the forecasts broke off; the earlier ones stay", reason="INTERNAL")
