"""Statements of the reporting zone, and those that count everything again."""

from collections.abc import Sequence
from dataclasses import dataclass

from services.analytics.store.statements import STATEMENTS, Connection

ROLLUPS = (
    "campaign_analytics_daily",
    "campaign_analytics_weekly",
    "campaign_trend_data",
    "campaign_delivery_daily",
    "campaign_segment_analytics",
    "campaign_user_totals",
    "campaign_totals",
    "merchant_daily",
    "portfolio_analytics_hourly",
    "portfolio_analytics_daily",
    "campaign_last_30_days",
    "portfolio_last_30_days",
)
"""Every table that is counted from the events, in the order in which a rebuild fills them."""


@dataclass(frozen=True, kw_only=True)
class Difference:
    """A row that a rollup and a recount do not share; `side` is `stored` or `recounted`."""

    rollup: str
    side: str
    content: str


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """A rollup beside its recount: how many rows the recount has, how many differ, and some of those."""

    rollup: str
    compared: int
    difference_count: int
    differences: Sequence[Difference]


async def fetch_reporting_time_zone(connection: Connection) -> str | None:
    """Return the zone whose days events count in; None before the first start."""
    zone: str | None = await connection.fetchval(STATEMENTS["fetch_reporting_time_zone"].sql)
    return zone


async def insert_reporting_time_zone(connection: Connection, zone: str) -> None:
    """Fix the zone unless one is fixed."""
    await connection.execute(STATEMENTS["insert_reporting_time_zone"].sql, zone)


async def upsert_reporting_time_zone(connection: Connection, zone: str) -> None:
    """Set the zone; the rollups must be rebuilt in the same transaction."""
    await connection.execute(STATEMENTS["upsert_reporting_time_zone"].sql, zone)


async def is_time_zone_known(connection: Connection, zone: str) -> bool:
    """Return whether the database knows a zone by that name."""
    return bool(await connection.fetchval(STATEMENTS["is_time_zone_known"].sql, zone))


async def allow_long_statements(connection: Connection) -> None:
    """Let the statements of this transaction take as long as they need."""
    await connection.execute(STATEMENTS["allow_long_statements"].sql)


async def compare(connection: Connection, rollup: str, *, shown: int) -> Comparison:
    """Compare one of `ROLLUPS` with a recount; at most `shown` of its differences are kept."""
    compared, count = 0, 0
    rows: list[Difference] = []
    async for row in connection.cursor(STATEMENTS[f"list_differences_of_{rollup}"].sql):
        if row["side"] == "compared":
            compared = int(row["content"])
            continue
        count += 1
        if len(rows) < shown:
            rows.append(Difference(rollup=rollup, side=row["side"], content=row["content"]))
    return Comparison(rollup=rollup, compared=compared, difference_count=count, differences=rows)


async def rebuild(connection: Connection, rollup: str) -> None:
    """Empty one of `ROLLUPS` and fill it from the raw events."""
    await connection.execute(STATEMENTS[f"clear_{rollup}"].sql)
    await connection.execute(STATEMENTS[f"rebuild_{rollup}"].sql)
