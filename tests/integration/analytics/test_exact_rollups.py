"""Whatever the order, repetition and concurrency: every event counts once, and rollups equal a recount."""

import asyncio
from collections import defaultdict
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

import asyncpg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from deploy.local.bootstrap import DatabaseAddresses
from gen.campaigns.analytics.v1 import analytics_service_pb2 as pb
from gen.campaigns.analytics.v1 import catalog_service_pb2, events_pb2
from services.analytics.operations.recount import RecountOperations
from services.analytics.server import open_database
from tests.analytics_factories import (
    Stubs,
    add_catalog,
    campaign,
    event,
    ingest,
    running_server,
    settings_for,
)

ZONE = "America/New_York"
START = datetime(2025, 10, 31, tzinfo=UTC)  # the clock changes on 2 November


async def differences(database: DatabaseAddresses) -> list[Any]:
    async with open_database(settings_for(database.analytics)) as connection:
        return list(await RecountOperations(connection).reconcile())


@st.composite
def worlds(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Distinct events of a few users and campaigns, refunds of some conversions among them."""
    count = draw(st.integers(1, 25))
    rows: list[dict[str, Any]] = []
    for number in range(count):
        kind = draw(st.sampled_from(["DELIVERED", "VIEWED", "CLICKED", "CONVERTED", "NOTIFICATION_OPENED"]))
        row: dict[str, Any] = {
            "event_id": f"e{number}",
            "kind": kind,
            "user_id": draw(st.sampled_from(["u1", "u2", "u3"])),
            "campaign_id": draw(st.sampled_from(["c1", "c2"])),
            "event_time": START + timedelta(minutes=draw(st.integers(0, 6 * 24 * 60))),
            "cost": draw(st.sampled_from([None, 0.05, 1.234567])),
            "offer_amount": draw(st.sampled_from([None, 5.0, 7.5])),
        }
        if kind == "CONVERTED":
            row["revenue"] = draw(st.sampled_from([None, 10.0, 33.333333]))
            if draw(st.booleans()):
                row.update(campaign_id=None, merchant_id=1)
        rows.append(row)
        if row.get("revenue") and draw(st.booleans()):
            refund = {**row, "event_id": f"r{number}", "kind": "REFUNDED", "original_event_id": f"e{number}"}
            refund.update(
                revenue=draw(st.sampled_from([2.5, row["revenue"]])),
                event_time=row["event_time"] + timedelta(days=draw(st.integers(0, 3))),
                cost=None,
                offer_amount=None,
            )
            rows.append(refund)
    return rows


def expected_totals(rows: list[dict[str, Any]]) -> dict[str, dict[str, float]]:
    """Count the world again, in plain Python."""
    totals: dict[str, dict[str, float]] = defaultdict(lambda: defaultdict(float))
    names = {"DELIVERED": "impressions", "VIEWED": "views", "CLICKED": "clicks", "CONVERTED": "conversions"}
    for row in rows:
        if row["campaign_id"] is None:
            continue
        total = totals[row["campaign_id"]]
        if row["kind"] in names:
            total[names[row["kind"]]] += 1
        sign = -1 if row["kind"] == "REFUNDED" else 1
        total["revenue"] += sign * round((row.get("revenue") or 0) * 1_000_000)
        total["cost"] += round((row["cost"] or 0) * 1_000_000)
    return totals


async def send_everything(
    database: DatabaseAddresses, rows: list[dict[str, Any]], world: int, seed: int
) -> None:
    """Send the world by three senders in their own orders and batches, then once more in order; compare."""
    shuffler = Random(seed)  # noqa: S311
    prefix = f"w{world}-"

    def build(row: dict[str, Any]) -> events_pb2.Event:
        fields = {name: value for name, value in row.items() if name not in {"event_id", "kind"}}
        fields["user_id"] = prefix + row["user_id"]
        if row["campaign_id"] is not None:
            fields["campaign_id"] = prefix + row["campaign_id"]
        return event(row["event_id"], row["kind"], **fields)

    async with running_server(database.analytics, reporting_time_zone=ZONE) as stubs:
        await add_catalog(
            stubs,
            campaign(prefix + "c1", offer_amount=5.0, channel=1),
            campaign(prefix + "c2", merchant_id=1),
        )
        await stubs.catalog.UpsertUsers(
            catalog_service_pb2.UpsertUsersRequest(
                users=[
                    catalog_service_pb2.User(user_id=prefix + "u1", segments=["new", "vip"]),
                    catalog_service_pb2.User(user_id=prefix + "u2", segments=["vip"]),
                ]
            )
        )

        async def send(order: list[dict[str, Any]], size: int) -> None:
            for start in range(0, len(order), size):
                await ingest(stubs, *(build(row) for row in order[start : start + size]))

        orders = [shuffler.sample(rows, len(rows)) + shuffler.choices(rows, k=5) for _ in range(3)]
        await asyncio.gather(*(send(order, shuffler.randint(1, 9)) for order in orders))
        final = await ingest(stubs, *(build(row) for row in rows))
        assert list(final.rejections) == []
        again = await ingest(stubs, *(build(row) for row in rows))
        assert again.duplicate_count == len(rows)
        for campaign_id, total in expected_totals(rows).items():
            metrics = await stubs.analytics.GetCampaignMetrics(
                pb.GetCampaignMetricsRequest(campaign_id=prefix + campaign_id)
            )
            for name in ("impressions", "views", "clicks", "conversions"):
                assert getattr(metrics, name) == total[name], name
            assert (metrics.revenue, metrics.cost) == (total["revenue"] / 1e6, total["cost"] / 1e6)
            await check_ranges(stubs, prefix + campaign_id, metrics)
    assert await differences(database) == []


async def check_ranges(stubs: Stubs, campaign_id: str, life: pb.GetCampaignMetricsResponse) -> None:
    """A range over the whole life says the same as the life, intervals included."""
    ranged = await stubs.analytics.GetCampaignMetrics(
        pb.GetCampaignMetricsRequest(campaign_id=campaign_id, start_date="2025-10-01", end_date="2025-12-31")
    )
    ranged.ClearField("date_range")
    assert ranged == life
    for interval in ("hourly", "daily", "weekly", "monthly"):
        trend = await stubs.analytics.GetCampaignTrend(
            pb.GetCampaignTrendRequest(campaign_id=campaign_id, interval=interval)
        )
        assert sum(point.impressions for point in trend.points) == life.impressions
        assert sum(round(point.revenue * 1e6) for point in trend.points) == round(life.revenue * 1e6)


def test_any_interleaving_equals_a_recount(database: DatabaseAddresses) -> None:
    world = 0

    @settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
    @given(rows=worlds(), seed=st.integers(0, 2**32))
    def run(rows: list[dict[str, Any]], seed: int) -> None:
        nonlocal world
        world += 1
        asyncio.run(send_everything(database, rows, world, seed))

    run()


async def test_two_senders_of_the_same_events_count_them_once(database: DatabaseAddresses) -> None:
    async with (
        running_server(database.analytics, concurrent_batches=8) as one,
        running_server(database.analytics, concurrent_batches=8) as other,
    ):
        await add_catalog(one)
        batches = [
            [
                event(f"e{n}", "VIEWED", user_id=f"u{n % 7}", campaign_id=f"c{1 + n % 2}")
                for n in range(start, start + 200)
            ]
            for start in range(0, 1000, 100)
        ]
        calls = [ingest(stubs, *batch) for batch in batches for stubs in (one, other, one)]
        answers = await asyncio.gather(*calls)
        assert sum(answer.accepted_count for answer in answers) == 1100
        assert sum(answer.accepted_count + answer.duplicate_count for answer in answers) == 3 * 10 * 200
    assert await differences(database) == []


async def test_concurrent_refunds_take_no_more_than_the_original(database: DatabaseAddresses) -> None:
    async with running_server(database.analytics, concurrent_batches=8) as stubs:
        await add_catalog(stubs)
        await ingest(stubs, event("sale", "CONVERTED", revenue=10))
        refunds = [event(f"r{n}", "REFUNDED", revenue=4, original_event_id="sale") for n in range(6)]
        answers = await asyncio.gather(*(ingest(stubs, refund) for refund in refunds))
        assert sum(answer.accepted_count for answer in answers) == 2
        metrics = await stubs.analytics.GetCampaignMetrics(pb.GetCampaignMetricsRequest(campaign_id="c1"))
        assert metrics.revenue == 2
    assert await differences(database) == []


async def test_catalog_changes_under_load_leave_one_currency_and_exact_rollups(
    database: DatabaseAddresses,
) -> None:
    async with running_server(database.analytics) as stubs:
        await add_catalog(stubs)

        async def change(number: int) -> None:
            changed = campaign("c1", offer_amount=float(number), currency_code="USD")
            await stubs.catalog.UpsertCampaigns(
                catalog_service_pb2.UpsertCampaignsRequest(campaigns=[changed])
            )

        sends = [ingest(stubs, *(event(f"e{n}-{m}") for m in range(20))) for n in range(10)]
        answers = await asyncio.gather(*sends, *(change(n) for n in range(5)))
        assert sum(a.accepted_count for a in answers if a is not None) == 200
    connection = await asyncpg.connect(database.analytics)
    try:
        currencies = await connection.fetch("select distinct currency_code from events")
    finally:
        await connection.close()
    assert [row[0] for row in currencies] == ["USD"]
    assert await differences(database) == []


async def test_a_collision_is_retried_within_the_request(database: DatabaseAddresses) -> None:
    """A batch in a deadlock with another transaction is rolled back, run again, and counted once."""
    async with running_server(database.analytics) as stubs:
        await add_catalog(stubs)
        await ingest(stubs, event("first", campaign_id="c1"), event("first", user_id="u2", campaign_id="c2"))
        rival = await asyncpg.connect(database.admin)
        try:
            await rival.execute("set search_path = analytics; set deadlock_timeout = '10s'")
            transaction = rival.transaction()
            await transaction.start()
            await rival.execute("update campaign_totals set users = users where campaign_id = 'c1'")
            sending = asyncio.create_task(
                ingest(
                    stubs, event("second", campaign_id="c1"), event("second", user_id="u2", campaign_id="c2")
                )
            )
            while not await rival.fetchval("select exists (select from pg_locks where not granted)"):
                assert not sending.done()
            # The batch holds its rows of the user totals and waits for c1; asking for one closes the circle.
            await rival.execute("update campaign_user_totals set views = views where campaign_id = 'c1'")
            await transaction.rollback()
            assert (await sending).accepted_count == 2
        finally:
            await rival.close()
    assert await differences(database) == []


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
