"""Statements of imported costs."""

from collections.abc import Sequence
from datetime import date

from services.analytics.domain.costs import CostKey, CostPage, KeptCost
from services.analytics.store.rolling import CostChange
from services.analytics.store.statements import STATEMENTS, Connection


async def keep_costs(connection: Connection, costs: Sequence[KeptCost]) -> tuple[Sequence[CostChange], int]:
    """Keep costs, each key once, in the place of those before; needs the catalog's lock.

    Returns what is added to each campaign's day, and how many costs are new or another amount.
    """
    rows = await connection.fetch(
        STATEMENTS["keep_costs"].sql,
        [cost.campaign_id for cost in costs],
        [cost.day for cost in costs],
        [cost.channel for cost in costs],
        [cost.currency_code for cost in costs],
        [cost.cost_micros for cost in costs],
    )
    changes = [
        CostChange(
            campaign_id=row["campaign_id"],
            day=row["day"],
            currency_code=row["currency_code"],
            cost_micros=row["cost_micros"],
        )
        for row in rows
    ]
    return changes, sum(row["changed_costs"] for row in rows)


async def list_costs(
    connection: Connection, campaign_id: str, first_day: date, last_day: date, page: CostPage
) -> Sequence[KeptCost]:
    """Return costs by campaign, day and channel; an empty `campaign_id` is all of them."""
    statement = STATEMENTS["list_campaign_costs" if campaign_id else "list_costs"].sql
    after: CostKey = page.after or (campaign_id, date.min, 0)
    rows = await connection.fetch(
        statement, campaign_id or after[0], after[1], after[2], first_day, last_day, page.limit
    )
    return [KeptCost(**row) for row in rows]
