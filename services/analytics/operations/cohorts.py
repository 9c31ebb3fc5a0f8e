"""Use cases of cohorts, and of what they are counted from: what users did by day."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

from services.analytics.domain.cohorts import (
    DEFAULT_LISTED_PERIODS,
    Cohort,
    CohortInterval,
    CohortSums,
    maximum_periods,
    measure_cohort,
)
from services.analytics.domain.periods import (
    EARLIEST_DAY,
    LATEST_DAY,
    check_counted_zone,
    check_range,
    day_of,
)
from services.analytics.store import cohorts as store
from services.analytics.store import recount as recount_store
from services.analytics.store import retention as retention_store
from services.analytics.store import settled as settled_store
from services.common.database import Connection, Database
from services.common.errors import FailedPreconditionError, invalid_field

USER_ACTIVITY = "user_activity"
SETTLING = timedelta(seconds=2)
"""How old events are before they are counted at the least."""
MAXIMUM_STEP_EVENTS = 200_000
SHORTEST_STEP = timedelta(milliseconds=1)
MAXIMUM_PAGE_PERIODS = 2_000
"""Past this a page has fewer cohorts, so that its intervals do not hold up other calls."""
_DAY = timedelta(days=1)


@dataclass(frozen=True, kw_only=True)
class CohortPage:
    """Cohorts by day, and whether there are more; `as_of` is None before the first run of the job."""

    cohorts: Sequence[Cohort]
    as_of: datetime | None
    has_more: bool


@dataclass(frozen=True, kw_only=True)
class Refreshed:
    """What a run of the job counted."""

    as_of: datetime
    steps: int
    days: int
    users: int
    moved_users: int

    def __str__(self) -> str:
        return (
            f"{self.days} days of {self.users} users in {self.steps} steps; {self.moved_users} users moved "
            f"to an earlier cohort; as of {self.as_of.isoformat(timespec='seconds')}"
        )


async def _keep_nothing() -> None:
    """Beside the job framework there is no lease to extend."""


class CohortOperations:
    """Answers from cells that a job keeps, and keeps them.

    Args:
        database: where they are.
        zone: the reporting time zone.
        clock: the present, aware.
        settling: how old events are before they are counted at the least.
        maximum_step_events: about how many events are counted in one transaction.
    """

    def __init__(
        self,
        database: Database,
        *,
        zone: ZoneInfo,
        clock: Callable[[], datetime],
        settling: timedelta = SETTLING,
        maximum_step_events: int = MAXIMUM_STEP_EVENTS,
    ) -> None:
        self._database = database
        self._zone = zone
        self._clock = clock
        self._settling = settling
        self._maximum_step_events = maximum_step_events

    async def get_cohort(
        self, cohort_day: date, interval: CohortInterval, currency_code: str
    ) -> tuple[Cohort, datetime | None]:
        """Return how a cohort came back, and up to when events are counted (None before the first run)."""
        if not EARLIEST_DAY <= cohort_day <= LATEST_DAY:
            raise invalid_field(
                "cohort_date", f"must be from {EARLIEST_DAY} to {LATEST_DAY}", "VALUE_OUT_OF_RANGE"
            )
        page = await self.list_cohorts(
            start=cohort_day,
            end=cohort_day,
            after=None,
            size=1,
            interval=interval,
            periods=maximum_periods(interval),
            currency_code=currency_code,
        )
        if page.cohorts:
            return page.cohorts[0], page.as_of
        if page.as_of is None:
            return Cohort(cohort_day=cohort_day, users=0, currency_code=None, periods=()), None
        empty = CohortSums(cohort_day=cohort_day, users=0, cells={})
        cohort = self._measure(empty, interval, page.as_of, maximum_periods(interval), currency_code)
        return cohort, page.as_of

    async def list_cohorts(
        self,
        *,
        start: date | None,
        end: date | None,
        after: date | None,
        size: int,
        interval: CohortInterval,
        periods: int,
        currency_code: str,
    ) -> CohortPage:
        """Return cohorts from `start` to `end` after `after` by day, and `periods` of each; 0: 26.

        Raises:
            InvalidArgumentError: the range is reversed or absurd, or there are no so many periods.
        """
        check_range(start, end)
        if not 0 <= periods <= maximum_periods(interval):
            raise invalid_field(
                "max_periods", f"must be from 0 to {maximum_periods(interval)}", "VALUE_OUT_OF_RANGE"
            )
        periods = periods or min(DEFAULT_LISTED_PERIODS, maximum_periods(interval))
        size = max(min(size, MAXIMUM_PAGE_PERIODS // periods), 1)
        query = store.CohortQuery(
            start=start or EARLIEST_DAY,
            end=end or LATEST_DAY,
            after=after or EARLIEST_DAY - _DAY,
            limit=size + 1,
            interval=interval,
            periods=periods,
            currency_code=currency_code,
        )
        async with self._database.acquire() as connection:
            as_of, cohorts = await store.list_cohorts(connection, query)
        if as_of is None:
            return CohortPage(cohorts=(), as_of=None, has_more=False)
        return CohortPage(
            cohorts=[self._measure(sums, interval, as_of, periods, currency_code) for sums in cohorts[:size]],
            as_of=as_of,
            has_more=len(cohorts) > size,
        )

    def _measure(
        self, sums: CohortSums, interval: CohortInterval, as_of: datetime, periods: int, currency_code: str
    ) -> Cohort:
        return measure_cohort(
            sums, interval, today=day_of(as_of, self._zone), periods=periods, currency_code=currency_code
        )

    async def refresh(self, save: Callable[[], Awaitable[None]] = _keep_nothing) -> Refreshed:
        """Count what came in since the last run; in the days of another zone, all of it again.

        Each step counts events by when they came in, each event once: a step and how far it went are
        committed together, and only what no transaction can still precede is counted. A run that is cut off
        goes on where it was.

        Args:
            save: awaited after every step.

        Raises:
            FailedPreconditionError: EVENTS_SEALED, where the zone is another one and raw events are gone;
                TIME_ZONE_CONFLICT, where it was changed while this process ran.
        """
        steps = days = users = moved_users = 0
        longest = timedelta.max
        while True:
            async with self._database.transaction() as connection:
                await store.lock_user_activity(connection)
                settled = await settled_store.fetch_settled_moment(connection, self._settling)
                progress = await store.fetch_progress(connection, USER_ACTIVITY)
                if progress is not None and progress.reporting_time_zone != self._zone.key:
                    await self._forget(connection)
                    progress = None
                since = progress.received_until if progress else await store.fetch_first_received(connection)
                since = since or settled.settled_at
                until = await self._end_step(connection, since, settled.settled_at, longest)
                if since < until:
                    counted = await store.count_user_activity(connection, since, until)
                    days += counted.days
                    users += counted.users
                    moved_users += counted.moved_users
                    steps += 1
                fixed = await recount_store.fetch_reporting_time_zone(connection)
                check_counted_zone(fixed, self._zone)
                as_of = self._clock() - (settled.database_time - max(since, until))
                await store.upsert_progress(
                    connection,
                    USER_ACTIVITY,
                    store.Progress(
                        as_of=as_of,
                        received_until=max(since, until),
                        reporting_time_zone=self._zone.key,
                    ),
                )
            await save()
            # So that a long backlog is not counted anew for every step.
            longest = max(2 * (until - since), SHORTEST_STEP)
            if until >= settled.settled_at:
                return Refreshed(as_of=as_of, steps=steps, days=days, users=users, moved_users=moved_users)

    async def _forget(self, connection: Connection) -> None:
        """Forget everything, to count it in the days of another zone, unless some of it cannot come back."""
        sealed_through = await retention_store.fetch_sealed_through(connection)
        if sealed_through is not None:
            raise FailedPreconditionError(
                f"events through {sealed_through} are kept as sums only, and cannot be counted again in the "
                f"days of {self._zone.key}",
                reason="EVENTS_SEALED",
                metadata={"sealed_through": sealed_through.isoformat()},
            )
        await store.clear_user_activity(connection)

    async def _end_step(
        self, connection: Connection, since: datetime, settled_at: datetime, longest: timedelta
    ) -> datetime:
        """Return the end of a step: what is settled, at most `longest`, halved until it is not too much."""
        span = min(settled_at - since, longest)
        while span > SHORTEST_STEP:
            if await store.count_received(connection, since, since + span) <= self._maximum_step_events:
                break
            span /= 2
        return since + span

    async def list_differences(self) -> Sequence[Mapping[str, str]]:
        """Return the rows in which what the job keeps differs from a recount as of its last run."""
        differences: list[Mapping[str, str]] = []
        async with self._database.transaction(isolation="repeatable_read", readonly=True) as connection:
            progress = await store.fetch_progress(connection, USER_ACTIVITY)
            if progress is not None:
                for rollup in store.ROLLUPS:
                    rows = await store.list_differences(connection, rollup, progress.received_until)
                    differences += [{"rollup": rollup, **row} for row in rows]
        return differences
