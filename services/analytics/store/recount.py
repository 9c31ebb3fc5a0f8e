"""Statements of the reporting zone, and those that count everything again."""

from collections.abc import Mapping, Sequence

from services.analytics.store.statements import STATEMENTS, Connection

ROLLUPS = (
    "campaign_analytics_daily",
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


async def list_differences(connection: Connection, rollup: str) -> Sequence[Mapping[str, str]]:
    """Return the rows in which one of `ROLLUPS` differs from a recount: `side` and `content`."""
    rows = await connection.fetch(STATEMENTS[f"list_differences_of_{rollup}"].sql)
    return [{"side": row["side"], "content": row["content"]} for row in rows]


async def rebuild(connection: Connection, rollup: str) -> None:
    """Empty one of `ROLLUPS` and fill it from the raw events."""
    await connection.execute(STATEMENTS[f"clear_{rollup}"].sql)
    await connection.execute(STATEMENTS[f"rebuild_{rollup}"].sql)
