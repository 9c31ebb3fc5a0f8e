"""Statements of what campaigns did, by day and offer as sent."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import date

from services.optimizer.domain.campaigns import (
    RevenueSpread,
    RevenueTotals,
    SentLately,
    SentOffer,
    TypicalHistory,
)
from services.optimizer.domain.features import DailyTable, daily_table
from services.optimizer.domain.response.revenue_spread import CampaignTotals
from services.optimizer.store.statements import STATEMENTS, Connection, Record, fetch_required


async def list_daily_outcomes(connection: Connection, first_day: date, end_day: date) -> DailyTable:
    """Return the outcomes of the days [first_day, end_day)."""
    rows = await connection.fetch(STATEMENTS["list_daily_outcomes"].sql, first_day, end_day)
    return daily_table([tuple(row) for row in rows])


async def has_views(connection: Connection, first_day: date, end_day: date) -> bool:
    """Return whether anybody viewed a campaign on the days [first_day, end_day)."""
    row = await fetch_required(connection, "has_views", first_day, end_day)
    return bool(row["found"])


async def list_campaign_offers(
    connection: Connection,
    campaign_ids: Sequence[str],
    *,
    history: tuple[date, date],
    window: tuple[date, date],
) -> dict[str, SentLately]:
    """Return what campaigns sent in the days [start, end) of `history`, by offer.

    Of one that nobody viewed in those: in as many days up to the last day of `window` on which somebody did.
    One that sent nothing is missing.
    """
    rows = await connection.fetch(STATEMENTS["list_campaign_offers"].sql, campaign_ids, *history, window[0])
    found: dict[str, SentLately] = {}
    for row in rows:
        before = found.get(row["campaign_id"], SentLately(seen_until=row["seen_until"]))
        sent = SentOffer(
            offer_micros=row["offer_amount_micros"],
            impressions=row["impressions"],
            views=row["views"],
            conversions=row["conversions"],
            viewed_days=row["viewed_days"],
            last_day=row["last_day"],
            weekdays=tuple(row["weekdays"]),
        )
        found[row["campaign_id"]] = replace(before, offers=(*before.offers, sent))
    return found


async def fetch_campaign_revenue(
    connection: Connection, campaign_id: str, first_day: date, end_day: date
) -> RevenueTotals:
    """Return a campaign's conversions and revenue in the days [first_day, end_day)."""
    row = await fetch_required(connection, "fetch_campaign_revenue", campaign_id, first_day, end_day)
    return _revenue_totals(row)


async def list_merchant_revenue(
    connection: Connection, merchant_id: int, first_day: date, end_day: date
) -> tuple[RevenueTotals, ...]:
    """Return conversions and revenue of a merchant's campaigns, one entry per currency."""
    rows = await connection.fetch(STATEMENTS["list_merchant_revenue"].sql, merchant_id, first_day, end_day)
    return tuple(_revenue_totals(row) for row in rows)


async def list_campaign_revenue(
    connection: Connection, merchant_id: int, first_day: date, end_day: date
) -> list[CampaignTotals]:
    """Return conversions and revenue of every campaign in the currency of a merchant's campaigns."""
    rows = await connection.fetch(STATEMENTS["list_campaign_revenue"].sql, merchant_id, first_day, end_day)
    return [CampaignTotals(**row) for row in rows]


async def fetch_typical_history(
    connection: Connection, campaign_type: int, first_day: date, end_day: date
) -> TypicalHistory:
    """Return what the average campaign of a type did in the days [first_day, end_day)."""
    row = await fetch_required(connection, "fetch_typical_history", campaign_type, first_day, end_day)
    return TypicalHistory(
        impressions=row["impressions"],
        views=row["views"],
        conversions=row["conversions"],
        daily_views=row["daily_views"],
    )


def _revenue_totals(row: Record) -> RevenueTotals:
    return RevenueTotals(
        conversions=row["conversions"],
        revenue_micros=row["revenue_micros"],
        spread=RevenueSpread(**{name: row[name] for name in RevenueSpread.__dataclass_fields__}),
    )
