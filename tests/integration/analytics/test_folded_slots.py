"""The portfolio's slots of days that are over become one, and nothing else changes."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import asyncpg

from deploy.local.bootstrap import DatabaseAddresses
from gen.campaigns.analytics.v1 import analytics_service_pb2 as pb
from services.analytics.operations.recount import RecountOperations
from services.analytics.operations.rolling import RollingOperations
from services.analytics.server import open_database
from tests.analytics_factories import (
    NOW,
    Stubs,
    add_catalog,
    campaign,
    event,
    ingest,
    running_server,
    settings_for,
)

SLOTS = """
select day::text, count(*) filter (where slot <> 0) as others, count(*) as slots
from portfolio_analytics_daily group by day order by day
"""


async def send(stubs: Stubs, name: str, time: str) -> None:
    """One batch per event, so that they spread over the slots."""
    for number in range(12):
        about = {"user_id": f"u{number}", "campaign_id": f"c{1 + number % 2}", "event_time": time}
        revenue = {"revenue": 1.25 + number} if number % 3 == 0 else {}
        kind = "CONVERTED" if revenue else "DELIVERED"
        await ingest(stubs, event(f"{name}{number}", kind, cost=0.1 * number, **about, **revenue))


async def fetch_slots(addresses: DatabaseAddresses) -> dict[str, tuple[int, int]]:
    connection = await asyncpg.connect(addresses.analytics)
    try:
        return {row["day"]: (row["others"], row["slots"]) for row in await connection.fetch(SLOTS)}
    finally:
        await connection.close()


async def test_days_that_are_over_have_one_slot(database: DatabaseAddresses) -> None:
    question = pb.GetPortfolioPerformanceRequest(start_date="2026-03-01", end_date="2026-03-31")
    async with (
        running_server(database.analytics) as stubs,
        open_database(settings_for(database.analytics)) as own,
    ):
        await add_catalog(stubs, campaign("c1"), campaign("c2", merchant_id=2))
        await send(stubs, "a", "2026-03-30T10:00:00+00:00")
        await send(stubs, "b", "2026-03-31T10:00:00+00:00")
        before = await stubs.analytics.GetPortfolioPerformance(question)
        scattered = await fetch_slots(database)
        assert scattered["2026-03-30"][1] > 2

        rolling = RollingOperations(own, zone=ZoneInfo("UTC"), clock=lambda: NOW)
        assert str(await rolling.roll()) == "2026-03-31"
        folded = await fetch_slots(database)
        assert folded["2026-03-30"] == (0, 2)  # a row per currency
        assert folded["2026-03-31"] == scattered["2026-03-31"]
        assert await stubs.analytics.GetPortfolioPerformance(question) == before
        assert await RecountOperations(own).reconcile() == []

        await send(stubs, "late", "2026-03-30T11:00:00+00:00")
        tomorrow = datetime(2026, 4, 1, 0, 5, tzinfo=UTC)
        await RollingOperations(own, zone=ZoneInfo("UTC"), clock=lambda: tomorrow).roll()
        assert set((await fetch_slots(database)).values()) == {(0, 2)}
        assert await RecountOperations(own).reconcile() == []
