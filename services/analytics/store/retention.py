"""Statements that drop raw events and keep what they amounted to."""

from datetime import date

from services.analytics.store.statements import STATEMENTS, Connection


async def fetch_sealed_through(connection: Connection) -> date | None:
    """Return the last day whose raw events are dropped or being dropped; None while everything is kept."""
    day: date | None = await connection.fetchval(STATEMENTS["fetch_sealed_through"].sql)
    return day


async def raise_seal(connection: Connection, day: date) -> None:
    """Seal the days through `day`; batches of events must be kept out by `lock_catalog`."""
    await connection.execute(STATEMENTS["raise_seal"].sql, day)
