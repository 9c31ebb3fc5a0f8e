"""Statements of the users of all campaigns together."""

from collections.abc import Mapping

from services.analytics.domain.metrics import CampaignTotals
from services.analytics.store.metrics import totals_of
from services.analytics.store.statements import STATEMENTS, Connection


async def list_portfolio_users(connection: Connection) -> Mapping[str, CampaignTotals]:
    """Return the sums over users by currency; '' is over all of them, without money."""
    rows = await connection.fetch(STATEMENTS["list_portfolio_users"].sql)
    return {row["currency_code"]: totals_of(row) for row in rows}


async def clear_portfolio_users(connection: Connection) -> None:
    """Empty the table before a new count."""
    await connection.execute(STATEMENTS["clear_portfolio_users"].sql)


async def count_portfolio_users(connection: Connection) -> None:
    """Add up the users of all campaigns, each once, by currency and over all of them."""
    await connection.execute(STATEMENTS["count_portfolio_users"].sql)
