"""The statements behind the hot reads, each on a warm connection, against `select 1` on the same."""

import asyncio
import tempfile
from collections.abc import Mapping
from datetime import date, timedelta
from functools import partial
from pathlib import Path
from random import Random

import asyncpg
import duckdb

from benchmarks.common import Mark, Timing, Work, running_database, say, time_in_turns
from benchmarks.daily_world import LAST_DAY, World, write_world
from deploy.local.bootstrap import DatabaseAddresses
from services.analytics.domain.metrics import DateRange
from services.analytics.store.statements import STATEMENTS
from services.analytics.store.trends import whole_weeks

SMALL = World(campaigns=100, days=90)
# Nothing is replicated, so that a table filled in the transaction that made it needs no log.
_SETTINGS = {"fsync": "off", "wal_level": "minimal", "max_wal_senders": "0"}
_BASE = "select 1"
_LIMITS = {
    "portfolio, 30 days": 2.0,
    "top 10, 30 days": 3.0,
    "one campaign, 90 days": 2.5,
    "one campaign, 5 years weekly": 3.0,
}
_FLOORS = {"90 rows of seven values from no table": 90, "261 rows of seven values from no table": 261}
"""What the answers of the two rows before cost to send and decode, whatever they are read from."""
_TOLD = ("one campaign, 90 days added up", *_FLOORS)
_SAME_QUESTION = ("portfolio, 30 days", "top 10, 30 days", "one campaign, 90 days")
_GROWTH_LIMIT, _DUCKDB_LIMIT = 1.3, 5.0
_FLOOR = """
select date '2026-01-01' + n, n::bigint, n::bigint, n::bigint, n::bigint, n::bigint, n::bigint
from generate_series(1, $1::integer) n
"""
_DUCKDB = {
    "portfolio, 30 days": """
        select
            sum(impressions), sum(views), sum(clicks), sum(conversions), sum(revenue_micros),
            sum(cost_micros), count(distinct campaign_id)
        from campaign_analytics_daily
        where day between $1 and $2
    """,
    "top 10, 30 days": """
        select
            campaign_id, sum(impressions), sum(views), sum(clicks), sum(conversions), sum(revenue_micros),
            sum(cost_micros)
        from campaign_analytics_daily
        where day between $1 and $2
        group by campaign_id
        having sum(conversions) >= 20 and sum(cost_micros) > 0
        order by sum(revenue_micros) / sum(cost_micros) desc, campaign_id
        limit 10
    """,
}
_EXPORT = """
select campaign_id, day, impressions, views, clicks, conversions, revenue_micros, cost_micros
from campaign_analytics_daily
"""


def build_reads(connection: asyncpg.Connection, world: World) -> Mapping[str, Work]:
    """Return the hot reads of a world; campaigns are drawn anew at every call, so that none is a cache's."""
    random = Random(1)  # noqa: S311 (chooses campaigns; nothing secret)

    def campaign_id() -> str:
        return f"campaign-{random.randint(1, world.campaigns):06d}"

    def sql(name: str) -> str:
        return STATEMENTS[name].sql

    start = LAST_DAY - timedelta(days=29)
    before = (start - timedelta(days=30), start - timedelta(days=1))
    life = DateRange(start=world.first_day, end=LAST_DAY)
    return {
        _BASE: lambda: connection.fetchval("select 1"),
        "portfolio, 30 days": lambda: connection.fetch(sql("list_portfolio_days"), start, LAST_DAY),
        "portfolio, 30 days, with those before": lambda: connection.fetch(
            sql("list_portfolio_sides"), start, LAST_DAY, None, None, *before, None, None, True
        ),
        "top 10, 30 days": lambda: connection.fetch(sql("list_top_of_last_30_days_by_roas"), LAST_DAY, ""),
        "one campaign, 90 days": lambda: connection.fetch(
            sql("list_campaign_days"), campaign_id(), LAST_DAY - timedelta(days=89), LAST_DAY
        ),
        "one campaign, 5 years weekly": lambda: connection.fetch(
            sql("list_campaign_weeks"), campaign_id(), life.start, life.end, *whole_weeks(life)
        ),
        "one campaign, 90 days added up": lambda: connection.fetch(
            sql("fetch_window_totals"), campaign_id(), LAST_DAY - timedelta(days=89), LAST_DAY
        ),
        **{name: partial(connection.fetch, _FLOOR, rows) for name, rows in _FLOORS.items()},
    }


async def measure_statements(world: World, *, rounds: int) -> list[Mark]:
    """Build the world and a small one, and return the ratios with their pass marks."""
    async with running_database(_SETTINGS) as big, running_database(_SETTINGS) as small:
        await write_world(small.admin, SMALL)
        await write_world(big.admin, world)
        connections = [await asyncpg.connect(addresses.analytics) for addresses in (big, small)]
        try:
            reads = build_reads(connections[0], world)
            marks = _judge_reads(await time_in_turns(reads, rounds=rounds), world)
            marks += await _judge_growth(reads, build_reads(connections[1], SMALL), rounds)
            marks += await _compare_with_duckdb(big, reads, rounds)
        finally:
            for connection in connections:
                await connection.close()
    return marks


def _judge_reads(timings: Mapping[str, Timing], world: World) -> list[Mark]:
    base = timings[_BASE]
    say(f"select 1: {base.seconds * 1e6:.0f} us")
    return [
        Mark(
            name=f"{name} / select 1",
            value=timings[name].ratio_to(base),
            limit=limit,
            detail=f"{timings[name].seconds * 1e6:.0f} us / {base.seconds * 1e6:.0f} us, {world.name}",
        )
        for name, limit in {**_LIMITS, **dict.fromkeys(_TOLD)}.items()
    ]


async def _judge_growth(big: Mapping[str, Work], small: Mapping[str, Work], rounds: int) -> list[Mark]:
    marks = []
    for name in _SAME_QUESTION:
        timings = await time_in_turns({"big": big[name], "small": small[name]}, rounds=rounds)
        marks.append(
            Mark(
                name=f"{name}: against {SMALL.name}",
                value=timings["big"].ratio_to(timings["small"]),
                limit=_GROWTH_LIMIT,
                detail=f"{timings['big'].seconds * 1e6:.0f} us / {timings['small'].seconds * 1e6:.0f} us",
            )
        )
    return marks


async def _compare_with_duckdb(
    addresses: DatabaseAddresses, reads: Mapping[str, Work], rounds: int
) -> list[Mark]:
    """Ask DuckDB the same of the same rows, in its own file and in the order of their days."""
    with tempfile.TemporaryDirectory(prefix="benchmark-duckdb-") as folder:
        rows = Path(folder) / "days.csv"
        await _export_days(addresses, rows)
        duck = duckdb.connect(str(Path(folder) / "days.duckdb"))
        try:
            await asyncio.to_thread(_load_duckdb, duck, rows)
            start = LAST_DAY - timedelta(days=29)
            marks = []
            for name, sql in _DUCKDB.items():
                asked = _ask_duckdb(duck, sql, start)
                timings = await time_in_turns({"own": reads[name], "duckdb": asked}, rounds=rounds, calls=10)
                detail = f"{timings['duckdb'].seconds * 1e6:.0f} us / {timings['own'].seconds * 1e6:.0f} us"
                marks.append(
                    Mark(
                        name=f"{name}: DuckDB {duckdb.__version__} on daily rows / ours",
                        value=timings["duckdb"].ratio_to(timings["own"]),
                        limit=_DUCKDB_LIMIT,
                        at_most=False,
                        detail=detail,
                    )
                )
        finally:
            duck.close()
    return marks


def _ask_duckdb(duck: duckdb.DuckDBPyConnection, sql: str, start: date) -> Work:
    async def ask() -> object:
        return duck.execute(sql, [start, LAST_DAY]).fetchall()

    return ask


async def _export_days(addresses: DatabaseAddresses, path: Path) -> None:
    connection = await asyncpg.connect(addresses.analytics)
    try:
        await connection.copy_from_query(_EXPORT, output=path, format="csv")
    finally:
        await connection.close()


def _load_duckdb(duck: duckdb.DuckDBPyConnection, rows: Path) -> None:
    duck.execute(
        "create table campaign_analytics_daily (campaign_id text, day date, impressions bigint, views bigint,"
        " clicks bigint, conversions bigint, revenue_micros bigint, cost_micros bigint)"
    )
    duck.execute("copy campaign_analytics_daily from $1", [str(rows)])
    rows.unlink()
    say("DuckDB holds the daily rows")
