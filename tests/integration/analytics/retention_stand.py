"""Runs of retention as another process would make them, and whether rollups equal a recount after them."""

from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import asyncpg

from deploy.local.bootstrap import DatabaseAddresses
from services.analytics.operations.retention import RetentionOperations
from services.analytics.server import open_database
from tests.analytics_factories import (
    settings_for,
)

ZONE = "America/New_York"


async def execute(url: str, *statements: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        for statement in statements:
            await connection.execute(statement)
    finally:
        await connection.close()


async def fetch(url: str, statement: str) -> list[tuple[Any, ...]]:
    connection = await asyncpg.connect(url)
    try:
        return [tuple(row) for row in await connection.fetch(statement)]
    finally:
        await connection.close()


async def pretend_counted(database: DatabaseAddresses) -> None:
    """Say for the jobs that read raw events that they have counted everything."""
    await execute(
        database.analytics,
        "insert into audience_progress values ('user_activity', now(), '2100-01-01', 'America/New_York')"
        " on conflict do nothing",
        "insert into attribution_state values (true, '2100-01-01', 7, 'America/New_York')"
        " on conflict do nothing",
    )


async def seal(database: DatabaseAddresses, now: datetime, *, days: int, chunk_events: int = 3) -> str:
    """Run retention as another process would."""
    async with open_database(settings_for(database.analytics)) as opened:
        retention = RetentionOperations(
            opened, zone=ZoneInfo(ZONE), retention_days=days, clock=lambda: now, chunk_events=chunk_events
        )
        return await retention.seal()
