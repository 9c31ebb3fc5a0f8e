"""Use case of a job: the last 30 days move on to a new day."""

from collections.abc import Callable
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

from services.analytics.domain.periods import day_of, day_starts_at
from services.analytics.store import catalog as catalog_store
from services.analytics.store import rolling as store
from services.common.database import Database

_DAY = timedelta(days=1)


class RollingOperations:
    """Keeps the last 30 days those that end today.

    Args:
        database: where the rollups live.
        zone: the reporting time zone.
        clock: the present, aware.
    """

    def __init__(self, database: Database, *, zone: ZoneInfo, clock: Callable[[], datetime]) -> None:
        self._database = database
        self._zone = zone
        self._clock = clock

    async def roll(self) -> date:
        """Return the last of the 30 days, moved on where it is not today; batches wait while it moves.

        The slots of the portfolio's days that are over become one.

        Events of days that lay ahead are in the daily rows and are counted from there. A day that another
        replica, whose clock is a little ahead, has begun already is left to it.
        """
        today = day_of(self._clock(), self._zone)
        async with self._database.acquire() as connection:
            end_day = await store.fetch_end_day(connection)
        if end_day in (today, today + _DAY):
            return end_day
        async with self._database.transaction() as connection:
            await catalog_store.lock_catalog(connection)
            end_day = await store.fetch_end_day(connection)
            if end_day in (today, today + _DAY):
                return end_day
            await store.fold_portfolio(connection, today, day_starts_at(today, self._zone))
            await store.fill_window(connection, today)
        return today
