"""Statements that read what all campaigns did together."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime

from services.analytics.domain.metrics import Counts
from services.analytics.domain.portfolio import CampaignSums, PortfolioDay
from services.analytics.store.metrics import counts_of
from services.analytics.store.statements import STATEMENTS, Connection


@dataclass(frozen=True, kw_only=True)
class PartialDay:
    """What was counted of a part of a day, of one campaign or (None) outside campaigns."""

    campaign_id: str | None
    currency_code: str
    counts: Counts


async def list_portfolio_days(connection: Connection, start: date, end: date) -> Sequence[PortfolioDay]:
    """Return the portfolio's counts per currency, both ends included."""
    rows = await connection.fetch(STATEMENTS["list_portfolio_days"].sql, start, end)
    return [
        PortfolioDay(
            currency_code=row["currency_code"],
            counts=counts_of(row),
            purchases=row["purchases"],
            purchase_revenue_micros=row["purchase_revenue_micros"],
        )
        for row in rows
    ]


async def list_portfolio_campaigns(connection: Connection, start: date, end: date) -> Sequence[CampaignSums]:
    """Return every campaign with an event on the days, both ends included."""
    rows = await connection.fetch(STATEMENTS["list_portfolio_campaigns"].sql, start, end)
    return [
        CampaignSums(
            campaign_id=row["campaign_id"], currency_code=row["currency_code"], counts=counts_of(row)
        )
        for row in rows
    ]


async def list_partial_day(
    connection: Connection, start_at: datetime, end_at: datetime
) -> Sequence[PartialDay]:
    """Return what was counted from `start_at` up to `end_at`, both included."""
    rows = await connection.fetch(STATEMENTS["list_partial_day"].sql, start_at, end_at)
    return [
        PartialDay(campaign_id=row["campaign_id"], currency_code=row["currency_code"], counts=counts_of(row))
        for row in rows
    ]
