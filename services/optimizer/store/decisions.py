"""Statements of deliveries whose offers were drawn with a logged propensity."""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final

from services.optimizer.domain.response.decision_table import DecisionTable, decision_table
from services.optimizer.store.statements import STATEMENTS, Connection, fetch_in_batches

MOST_DECISIONS: Final = 200_000
"""Deliveries that one evaluation looks at, the latest."""


async def list_logged_decisions(  # noqa: PLR0917 (what bounds a reading)
    connection: Connection,
    campaign_ids: Sequence[str],
    first_at: datetime,
    end_at: datetime,
    outcome: timedelta,
    time_zone: str,
    most: int = MOST_DECISIONS,
) -> DecisionTable | None:
    """Return the deliveries of [first_at, end_at) with a propensity, the latest first; None for none.

    At most `most`, the latest. Campaigns are numbered by their place in `campaign_ids`.
    """
    batches = await fetch_in_batches(
        connection,
        "list_logged_decisions",
        list(campaign_ids),
        first_at,
        end_at,
        outcome,
        time_zone,
        most,
    )
    return await asyncio.to_thread(decision_table, batches, campaign_ids) if batches else None


async def list_campaign_currencies(connection: Connection, campaign_ids: Sequence[str]) -> list[str]:
    """Return the currencies that campaigns count in, each once."""
    rows = await connection.fetch(STATEMENTS["list_campaign_currencies"].sql, list(campaign_ids))
    return [row["currency_code"] for row in rows]


async def list_unknown_segments(connection: Connection, names: Sequence[str]) -> list[str]:
    """Return those segments that no user was ever in."""
    rows = await connection.fetch(STATEMENTS["list_unknown_segments"].sql, list(names))
    return [row["name"] for row in rows]


async def list_segment_sets(connection: Connection, numbers: Sequence[int]) -> Mapping[int, Sequence[str]]:
    """Return the segments by the number of their set."""
    rows = await connection.fetch(STATEMENTS["list_segment_sets"].sql, list(numbers))
    return {row["segment_set_id"]: tuple(row["segments"]) for row in rows}
