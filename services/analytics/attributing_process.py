"""Starts a run of attribution in a process of its own, so that no call waits for its arithmetic.

The child ends when its standard input closes, so that it never outlives this process.
"""

import asyncio
import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from services.common.errors import DomainError, InternalError

_ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, kw_only=True)
class AttributingProcess:
    """How to start a run: over which database, in which reporting zone and window."""

    database_url: str
    reporting_time_zone: str
    lookback_days: int

    async def run(self) -> str:
        """Count what changed since the last run; return what was done, in one line.

        Cancelling this kills the process and waits for its end.

        Raises:
            DomainError: what the run refused, in its own words.
            InternalError: it failed or was killed; its standard error (this process's) has the traceback.
        """
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "services.analytics.attributing",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            env=self._environment(),
        )
        try:
            assert process.stdout is not None
            output = await process.stdout.read()
            return _judge(await process.wait(), output)
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()

    def _environment(self) -> dict[str, str]:
        paths = [str(_ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
        return {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(paths),
            "ANALYTICS_DATABASE_URL": self.database_url,
            "REPORTING_TIME_ZONE": self.reporting_time_zone,
            "ANALYTICS_ATTRIBUTION_LOOKBACK_DAYS": str(self.lookback_days),
        }


def _judge(status: int, output: bytes) -> str:
    """Return the summary that a run gave, or raise what it ended with."""
    lines = output.splitlines()
    last: dict[str, Any] = json.loads(lines[-1]) if lines else {}
    if status == 0 and "summary" in last:
        return str(last["summary"])
    if "refused" in last:
        refused = last["refused"]
        kinds = {kind.code: kind for kind in DomainError.__subclasses__()}
        raise kinds.get(refused["code"], InternalError)(refused["message"], reason=refused["reason"])
    raise InternalError(
        "the run of attribution broke off; the months that it finished stay", reason="INTERNAL"
    )
