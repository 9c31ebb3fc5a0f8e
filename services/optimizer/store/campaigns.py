"""Statements of the campaigns that run now."""

from datetime import date, datetime

from services.optimizer.domain.campaign_choice import ActiveCampaign
from services.optimizer.store.statements import STATEMENTS, Connection


async def list_active_campaigns(
    connection: Connection, now: datetime, first_day: date, end_day: date
) -> list[ActiveCampaign]:
    """Return the campaigns that run at `now`, with offers sent in the days [first_day, end_day)."""
    rows = await connection.fetch(STATEMENTS["list_active_campaigns"].sql, now, first_day, end_day)
    return [ActiveCampaign(**row) for row in rows]
