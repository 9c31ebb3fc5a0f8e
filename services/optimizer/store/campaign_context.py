"""Statements of what recommendations of timing and channel are made from."""

import asyncio
from collections.abc import Sequence
from datetime import date, datetime
from typing import Final

from services.optimizer.domain.recommendations.channels import ChannelSums
from services.optimizer.domain.recommendations.timing import ReachedUsers, reached_users
from services.optimizer.store.statements import STATEMENTS, Connection, Record, fetch_in_batches

MOST_REACHED_USERS: Final = 20_000
"""Users of a campaign that its hours are judged by, those reached last."""


async def fetch_campaign_channel(connection: Connection, campaign_id: str) -> int | None:
    """Return the channel that the catalog has for a campaign."""
    channel: int | None = await connection.fetchval(STATEMENTS["fetch_campaign_channel"].sql, campaign_id)
    return channel


async def list_channel_sums(
    connection: Connection, campaign_type: int, first_day: date, end_day: date
) -> Sequence[ChannelSums]:
    """Return what campaigns of a type did over each channel in the days [first_day, end_day)."""
    rows = await connection.fetch(STATEMENTS["list_channel_sums"].sql, campaign_type, first_day, end_day)
    return [ChannelSums(**dict(row)) for row in rows]


async def list_reached_users(
    connection: Connection, campaign_id: str, campaign_type: int, first_at: datetime, end_at: datetime
) -> tuple[int, ReachedUsers | None]:
    """Return how many users a campaign was delivered to, and the hours of those kept; None where none are."""
    batches = await fetch_in_batches(
        connection,
        "list_reached_users",
        campaign_id,
        campaign_type,
        first_at,
        end_at,
        MOST_REACHED_USERS,
    )
    return await asyncio.to_thread(_reached, batches)


def _reached(batches: Sequence[Sequence[Record]]) -> tuple[int, ReachedUsers | None]:
    kept = [tuple(row) for rows in batches for row in rows if row["hour_values"] is not None]
    return sum(map(len, batches)), reached_users(kept) if kept else None
