"""What abtest does by itself: tests start and end on time, and bandits look at their weights."""

from collections.abc import Awaitable, Callable, Sequence

from services.abtest.domain.changes import ChangeNote
from services.abtest.operations.bandit import BanditOperations
from services.abtest.operations.lifecycle import BY_SCHEDULE, LifecycleOperations
from services.common.errors import DomainError, FailedPreconditionError
from services.common.jobs import Every, Job, JobContext
from services.common.telemetry import get_logger

EndTest = Callable[[str, ChangeNote], Awaitable[object]]
_log = get_logger("jobs")


def build_jobs(
    *,
    bandits: BanditOperations,
    bandit_seconds: float,
    lifecycle: LifecycleOperations,
    end_test: EndTest,
    schedule_seconds: float,
) -> Sequence[Job]:
    """Return every job of abtest; the same in all replicas.

    The operations given here work on the jobs' own connections. All go on by what is kept in the database:
    they need no cursor, and save to extend their lease.
    """

    async def refresh_bandits(context: JobContext) -> str:
        return await _refresh_bandits(bandits, lambda: context.save({}))

    async def keep_schedules(context: JobContext) -> str:
        return await _keep_schedules(lifecycle, end_test, lambda: context.save({}))

    return [
        Job(name="bandits", schedule=Every(seconds=bandit_seconds), run=refresh_bandits),
        Job(name="schedules", schedule=Every(seconds=schedule_seconds), run=keep_schedules),
    ]


async def _keep_schedules(
    lifecycle: LifecycleOperations, end_test: EndTest, keep: Callable[[], Awaitable[None]]
) -> str:
    """Start and end the tests whose time has come; one that cannot end does not keep the others from it.

    A test whose metrics cannot be compared ends without a result: no reason to wait longer for the others.
    """
    started, ended, without_result = await lifecycle.start_due(), 0, 0
    failure: DomainError | None = None
    for test_id in await lifecycle.list_due_ends():
        await keep()
        try:
            await end_test(test_id, BY_SCHEDULE)
            ended += 1
        except FailedPreconditionError:
            without_result += 1
        except DomainError as error:
            _log.warning("a test was not ended", test_id=test_id, reason=error.reason)
            failure = error
    if failure is not None:
        raise failure
    unusable = f", {without_result} without a result that could be kept" if without_result else ""
    return f"{started} tests started, {ended} ended{unusable}"


async def _refresh_bandits(bandits: BanditOperations, keep: Callable[[], Awaitable[None]]) -> str:
    """Refresh every bandit that is due; one that fails does not keep the others from it."""
    looked = moved = ended = 0
    failure: DomainError | None = None
    for test_id in await bandits.list_due():
        await keep()
        try:
            step = await bandits.refresh(test_id)
        except DomainError as error:
            _log.warning("a bandit was not refreshed", test_id=test_id, reason=error.reason)
            failure = error
            continue
        if step is not None:
            looked, moved, ended = looked + 1, moved + step.weights_changed, ended + step.stopped
    if failure is not None:
        raise failure
    return f"{looked} bandits refreshed, {moved} moved weights, {ended} ended"
