"""Runs the heavy part of a job in a process of its own, so that requests keep their latency.

The child (`job_child.py`) writes lines of JSON to its standard output, last either `{"summary"}` or
`{"refused": {code, reason, message, metadata}}`. It ends when its standard input closes, so that it never
outlives this process.
"""

import asyncio
import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from services.common.errors import DeadlineExceededError, DomainError, InternalError

_ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, kw_only=True)
class JobProcess:
    """What to run, over which database, for how long at most.

    `module` is run as `python -m`; `subject` is what it keeps, for messages; `reason` is of the error where
    it takes too long.
    """

    module: str
    database_url: str
    timeout_seconds: float
    subject: str
    reason: str

    async def run(self, *arguments: str) -> str:
        """Run it with command line arguments; return what was done, in one line.

        Cancelling this kills the process and waits for its end; what is kept stays whole.

        Raises:
            DomainError: what the work refused, in its own words.
            DeadlineExceededError: it took too long, and was killed.
            InternalError: it failed or was killed; its standard error (this process's) has the traceback.
        """
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            self.module,
            *arguments,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            env=self._environment(),
        )
        try:
            async with asyncio.timeout(self.timeout_seconds):
                return await self._follow(process)
        except TimeoutError as error:
            raise DeadlineExceededError(
                f"{self.subject} took longer than {self.timeout_seconds:g} seconds and were stopped",
                reason=self.reason,
            ) from error
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()

    def _environment(self) -> dict[str, str]:
        paths = [str(_ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
        return {
            "OPENBLAS_NUM_THREADS": "1",  # requests keep a core
            **os.environ,
            "PYTHONPATH": os.pathsep.join(paths),
            "OPTIMIZER_DATABASE_URL": self.database_url,
        }

    async def _follow(self, process: asyncio.subprocess.Process) -> str:
        assert process.stdout is not None
        last: dict[str, Any] = {}
        async for line in process.stdout:
            last = json.loads(line)
        status = await process.wait()
        if status == 0 and "summary" in last:
            return str(last["summary"])
        if "refused" in last:
            refused = last["refused"]
            kinds = {kind.code: kind for kind in DomainError.__subclasses__()}
            raise kinds.get(refused["code"], InternalError)(
                refused["message"], reason=refused["reason"], metadata=refused["metadata"]
            )
        raise InternalError(f"{self.subject} broke off; what was kept before stays", reason="INTERNAL")
