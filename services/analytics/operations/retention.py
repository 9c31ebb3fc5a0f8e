"""Use case of a job: raw events that are older than they are kept are dropped, and their sums sealed."""

from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

from services.analytics.domain.events import EARLIEST_MICROS
from services.analytics.domain.periods import day_starts_at
from services.analytics.domain.retention import (
    first_open_moment,
    group_hours,
    last_expired_day,
    later_day,
)
from services.analytics.store import catalog as catalog_store
from services.analytics.store import retention as store
from services.common.database import Database
from services.common.jobs import Every, Job, JobContext

CHUNK_EVENTS = 5_000
"""Events dropped in one transaction: a fraction of a second, in which a refund may have to wait."""
RETENTION_SECONDS = 3600.0
_FIRST_MOMENT = datetime.fromtimestamp(EARLIEST_MICROS / 1_000_000, UTC)
Save = Callable[[Mapping[str, str]], Awaitable[None]]


async def _save_nothing(_cursor: Mapping[str, str]) -> None:
    """Keep no cursor: the next run looks at every hour again."""


class RetentionOperations:
    """Keeps raw events for some days, and what older ones amounted to for ever.

    Args:
        database: where events live.
        zone: the reporting time zone.
        retention_days: how many days before today are kept; None keeps everything that is not sealed yet.
        clock: the present, aware.
        chunk_events: how many events are dropped in one transaction.
    """

    def __init__(
        self,
        database: Database,
        *,
        zone: ZoneInfo,
        retention_days: int | None,
        clock: Callable[[], datetime],
        chunk_events: int = CHUNK_EVENTS,
    ) -> None:
        self._database = database
        self._zone = zone
        self._retention_days = retention_days
        self._clock = clock
        self._chunk_events = chunk_events

    async def seal(self, cursor: Mapping[str, str] | None = None, *, save: Save = _save_nothing) -> str:
        """Seal the days that have expired and drop their events; return what was done, in one line.

        A day is closed first, so that no event of it comes in any more, and its events go when the jobs that
        read raw events have counted everything received before. Each chunk is a transaction of its own that
        moves its events into the sealed sums, so that a run may break off anywhere.

        Args:
            cursor: what a run that broke off saved last.
            save: keeps a cursor.
        """
        seal = await self._raise_seal()
        day = seal.sealed_through
        if day is None or seal.sealed_at is None:
            return "every event is kept"
        if seal.dropped_through == day:
            return f"events through {day} are dropped; nothing is left to drop"
        async with self._database.acquire() as connection:
            counted_until = await store.fetch_counted_until(connection, day)
        if counted_until is None or counted_until < seal.sealed_at:
            return f"events through {day} are sealed; they are dropped when the jobs have counted them"
        dropped, is_finished = await self._drop(seal, day, cursor or {}, save)
        rest = "" if is_finished else "; some are in use and left for the next run"
        return f"{dropped} events dropped, through {day}{rest}"

    async def _raise_seal(self) -> store.Seal:
        """Close the days that have expired; batches under way end before."""
        expired = last_expired_day(self._clock(), self._zone, self._retention_days)
        async with self._database.acquire() as connection:
            seal = await store.fetch_seal(connection)
        if expired is None or later_day(seal.sealed_through, expired) == seal.sealed_through:
            return seal
        async with self._database.transaction() as connection:
            await catalog_store.lock_catalog(connection)
            await store.raise_seal(connection, expired)
            return await store.fetch_seal(connection)

    async def _drop(
        self, seal: store.Seal, day: date, cursor: Mapping[str, str], save: Save
    ) -> tuple[int, bool]:
        """Drop some hours after the other, so that no chunk looks for its events where all are gone."""
        start = first_open_moment(seal.dropped_through, self._zone) or _FIRST_MOMENT
        end = day_starts_at(day + timedelta(days=1), self._zone)
        resumed = max(start, datetime.fromisoformat(cursor["hour"])) if "hour" in cursor else start
        async with self._database.acquire() as connection:
            hours = await store.list_sealed_hours(connection, resumed, end)
        spans = group_hours(hours, self._chunk_events)
        dropped = 0
        for span, following in pairwise([*spans, end]):
            await save({"hour": span.isoformat()})
            dropped += await self._drop_all(span, following)
        dropped += await self._drop_all(start, end)
        async with self._database.transaction() as connection:
            await store.lock_sealing(connection)
            return dropped, await store.finish_dropping(connection, day, start, end)

    async def _drop_all(self, start: datetime, end: datetime) -> int:
        dropped, found = 0, self._chunk_events
        while found == self._chunk_events:
            async with self._database.transaction() as connection:
                await store.lock_sealing(connection)
                found = await store.drop_events(connection, start, end, limit=self._chunk_events)
            dropped += found
        return dropped


def build_retention_job(retention: RetentionOperations) -> Job:
    """Return the job that drops expired events, hourly; it goes on in the hour where a run broke off."""

    async def seal(context: JobContext) -> str:
        return await retention.seal(context.cursor, save=context.save)

    return Job(name="retention", schedule=Every(seconds=RETENTION_SECONDS), run=seal)
