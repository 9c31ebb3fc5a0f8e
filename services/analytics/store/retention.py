"""Statements that drop raw events and keep what they amounted to."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime

from services.analytics.store.statements import STATEMENTS, Connection


@dataclass(frozen=True, kw_only=True)
class Seal:
    """How far raw events are sealed, since when, and through which day nothing is left; None: not at all."""

    sealed_through: date | None
    sealed_at: datetime | None
    dropped_through: date | None


async def fetch_sealed_through(connection: Connection) -> date | None:
    """Return the last day whose raw events are dropped or being dropped; None while everything is kept."""
    day: date | None = await connection.fetchval(STATEMENTS["fetch_sealed_through"].sql)
    return day


async def fetch_seal(connection: Connection) -> Seal:
    """Return how far raw events are sealed; the reporting zone must be fixed."""
    row = await connection.fetchrow(STATEMENTS["fetch_seal"].sql)
    assert row is not None
    return Seal(**row)


async def raise_seal(connection: Connection, day: date) -> None:
    """Seal the days through `day`; batches of events must be kept out by `lock_catalog`."""
    await connection.execute(STATEMENTS["raise_seal"].sql, day)


async def fetch_counted_until(connection: Connection, sealed_through: date) -> datetime | None:
    """Return before which time everything received was counted by the jobs that read raw events themselves.

    None while one of them has counted nothing, or has yet to count days through `sealed_through`.
    """
    until: datetime | None = await connection.fetchval(STATEMENTS["fetch_counted_until"].sql, sealed_through)
    return until


async def list_sealed_hours(
    connection: Connection, start: datetime, end: datetime
) -> Sequence[tuple[datetime, int]]:
    """Return the hours from `start`, before `end` with something counted, each with about how many events."""
    rows = await connection.fetch(STATEMENTS["list_sealed_hours"].sql, start, end)
    return [(row["hour_at"], row["events"]) for row in rows]


async def lock_sealing(connection: Connection) -> None:
    """Keep other sealers and rebuilds out until the transaction ends."""
    await connection.execute(STATEMENTS["lock_sealing"].sql)
    await connection.execute(STATEMENTS["plan_by_values"].sql)


async def drop_events(connection: Connection, start: datetime, end: datetime, *, limit: int) -> int:
    """Drop at most `limit` events that count from `start`, before `end`; return how many.

    Needs `lock_sealing`.
    """
    dropped: int = await connection.fetchval(STATEMENTS["drop_events"].sql, start, end, limit)
    return dropped


async def finish_dropping(connection: Connection, day: date, start: datetime, end: datetime) -> bool:
    """Note that nothing is left through `day`, unless an event counts from `start`, before `end`."""
    finished = await connection.fetchval(STATEMENTS["finish_dropping"].sql, day, start, end)
    return finished is True
