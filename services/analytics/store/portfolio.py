"""Statements that read what all campaigns did together."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime

from services.analytics.domain.portfolio import CampaignCount, PortfolioDay
from services.analytics.store.metrics import counts_of
from services.analytics.store.statements import STATEMENTS, Connection, Record


@dataclass(frozen=True, kw_only=True)
class Span:
    """Whole days, both ends included and none where reversed, and a part of the day after them.

    That day begins at `day_starts_at` and counts up to `moment`, included; both are None without such a part.
    """

    first_day: date
    last_day: date
    day_starts_at: datetime | None = None
    moment: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class PortfolioSides:
    """A span and the one before it; `campaigns` only where the last 30 days were ready to be read."""

    now: Sequence[PortfolioDay]
    before: Sequence[PortfolioDay]
    campaigns: Sequence[CampaignCount] | None


async def list_portfolio_days(connection: Connection, start: date, end: date) -> Sequence[PortfolioDay]:
    """Return the portfolio's counts per currency, both ends included."""
    rows = await connection.fetch(STATEMENTS["list_portfolio_days"].sql, start, end)
    return [_day(row) for row in rows]


async def fetch_portfolio_sides(
    connection: Connection, now: Span, before: Span, *, is_30_days: bool
) -> PortfolioSides:
    """Return the portfolio of two spans, in one snapshot.

    Args:
        connection: to the database.
        now: the span asked for.
        before: what it is compared with.
        is_30_days: whether `now` is 30 whole days, which may be kept ready.
    """
    rows = await connection.fetch(
        STATEMENTS["list_portfolio_sides"].sql,
        now.first_day,
        now.last_day,
        now.day_starts_at,
        now.moment,
        before.first_day,
        before.last_day,
        before.day_starts_at,
        before.moment,
        is_30_days,
    )
    sides = {name: [row for row in rows if row["side"] == name] for name in ("now", "before")}
    counted = {name: [row for row in side if row["currency_code"]] for name, side in sides.items()}
    is_ready = any(row["is_ready"] for row in sides["now"])
    return PortfolioSides(
        now=[_day(row) for row in counted["now"]],
        before=[_day(row) for row in counted["before"]],
        campaigns=[_campaigns(row) for row in counted["now"]] if is_ready else None,
    )


async def count_campaigns(connection: Connection, span: Span) -> Sequence[CampaignCount]:
    """Return how many campaigns have an event or an imported cost, per currency."""
    rows = await connection.fetch(
        STATEMENTS["count_portfolio_campaigns"].sql,
        span.first_day,
        span.last_day,
        span.day_starts_at,
        span.moment,
    )
    return [_campaigns(row) for row in rows]


def _day(row: Record) -> PortfolioDay:
    return PortfolioDay(
        currency_code=row["currency_code"],
        counts=counts_of(row),
        purchases=row["purchases"],
        purchase_revenue_micros=row["purchase_revenue_micros"],
        notification_deliveries=row["notification_deliveries"],
        notification_opens=row["notification_opens"],
        geofence_entries=row["geofence_entries"],
        unsubscribes=row["unsubscribes"],
    )


def _campaigns(row: Record) -> CampaignCount:
    return CampaignCount(
        currency_code=row["currency_code"],
        campaigns=row["campaigns"],
        campaigns_with_cost=row["campaigns_with_cost"],
        roas_nanos=int(row["roas_nanos"]),
    )
