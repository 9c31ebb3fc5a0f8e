"""Rollups are told from damage, count odd hours, and move on by the day."""

from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import asyncpg
import pytest

from deploy.local.bootstrap import DatabaseAddresses
from gen.campaigns.analytics.v1 import analytics_service_pb2 as pb
from services.analytics.operations.recount import RecountOperations
from services.analytics.operations.rolling import RollingOperations
from services.analytics.server import open_database
from tests.analytics_factories import (
    add_catalog,
    event,
    ingest,
    running_server,
    settings_for,
)
from tests.integration.analytics.recounts import differences


async def test_a_damaged_rollup_is_found_and_rebuilt(database: DatabaseAddresses) -> None:
    async with running_server(database.analytics) as stubs:
        await add_catalog(stubs)
        await ingest(stubs, event("a"), event("b", "CONVERTED", revenue=3))
    connection = await asyncpg.connect(database.analytics)
    try:
        await connection.execute("update campaign_analytics_daily set views = views + 1")
        await connection.execute("delete from campaign_trend_data")
    finally:
        await connection.close()
    found = await differences(database)
    assert sorted((d.rollup, d.side) for d in found) == [
        ("campaign_analytics_daily", "recounted"),
        ("campaign_analytics_daily", "stored"),
        ("campaign_trend_data", "recounted"),
    ]
    async with open_database(settings_for(database.analytics)) as opened:
        assert await RecountOperations(opened).rebuild(None) == "UTC"
    assert await differences(database) == []


@pytest.mark.parametrize("zone", ["Asia/Kolkata", "Australia/Lord_Howe"])
async def test_hours_of_odd_zones_are_exact(database: DatabaseAddresses, zone: str) -> None:
    """Half-hour offsets, and a clock that changes by half an hour (Lord Howe, on 2026-04-05 at 02:00)."""
    start = datetime(2026, 4, 4, 10, tzinfo=UTC)
    async with running_server(
        database.analytics, reporting_time_zone=zone, clock=lambda: datetime(2026, 5, 1, tzinfo=UTC)
    ) as stubs:
        await add_catalog(stubs)
        moments = [start + timedelta(minutes=10 * n) for n in range(100)]
        await ingest(stubs, *(event(f"e{n}", event_time=moment) for n, moment in enumerate(moments)))
        for interval in ("hourly", "daily"):
            request = pb.GetCampaignTrendRequest(campaign_id="c1", interval=interval)
            trend = await stubs.analytics.GetCampaignTrend(request)
            assert sum(point.impressions for point in trend.points) == 100
            periods = [point.period for point in trend.points]
            assert len(set(periods)) == len(periods)
    assert await differences(database) == []


async def test_the_last_30_days_move_on(database: DatabaseAddresses) -> None:
    """Events before, in and after the window; what lay ahead is counted when its day comes."""
    day = datetime(2026, 3, 1, 12, tzinfo=UTC)
    async with running_server(database.analytics, clock=lambda: day + timedelta(days=90)) as stubs:
        await add_catalog(stubs)

        async def read() -> list[tuple[Any, ...]]:
            connection = await asyncpg.connect(database.analytics)
            try:
                campaigns = await connection.fetch(
                    "select campaign_id, impressions, revenue_micros, roas from campaign_last_30_days"
                    " order by 1"
                )
                portfolio = await connection.fetchrow(
                    "select sum(campaigns)::int, sum(campaigns_with_cost)::int, sum(roas_nanos)::bigint,"
                    " sum(impressions)::int, sum(purchases)::int from portfolio_last_30_days"
                )
            finally:
                await connection.close()
            assert await differences(database) == []
            return [*(tuple(row) for row in campaigns), tuple(portfolio or ())]

        async def roll(days: int) -> date:
            async with open_database(settings_for(database.analytics)) as opened:
                clock = day + timedelta(days=days)
                return await RollingOperations(opened, zone=ZoneInfo("UTC"), clock=lambda: clock).roll()

        await ingest(stubs, event("a", event_time=day, cost=2))
        assert await read() == [(None,) * 5]
        assert await roll(0) == day.date()
        assert await read() == [("c1", 1, 0, 0.0), (1, 1, 0, 1, 0)]
        await ingest(
            stubs,
            event("b", "CONVERTED", event_time=day - timedelta(days=29), revenue=3),
            event("old", event_time=day - timedelta(days=30)),
            event("ahead", event_time=day + timedelta(days=1), campaign_id="c2"),
            event("p", "CONVERTED", campaign_id=None, merchant_id=1, revenue=1, event_time=day),
        )
        assert await read() == [("c1", 1, 3_000_000, 1.5), (1, 1, 1_500_000_000, 1, 1)]
        assert await roll(1) == (day + timedelta(days=1)).date()
        assert await read() == [("c1", 1, 0, 0.0), ("c2", 1, 0, None), (2, 1, 0, 2, 1)]
        # A replica whose clock is behind by a day leaves the window; one that is behind by more moves it.
        assert await roll(0) == (day + timedelta(days=1)).date()
        assert await roll(-1) == (day - timedelta(days=1)).date()
        assert await read() == [("c1", 1, 3_000_000, None), (1, 0, 0, 1, 0)]
