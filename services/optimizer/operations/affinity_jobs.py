"""The jobs that keep users' merchants: a daily fit, and refreshes of the users of late."""

from collections.abc import Sequence
from typing import Literal, Protocol

from services.common.errors import FailedPreconditionError
from services.common.jobs import Every, Job, JobContext, NotYetError
from services.optimizer.operations.affinity import AffinityOperations


class AffinityWorker(Protocol):
    """What fits a model, or scores the users of late, and says in one line what it did."""

    async def run(self, work: Literal["fit", "refresh"]) -> str:
        """Do it; cancelling stops it and waits for its end."""
        ...


def build_affinity_jobs(
    affinity: AffinityOperations, worker: AffinityWorker, *, fit_seconds: float, refresh_seconds: float
) -> Sequence[Job]:
    """Return the jobs; both go on by what is kept in the database, and need no cursor."""

    async def fit(_context: JobContext) -> str:
        try:
            return await worker.run("fit")
        except FailedPreconditionError as error:
            if error.reason != "DATA_INSUFFICIENT":
                raise
            raise NotYetError(f"too little data yet: {error.message}") from error

    async def refresh(_context: JobContext) -> str:
        if not await affinity.is_anything_new():
            return "nothing came in"
        return await worker.run("refresh")

    return [
        Job(name="affinity_model", schedule=Every(seconds=fit_seconds), run=fit),
        Job(name="affinity", schedule=Every(seconds=refresh_seconds), run=refresh),
    ]
