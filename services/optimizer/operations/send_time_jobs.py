"""The job that keeps users' send times."""

from typing import Protocol

from services.common.jobs import Every, Job, JobContext
from services.optimizer.operations.send_times import JOB_NAME, SendTimeOperations


class SendTimeWorker(Protocol):
    """What computes the send times that are due, and says in one line what it did."""

    async def run(self) -> str:
        """Do it; cancelling stops it and waits for its end."""
        ...


def build_send_time_job(send_times: SendTimeOperations, worker: SendTimeWorker, *, seconds: float) -> Job:
    """Return the job: it goes on by what is kept in the database, and needs no cursor."""

    async def refresh(_context: JobContext) -> str:
        if not await send_times.is_anything_due():
            return "nothing came in"
        return await worker.run()

    return Job(name=JOB_NAME, schedule=Every(seconds=seconds), run=refresh)
