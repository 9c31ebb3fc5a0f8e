"""The job that keeps send times, over a real database."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import asyncpg

from services.common.database import Database
from services.optimizer.domain.send_time.send_time import QuietHours
from services.optimizer.operations.send_times import SendTimeOperations

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
DELIVERED, VIEWED, CONVERTED, NOTIFICATION_OPENED = 1, 2, 4, 9


@asynccontextmanager
async def send_times(url: str, now: datetime = NOW) -> AsyncIterator[SendTimeOperations]:
    """The operations that the job runs, on connections of their own."""
    database = await Database.open(url, application_name="test")
    try:
        yield SendTimeOperations(
            database, now=lambda: now, quiet=QuietHours(start=22, end=7), refit=timedelta(days=1)
        )
    finally:
        await database.close()


async def run_job(url: str, now: datetime = NOW) -> str:
    async with send_times(url, now) as operations:
        return await operations.refresh()


async def execute(url: str, statement: str, *arguments: object) -> None:
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(statement, *arguments)
    finally:
        await connection.close()


async def insert_acts(url: str, user: str, moments: Sequence[datetime]) -> None:
    await insert_plain(url, [(user, f"act-{at.isoformat()}", CONVERTED, at, None, False) for at in moments])


async def insert_plain(url: str, events: Sequence[tuple[str, str, int, datetime, str | None, bool]]) -> None:
    """Keep events (user, id, type, time, campaign, by a machine)."""
    connection = await asyncpg.connect(url)
    try:
        await connection.executemany(
            "insert into analytics.events (user_id, event_id, event_type, event_at, counted_at, campaign_id,"
            " stamped_fields, is_machine_open, currency_code) values ($1, $2, $3, $4, $4, $5, 0, $6, 'USD')",
            events,
        )
    finally:
        await connection.close()
