"""The jobs that keep cohorts, segments, and users by recency, frequency and money."""

from collections.abc import Sequence

from services.analytics.operations.cohorts import CohortOperations
from services.analytics.operations.rfm import RfmOperations
from services.analytics.operations.segments import SegmentOperations
from services.common.jobs import Every, Job, JobContext


def build_audience_jobs(
    *,
    cohorts: CohortOperations,
    rfm: RfmOperations,
    segments: SegmentOperations,
    audience_seconds: float,
    rfm_seconds: float,
) -> Sequence[Job]:
    """Return the jobs; the operations given here work on the jobs' own connections.

    All go on by what is kept in the database: they need no cursor, and save to extend their lease.
    """

    async def refresh_cohorts(context: JobContext) -> str:
        return str(await cohorts.refresh(lambda: context.save({})))

    async def refresh_rfm(context: JobContext) -> str:
        await cohorts.refresh(lambda: context.save({}))
        return f"{await rfm.refresh()} users"

    async def refresh_segments(context: JobContext) -> str:
        return f"{await segments.refresh(lambda: context.save({}))} campaigns"

    return [
        Job(name="cohorts", schedule=Every(seconds=audience_seconds), run=refresh_cohorts),
        Job(name="rfm", schedule=Every(seconds=rfm_seconds), run=refresh_rfm),
        Job(name="segments", schedule=Every(seconds=audience_seconds), run=refresh_segments),
    ]
