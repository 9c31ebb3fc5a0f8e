"""Runs fits and refreshes of users' merchants in a process of its own; serving never sees scikit-learn."""

from dataclasses import dataclass
from typing import Literal

from services.optimizer.job_process import JobProcess

Work = Literal["fit", "refresh"]


@dataclass(frozen=True, kw_only=True)
class AffinityProcess:
    """How to keep users' merchants: over which database, for how long at most."""

    database_url: str
    timeout_seconds: float

    async def run(self, work: Work) -> str:
        """Fit a model and score everybody, or score the users of late; return what was done, in one line.

        Cancelling and errors are as `JobProcess.run`'s.
        """
        process = JobProcess(
            module="services.optimizer.affinity_training",
            database_url=self.database_url,
            timeout_seconds=self.timeout_seconds,
            subject="users' merchants",
            reason="AFFINITY_NOT_FITTED",
        )
        return await process.run(work)
