"""Runs fits and refreshes of users' merchants in a process of its own; serving never sees scikit-learn."""

from dataclasses import dataclass
from typing import Literal

from services.common.child_process import ChildProcess

Work = Literal["fit", "refresh"]


@dataclass(frozen=True, kw_only=True)
class AffinityProcess:
    """How to keep users' merchants: over which database, for how long at most."""

    database_url: str
    timeout_seconds: float

    async def run(self, work: Work) -> str:
        """Fit a model and score everybody, or score the users of late; return what was done, in one line.

        Cancelling and errors are as `ChildProcess.run`'s.
        """
        process = ChildProcess(
            module="services.optimizer.affinity_training",
            subject="users' merchants",
            what_stays="what was kept before stays",
            environment={"OPTIMIZER_DATABASE_URL": self.database_url},
            timeout_seconds=self.timeout_seconds,
            timeout_reason="AFFINITY_NOT_FITTED",
        )
        return str(await process.run(work))
