"""Statements of the campaigns that run now."""

from collections.abc import Sequence
from datetime import date, datetime

from services.optimizer.domain.recommendations.campaign_choice import ActiveCampaign
from services.optimizer.store.statements import STATEMENTS, Connection


async def count_active_campaigns(connection: Connection, now: datetime) -> dict[int | None, int]:
    """Return how many campaigns run at `now`, by merchant."""
    rows = await connection.fetch(STATEMENTS["count_active_campaigns"].sql, now)
    return {row["merchant_id"]: row["campaigns"] for row in rows}


async def list_active_campaigns(
    connection: Connection,
    now: datetime,
    first_day: date,
    end_day: date,
    *,
    merchant_ids: Sequence[int],
    most: int,
) -> list[ActiveCampaign]:
    """Return at most so many campaigns of merchants, the first ones' first, that run at `now`.

    An offer that the catalog does not know is the last one sent in the days [first_day, end_day).
    """
    rows = await connection.fetch(
        STATEMENTS["list_active_campaigns"].sql, now, first_day, end_day, list(merchant_ids), most
    )
    return [ActiveCampaign(**row) for row in rows]
