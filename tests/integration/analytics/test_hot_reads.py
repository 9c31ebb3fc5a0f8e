"""How PostgreSQL answers the hot reads over 100,000 daily rows: from indexes, and sorting next to nothing.

Plans are those that the services' statements settle on (generic ones), and they are run, not only estimated.
"""

import json
from collections.abc import Iterator
from datetime import date, timedelta
from typing import Any

import asyncpg
import pytest

from benchmarks.daily_world import LAST_DAY, World, write_world
from deploy.local.bootstrap import DatabaseAddresses
from services.analytics.domain.metrics import DateRange
from services.analytics.store.statements import STATEMENTS
from services.analytics.store.trends import whole_weeks

WORLD = World(campaigns=1600, days=63)
LARGE_TABLES = {
    "campaign_analytics_daily",
    "campaign_analytics_weekly",
    "campaign_last_30_days",
    "campaign_totals",
    "campaigns",
}
LIFE = DateRange(start=WORLD.first_day, end=LAST_DAY)
RANKED = {
    name.removeprefix("list_top_of_last_30_days_by_"): name
    for name in STATEMENTS
    if name.startswith("list_top_of_last_30_days_by_")
}
READS: dict[str, tuple[tuple[Any, ...], set[str], int]] = {
    **{
        name: ((LAST_DAY, ""), {f"campaign_last_30_days_{metric}_idx", "campaigns_pkey"}, 10)
        for metric, name in RANKED.items()
    },
    "list_campaign_days": (
        ("campaign-000007", LAST_DAY - timedelta(days=44), LAST_DAY),
        {"campaign_analytics_daily_pkey"},
        45,
    ),
    "list_campaign_weeks": (
        ("campaign-000007", LIFE.start, LIFE.end, *whole_weeks(LIFE)),
        {"campaign_analytics_weekly_pkey", "campaign_analytics_daily_pkey"},
        10,
    ),
    "fetch_campaign_life": (("campaign-000007",), {"campaign_totals_pkey", "campaigns_pkey"}, 1),
    "fetch_campaign_days_bounds": (("campaign-000007",), {"campaign_analytics_daily_pkey"}, 1),
    "list_campaigns": (("campaign-000007", 51), {"campaigns_pkey"}, 51),
}
"""What each read is asked, the indexes it must use, and the rows it answers with."""


async def explain(addresses: DatabaseAddresses, name: str, arguments: tuple[Any, ...]) -> dict[str, Any]:
    connection = await asyncpg.connect(addresses.analytics)
    try:
        await connection.execute("set plan_cache_mode = force_generic_plan")
        plan = await connection.fetchval(f"explain (analyze, format json) {STATEMENTS[name].sql}", *arguments)
    finally:
        await connection.close()
    return dict(json.loads(plan)[0]["Plan"])


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for inner in plan.get("Plans", ()):
        yield from nodes(inner)


async def test_hot_reads_are_answered_from_indexes(database: DatabaseAddresses) -> None:
    await write_world(database.admin, WORLD)
    for name, (arguments, indexes, rows) in READS.items():
        plan = await explain(database, name, arguments)
        used = {node["Index Name"] for node in nodes(plan) if "Index Name" in node}
        assert used >= indexes, (name, used)
        assert plan["Actual Rows"] == rows, name
        for node in nodes(plan):
            is_scan = node["Node Type"] in ("Seq Scan", "Bitmap Heap Scan")
            assert not (is_scan and node["Relation Name"] in LARGE_TABLES), (name, node["Relation Name"])
            assert node.get("Sort Space Type", "Memory") == "Memory", name
        read = sum(node["Actual Rows"] * node["Actual Loops"] for node in nodes(plan) if "Index Name" in node)
        assert read <= 800, (name, read)


async def test_days_of_every_campaign_are_found_by_their_days(database: DatabaseAddresses) -> None:
    """Other windows than the one kept cost what they hold, not what history holds."""
    await write_world(database.admin, WORLD)
    end = LAST_DAY - timedelta(days=40)
    arguments = (end - timedelta(days=1), end, "roas", 0, "", 10)
    plan = await explain(database, "rank_campaigns", arguments)
    scans = [node for node in nodes(plan) if node.get("Relation Name") == "campaign_analytics_daily"]
    assert [node["Node Type"] for node in scans] == ["Bitmap Heap Scan"]
    assert "campaign_analytics_daily_day_idx" in {node.get("Index Name") for node in nodes(plan)}
    looked_at = sum(node["Actual Rows"] + node.get("Rows Removed by Index Recheck", 0) for node in scans)
    assert looked_at < 0.2 * WORLD.campaigns * WORLD.days
    assert all(node.get("Sort Space Type", "Memory") == "Memory" for node in nodes(plan))


@pytest.mark.parametrize("end", [LAST_DAY - timedelta(days=1), LAST_DAY + timedelta(days=1)])
async def test_a_window_that_ends_elsewhere_has_no_answer(database: DatabaseAddresses, end: date) -> None:
    await write_world(database.admin, World(campaigns=30, days=40))
    connection = await asyncpg.connect(database.analytics)
    try:
        for name in RANKED.values():
            assert len(await connection.fetch(STATEMENTS[name].sql, LAST_DAY, "")) == 10, name
            assert await connection.fetch(STATEMENTS[name].sql, end, "") == [], name
    finally:
        await connection.close()
