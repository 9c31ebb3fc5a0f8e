"""Statements that keep the last 30 days: their rolling on, and imported costs in every rollup."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime

from services.analytics.store.statements import STATEMENTS, Connection


@dataclass(frozen=True, kw_only=True)
class CostChange:
    """What is added to the imported cost of a campaign's day, below 0 where it is less than before."""

    campaign_id: str
    day: date
    currency_code: str
    cost_micros: int


async def fetch_end_day(connection: Connection) -> date | None:
    """Return the last of the 30 days kept ready; None before the first roll."""
    day: date | None = await connection.fetchval(STATEMENTS["fetch_rolling_end_day"].sql)
    return day


async def fill_window(connection: Connection, end_day: date) -> None:
    """Move the window and count it from the daily rows; needs the catalog's lock."""
    await connection.execute(STATEMENTS["upsert_rolling_end_day"].sql, end_day)
    for rollup in ("campaign_last_30_days", "portfolio_last_30_days"):
        await connection.execute(STATEMENTS[f"clear_{rollup}"].sql)
        await connection.execute(STATEMENTS[f"fill_{rollup}"].sql)


async def fold_portfolio(connection: Connection, day: date, day_starts_at: datetime) -> None:
    """Make one slot of the many that days before `day` and their hours have; needs the catalog's lock."""
    await connection.execute(STATEMENTS["fold_portfolio_days"].sql, day)
    await connection.execute(STATEMENTS["fold_portfolio_hours"].sql, day_starts_at)


async def count_cost_changes(connection: Connection, changes: Sequence[CostChange], *, slot: int) -> None:
    """Count changes of imported costs in every rollup; needs the catalog's shared lock.

    Name the rows that are new in `campaign_daily_costs` even where they add 0.
    """
    await connection.execute(
        STATEMENTS["count_cost_changes"].sql,
        [change.campaign_id for change in changes],
        [change.day for change in changes],
        [change.currency_code for change in changes],
        [change.cost_micros for change in changes],
        slot,
    )
