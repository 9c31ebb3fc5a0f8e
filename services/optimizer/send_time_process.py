"""Keeps users' send times in a process of its own."""

from dataclasses import dataclass

from services.common.child_process import ChildProcess
from services.optimizer.domain.send_time.send_time import QuietHours


@dataclass(frozen=True, kw_only=True)
class SendTimeProcess:
    """How to keep send times: over which database, for how long at most, and what the operations are told."""

    database_url: str
    timeout_seconds: float
    quiet: QuietHours
    profile_hours: float

    async def run(self) -> str:
        """Compute the send times that are due; return what was done, in one line.

        Cancelling and errors are as `ChildProcess.run`'s.
        """
        process = ChildProcess(
            module="services.optimizer.send_timing",
            subject="users' send times",
            what_stays="what was kept before stays",
            environment={"OPTIMIZER_DATABASE_URL": self.database_url},
            timeout_seconds=self.timeout_seconds,
            timeout_reason="PEER_DEADLINE_EXCEEDED",
        )
        done = await process.run(
            f"--quiet-start-hour={self.quiet.start}",
            f"--quiet-end-hour={self.quiet.end}",
            f"--profile-hours={self.profile_hours}",
        )
        return str(done)
