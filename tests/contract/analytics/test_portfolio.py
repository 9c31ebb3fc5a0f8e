# ruff: noqa: ANN401 (stubs are untyped)
"""The portfolio against a count in plain Python, whichever rollups it is read from."""

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from random import Random
from typing import Any
from zoneinfo import ZoneInfo

import asyncpg
import pytest

from deploy.local.bootstrap import DatabaseAddresses
from gen.campaigns.analytics.v1 import analytics_service_pb2 as pb
from services.analytics.operations.rolling import RollingOperations
from services.analytics.server import open_database
from tests.analytics_factories import (
    Stubs,
    add_catalog,
    event,
    ingest,
    refusal,
    running_server,
    settings_for,
    timestamp,
)

KINDS = {
    "DELIVERED": "impressions",
    "VIEWED": "views",
    "CONVERTED": "conversions",
    "NOTIFICATION_DELIVERED": "notification_deliveries",
    "NOTIFICATION_OPENED": "notification_opens",
    "GEOFENCE_ENTERED": "geofence_entries",
    "UNSUBSCRIBED": "unsubscribes",
}
DAYS = 30
Row = dict[str, Any]


def draw_events(end: datetime, *, days: int, seed: int) -> list[Row]:
    """Events of some days up to a moment, most of them of the last hours; some outside campaigns."""
    random = Random(seed)  # noqa: S311
    rows = []
    for number in range(150):
        seconds = random.choice([random.randrange(days * 86_400), random.randrange(9 * 3600)])
        kind = random.choice(list(KINDS))
        row: Row = {
            "event_id": f"e{number}",
            "kind": kind,
            "event_time": end - timedelta(seconds=seconds),
            "campaign_id": random.choice(["c1", "c2"]),
            "user_id": f"u{number % 9}",
            "cost": random.choice([None, 0.25, 1.5]),
        }
        if kind == "CONVERTED":
            row["revenue"] = random.choice([3.0, 12.5])
        if kind in {"CONVERTED", "GEOFENCE_ENTERED", "UNSUBSCRIBED"} and random.random() < 0.4:
            row.update(campaign_id=None, merchant_id=1)
        rows.append(row)
    return rows


def count(rows: Sequence[Row], first: date, moment: datetime, zone: ZoneInfo) -> dict[str, float]:
    """Count events from the beginning of a day up to a moment, included."""
    chosen = [
        r for r in rows if first <= r["event_time"].astimezone(zone).date() and r["event_time"] <= moment
    ]
    sums = dict.fromkeys([*KINDS.values(), "revenue", "cost", "purchase_count", "purchase_revenue"], 0.0)
    campaigns: dict[str, list[float]] = {}
    for row in chosen:
        sums["cost"] += row["cost"] or 0
        if row["campaign_id"] is None and row["kind"] == "CONVERTED":
            sums["purchase_count"] += 1
            sums["purchase_revenue"] += row["revenue"]
            continue
        sums[KINDS[row["kind"]]] += 1
        sums["revenue"] += row.get("revenue") or 0
        if row["campaign_id"] is not None:
            own = campaigns.setdefault(row["campaign_id"], [0, 0])
            own[0] += row.get("revenue") or 0
            own[1] += row["cost"] or 0
    sums["campaigns"] = len(campaigns)
    ratios = [revenue / cost for revenue, cost in campaigns.values() if cost]
    sums["average_roas"] = sum(ratios) / len(ratios) if ratios else 0
    return sums


def told(answer: pb.GetPortfolioPerformanceResponse) -> dict[str, float]:
    """The same figures of an answer."""
    names = [*KINDS.values(), "revenue", "cost", "purchase_count", "purchase_revenue"]
    return {
        **{name: getattr(answer.totals, name) for name in names},
        "campaigns": answer.total_campaigns,
        "average_roas": answer.average_roas,
    }


async def ask(stubs: Stubs, **query: Any) -> pb.GetPortfolioPerformanceResponse:
    request = pb.GetPortfolioPerformanceRequest(**query)
    answer: pb.GetPortfolioPerformanceResponse = await stubs.analytics.GetPortfolioPerformance(request)
    return answer


@pytest.mark.parametrize(
    ("zone_name", "end"),
    [
        ("America/New_York", datetime(2025, 11, 2, 6, 40, tzinfo=UTC)),  # 01:40 for the second time
        ("Australia/Lord_Howe", datetime(2026, 4, 4, 15, 20, tzinfo=UTC)),  # 01:50 for the second time
        ("Asia/Kolkata", datetime(2026, 3, 3, 9, 0, tzinfo=UTC)),  # on the half hour
        ("UTC", datetime(2026, 3, 3, 0, 0, tzinfo=UTC)),  # as a day begins
    ],
)
async def test_a_part_of_a_day_is_counted_to_the_second(
    database: DatabaseAddresses, zone_name: str, end: datetime
) -> None:
    zone = ZoneInfo(zone_name)
    rows = draw_events(end + timedelta(hours=2), days=4, seed=5)
    async with running_server(
        database.analytics, reporting_time_zone=zone_name, clock=lambda: end + timedelta(hours=3)
    ) as stubs:
        await add_catalog(stubs)
        await ingest(stubs, *(event(r["event_id"], r["kind"], **_fields(r)) for r in rows))
        for minutes in (0, 7, 29, 30, 31, 60, 95, 600):
            as_of = end - timedelta(minutes=minutes)
            for days in (1, 3):
                answer = await ask(stubs, days=days, as_of=timestamp(as_of))
                first = as_of.astimezone(zone).date() - timedelta(days=days - 1)
                assert told(answer) == pytest.approx(count(rows, first, as_of, zone)), (minutes, days)


async def test_the_last_30_days_are_the_same_wherever_they_are_read(database: DatabaseAddresses) -> None:
    end = datetime(2026, 3, 31, 12, 30, tzinfo=UTC)
    rows = draw_events(end, days=75, seed=8)
    async with running_server(database.analytics, clock=lambda: end) as stubs:
        await add_catalog(stubs)
        await ingest(stubs, *(event(r["event_id"], r["kind"], **_fields(r)) for r in rows[:100]))
        async with open_database(settings_for(database.analytics)) as opened:
            await RollingOperations(opened, zone=ZoneInfo("UTC"), clock=lambda: end).roll()
        await ingest(stubs, *(event(r["event_id"], r["kind"], **_fields(r)) for r in rows[100:]))
        kept = await ask(stubs)
        async with open_database(settings_for(database.analytics)) as opened:
            past = end - timedelta(days=9)
            await RollingOperations(opened, zone=ZoneInfo("UTC"), clock=lambda: past).roll()
        counted = await ask(stubs)
    first = end.date() - timedelta(days=DAYS - 1)
    assert told(kept) == pytest.approx(count(rows, first, end, ZoneInfo("UTC")))
    assert kept == counted
    before = [row for row in rows if row["event_time"].date() < first]
    until = end - timedelta(days=DAYS)
    expected = count(before, first - timedelta(days=DAYS), until, ZoneInfo("UTC"))
    totals = kept.change.totals
    assert (totals.impressions, totals.revenue) == (expected["impressions"], expected["revenue"])
    assert (totals.geofence_entries, totals.cost) == (expected["geofence_entries"], expected["cost"])
    assert totals.notification_open_rate == (
        expected["notification_opens"] / expected["notification_deliveries"]
    )


async def test_an_empty_portfolio_is_zero_of_nothing(database: DatabaseAddresses) -> None:
    async with running_server(database.analytics) as stubs:
        empty = await ask(stubs)
        async with open_database(settings_for(database.analytics)) as opened:
            clock = datetime(2026, 3, 31, 12, tzinfo=UTC)
            await RollingOperations(opened, zone=ZoneInfo("UTC"), clock=lambda: clock).roll()
        assert await ask(stubs) == empty
    assert (empty.total_campaigns, empty.totals.impressions, len(empty.currencies)) == (0, 0, 0)
    assert not empty.HasField("average_roas")


def _fields(row: Row) -> Row:
    return {name: value for name, value in row.items() if name not in {"event_id", "kind"}}


async def test_a_time_of_day_needs_the_events_of_that_day(database: DatabaseAddresses) -> None:
    """Hours are kept as sums, and nobody can cut one up when its events are dropped."""
    now = datetime(2026, 3, 10, 12, tzinfo=UTC)
    async with running_server(database.analytics, clock=lambda: now) as stubs:
        await add_catalog(stubs)
        await ingest(stubs, event("a", event_time="2026-03-01T10:10:00+00:00"))
        connection = await asyncpg.connect(database.admin)
        try:
            await connection.execute("update analytics.reporting_settings set sealed_through = '2026-03-02'")
        finally:
            await connection.close()
        sealed = pb.GetPortfolioPerformanceRequest(days=1, as_of=timestamp("2026-03-02T10:30:00+00:00"))
        refused = await refusal(stubs.analytics.GetPortfolioPerformance(sealed))
        assert (refused.code, refused.reason) == ("FAILED_PRECONDITION", "EVENTS_SEALED")
        assert refused.fields == {"as_of": "EVENTS_SEALED"}
        kept = pb.GetPortfolioPerformanceRequest(days=3, as_of=timestamp("2026-03-03T10:30:00+00:00"))
        assert (await stubs.analytics.GetPortfolioPerformance(kept)).totals.impressions == 1
        whole = pb.GetPortfolioPerformanceRequest(start_date="2026-03-01", end_date="2026-03-02")
        assert (await stubs.analytics.GetPortfolioPerformance(whole)).totals.impressions == 1
