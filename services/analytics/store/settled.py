"""Up to when events are all in, for the jobs that count each once."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from services.analytics.store.statements import STATEMENTS, Connection


@dataclass(frozen=True, kw_only=True)
class Settled:
    """The database's time, and the moment before which everything received is committed."""

    database_time: datetime
    settled_at: datetime


async def fetch_settled_moment(connection: Connection, wait: timedelta) -> Settled:
    """Return up to when events are all in, at least `wait` ago."""
    row = await connection.fetchrow(STATEMENTS["fetch_settled_moment"].sql, wait)
    assert row is not None, "an aggregate has a row"
    return Settled(database_time=row["database_time"], settled_at=row["settled_at"])
