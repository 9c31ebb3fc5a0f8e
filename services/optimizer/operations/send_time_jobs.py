"""The job that keeps users' send times."""

from services.common.jobs import Every, Job, JobContext
from services.optimizer.operations.send_times import JOB_NAME, SendTimeOperations


def build_send_time_job(send_times: SendTimeOperations, *, seconds: float) -> Job:
    """Return the job; the operations given here work on the jobs' own connections.

    It goes on by what is kept in the database: it needs no cursor, and saves to extend its lease.
    """

    async def refresh(context: JobContext) -> str:
        return await send_times.refresh(lambda: context.save({}))

    return Job(name=JOB_NAME, schedule=Every(seconds=seconds), run=refresh)
