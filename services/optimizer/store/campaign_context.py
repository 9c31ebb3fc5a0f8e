"""Statements of what recommendations of timing and channel are made from."""

from collections.abc import Sequence
from datetime import date, datetime
from typing import Final

import numpy as np

from services.optimizer.domain.channels import ChannelSums
from services.optimizer.domain.timing import HOURS, ReachedUsers
from services.optimizer.store.statements import STATEMENTS, Connection

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
) -> ReachedUsers | None:
    """Return the hours of the users whom a campaign was delivered to; None where none are kept."""
    rows = await connection.fetch(
        STATEMENTS["list_reached_users"].sql,
        campaign_id,
        campaign_type,
        first_at,
        end_at,
        MOST_REACHED_USERS,
    )
    if not rows:
        return None
    quiet = np.zeros(HOURS, dtype=np.bool_)
    for start, end in {(row["quiet_start_hour"], row["quiet_end_hour"]) for row in rows}:
        quiet |= _quiet_hours(start, end)
    return ReachedUsers(
        hour_values=np.array([row["hour_values"] for row in rows], dtype=np.float64),
        current=np.array([row["current_value"] for row in rows], dtype=np.float64),
        is_quiet=quiet,
    )


def _quiet_hours(start: int, end: int) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """Return the hours from `start` to before `end`, over midnight where that is earlier; none if equal."""
    hours = np.arange(HOURS)
    return (hours - start) % HOURS < (end - start) % HOURS
