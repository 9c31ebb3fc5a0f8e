"""Forgets what is old, so that no table grows for ever."""

from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Final

from services.common.database import Connection, Database
from services.optimizer.store import retention as store

AT_ONCE: Final = 1000
"""Rows that one transaction forgets."""
VERDICTS_KEPT: Final = timedelta(days=2)
"""A verdict is of one day of the reporting zone, and answers for nothing once that is over."""
Deletion = Callable[[Connection, int], Awaitable[int]]


class RecordKeeper:
    """Forgets records after a while: closed recommendations, ended trainings, what was measured of versions.

    Args:
        database: where the records are.
        kept: how long they are kept.
        now: the clock.
    """

    def __init__(self, database: Database, *, kept: timedelta, now: Callable[[], datetime]) -> None:
        self._database = database
        self._kept = kept
        self._now = now

    async def forget(self) -> str:
        """Forget what is old, in transactions of at most `AT_ONCE` rows; return what went, in one line."""
        now = self._now()
        old = now - self._kept
        gone = {
            "recommendations": await self._delete(
                lambda connection, most: store.delete_closed_recommendations(connection, old, now, most)
            ),
            "verdicts": await self._delete(
                lambda connection, most: store.delete_verdicts(connection, now - VERDICTS_KEPT, most)
            ),
            "trainings": await self._delete(
                lambda connection, most: store.delete_trainings(connection, old, most)
            ),
            "measures of drift": await self._delete(
                lambda connection, most: store.delete_drift(connection, old, most)
            ),
            "fits of affinities": await self._delete(
                lambda connection, most: store.delete_affinity_models(connection, old, most)
            ),
        }
        said = ", ".join(f"{count} {what}" for what, count in gone.items() if count)
        return f"{said} forgotten" if said else "nothing to forget"

    async def _delete(self, deletion: Deletion) -> int:
        total, last = 0, AT_ONCE
        while last == AT_ONCE:
            async with self._database.transaction() as connection:
                last = await deletion(connection, AT_ONCE)
            total += last
        return total
