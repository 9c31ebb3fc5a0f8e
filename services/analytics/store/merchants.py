"""Statements that read what happened at one merchant."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from services.analytics.domain.merchants import MerchantCampaign, MerchantPurchases
from services.analytics.domain.metrics import CampaignTotals, DateRange
from services.analytics.store.metrics import counts_of, signals_of, totals_of
from services.analytics.store.statements import STATEMENTS, Connection


@dataclass(frozen=True, kw_only=True)
class MerchantDays:
    """A merchant's name, and its first and last day with events (None before the first)."""

    merchant_name: str | None
    first_day: date | None
    last_day: date | None


async def fetch_merchant(connection: Connection, merchant_id: int) -> MerchantDays | None:
    """Return a merchant; None for an unknown one."""
    row = await connection.fetchrow(STATEMENTS["fetch_merchant"].sql, merchant_id)
    return MerchantDays(**row) if row else None


async def list_campaigns(
    connection: Connection, merchant_id: int, days: DateRange
) -> Sequence[MerchantCampaign]:
    """Return what each campaign did at a merchant, the most conversions first, then by campaign_id."""
    rows = await connection.fetch(
        STATEMENTS["list_merchant_campaigns"].sql, merchant_id, days.start, days.end
    )
    return [
        MerchantCampaign(
            campaign_id=row["campaign_id"],
            campaign_name=row["campaign_name"],
            currency_code=row["currency_code"],
            counts=counts_of(row),
            signals=signals_of(row),
        )
        for row in rows
    ]


async def list_purchases(
    connection: Connection, merchant_id: int, days: DateRange
) -> Sequence[MerchantPurchases]:
    """Return what happened at a merchant without a campaign, by currency."""
    rows = await connection.fetch(
        STATEMENTS["list_merchant_purchases"].sql, merchant_id, days.start, days.end
    )
    return [MerchantPurchases(**row) for row in rows]


async def fetch_users_of_campaigns(
    connection: Connection, campaign_ids: Sequence[str], maximum_rows: int
) -> CampaignTotals:
    """Return the lives of some campaigns together, each user once, from at most so many rows of users.

    The campaigns with the most conversions stand for all where there are more rows; one always does.
    """
    row = await connection.fetchrow(STATEMENTS["fetch_users_of_campaigns"].sql, campaign_ids, maximum_rows)
    assert row is not None, "an aggregate has a row"
    return totals_of(row)
