"""Whatever the order, repetition and concurrency: every event counts once, and rollups equal a recount."""

import asyncio
from collections import defaultdict
from contextlib import AsyncExitStack
from datetime import UTC, date, datetime, timedelta
from functools import partial
from random import Random
from typing import Any
from zoneinfo import ZoneInfo

import asyncpg
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from deploy.local.bootstrap import DatabaseAddresses
from gen.campaigns.analytics.v1 import analytics_service_pb2 as pb
from gen.campaigns.analytics.v1 import catalog_service_pb2, events_pb2
from services.analytics.operations.retries import Retries
from services.analytics.operations.rolling import RollingOperations
from services.analytics.server import open_database
from services.analytics.store.ingestion import fix_currencies, open_batch
from services.analytics.store.rolling import CostChange, count_cost_changes
from tests.analytics_factories import (
    Stubs,
    add_catalog,
    campaign,
    event,
    ingest,
    running_server,
    settings_for,
)
from tests.integration.analytics.recounts import differences

ZONE = "America/New_York"
START = datetime(2025, 10, 31, tzinfo=UTC)  # the clock changes on 2 November
KINDS = [
    "DELIVERED",
    "VIEWED",
    "CLICKED",
    "CONVERTED",
    "CONVERTED",
    "NOTIFICATION_DELIVERED",
    "NOTIFICATION_OPENED",
    "GEOFENCE_ENTERED",
    "UNSUBSCRIBED",
    "CUSTOM",
]
WITHOUT_CAMPAIGN = {"CONVERTED", "GEOFENCE_ENTERED", "UNSUBSCRIBED", "CUSTOM"}


@st.composite
def worlds(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Distinct events of a few users and campaigns, refunds of some conversions among them."""
    count = draw(st.integers(1, 25))
    rows: list[dict[str, Any]] = []
    for number in range(count):
        kind = draw(st.sampled_from(KINDS))
        row: dict[str, Any] = {
            "event_id": f"e{number}",
            "kind": kind,
            "user_id": draw(st.sampled_from(["u1", "u2", "u3"])),
            "campaign_id": draw(st.sampled_from(["c1", "c2"])),
            "event_time": START + timedelta(minutes=draw(st.integers(0, 6 * 24 * 60))),
            "cost": draw(st.sampled_from([None, 0.05, 1.234567])),
            "offer_amount": draw(st.sampled_from([None, 5.0, 7.5])),
            "channel": draw(st.sampled_from([None, 2, 3])),
            "merchant_id": draw(st.sampled_from([None, 1, 2])),
            "custom_event_name": "shared" if kind == "CUSTOM" else None,
        }
        if kind == "CONVERTED":
            row["revenue"] = draw(st.sampled_from([None, 10.0, 33.333333]))
        if kind in WITHOUT_CAMPAIGN and draw(st.booleans()):
            row.update(campaign_id=None, merchant_id=draw(st.sampled_from([1, 2])))
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


async def roll_to(database: DatabaseAddresses, moment: datetime) -> date:
    """Have the last 30 days end with the day of a moment."""
    async with open_database(settings_for(database.analytics)) as opened:
        return await RollingOperations(opened, zone=ZoneInfo(ZONE), clock=lambda: moment).roll()


async def count_costs(database: DatabaseAddresses, campaign_id: str, shuffler: Random) -> int:
    """Import costs of a campaign on some days and channels, then take some back; return what is left."""
    days = [START.date() + timedelta(days=shuffler.randint(-1, 6)) for _ in range(3)]
    total = 0
    async with open_database(settings_for(database.analytics)) as opened:

        async def add(changes: list[CostChange], slot: int) -> None:
            async with opened.transaction() as connection:
                await open_batch(connection)
                await fix_currencies(connection, {campaign_id: "USD"})
                for channel, change in enumerate(changes):
                    await connection.execute(
                        "insert into campaign_daily_costs as c"
                        " (campaign_id, day, channel, currency_code, cost_micros)"
                        " values ($1, $2, $3, 'USD', greatest($4::bigint, 0)) on conflict"
                        " (campaign_id, day, channel) do update set cost_micros = c.cost_micros + $4",
                        campaign_id,
                        change.day,
                        channel,
                        change.cost_micros,
                    )
                await count_cost_changes(connection, changes, slot=slot)

        for costs in ((1332, 1665, 0), (-666, -1665, 0)):
            changes = [
                CostChange(campaign_id=campaign_id, day=day, currency_code="USD", cost_micros=cost)
                for day, cost in zip(days, costs, strict=True)
            ]
            await Retries(shuffler).run(partial(add, changes, shuffler.randrange(16)))
            total += sum(costs)
    return total


async def send_everything(
    database: DatabaseAddresses, rows: list[dict[str, Any]], world: int, seed: int
) -> None:
    """Send the world by three senders in their own orders and batches, then once more in order; compare.

    Meanwhile the last 30 days roll to a day in or beside the world's, and costs are imported.
    """
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
        importing = asyncio.create_task(count_costs(database, prefix + "c1", shuffler))
        await asyncio.gather(
            *(send(order, shuffler.randint(1, 9)) for order in orders),
            roll_to(database, START + timedelta(days=shuffler.randint(-2, 40))),
        )
        final = await ingest(stubs, *(build(row) for row in rows))
        assert list(final.rejections) == []
        again = await ingest(stubs, *(build(row) for row in rows))
        assert again.duplicate_count == len(rows)
        expected = expected_totals(rows)
        expected["c1"]["cost"] += await importing
        for campaign_id, total in expected.items():
            metrics = await stubs.analytics.GetCampaignMetrics(
                pb.GetCampaignMetricsRequest(campaign_id=prefix + campaign_id)
            )
            for name in ("impressions", "views", "clicks", "conversions"):
                assert getattr(metrics, name) == total[name], name
            assert (metrics.revenue, metrics.cost) == (total["revenue"] / 1e6, total["cost"] / 1e6)
            if campaign_id != "c1":  # whose costs are imported and stand beside its events'
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
    """A batch in a deadlock with another transaction is rolled back, run again, and counted once.

    Of two that wait for each other the one that began to wait last finds the circle: the batch, as it
    comes to what its rival holds only when the rival waits already.
    """
    waiting = "select count(*) from pg_locks where not granted"
    async with running_server(database.analytics) as stubs, AsyncExitStack() as opened:
        await add_catalog(stubs)
        await ingest(stubs, event("first", campaign_id="c1"), event("first", user_id="u2", campaign_id="c2"))
        gate, rival, observer = [await asyncpg.connect(database.admin) for _ in range(3)]
        for connection in (gate, rival, observer):
            opened.push_async_callback(connection.close)
            await connection.execute("set search_path = analytics; set deadlock_timeout = '10min'")
        closed, held = gate.transaction(), rival.transaction()
        await closed.start()
        await held.start()
        await gate.execute("update campaign_totals set users = users where campaign_id = 'c1'")
        await rival.execute("update campaign_totals set users = users where campaign_id = 'c2'")
        second = [event("second", campaign_id="c1"), event("second", user_id="u2", campaign_id="c2")]
        sending = asyncio.create_task(ingest(stubs, *second))
        while await observer.fetchval(waiting) < 1:  # it holds its rows of the user totals, and waits for c1
            assert not sending.done()
        asking = asyncio.create_task(
            rival.execute("update campaign_user_totals set views = views where campaign_id = 'c1'")
        )
        while await observer.fetchval(waiting) < 2:  # the rival waits for the batch
            assert not sending.done()
            assert not asking.done()
        await closed.rollback()  # the batch takes c1, and comes to c2
        await asking
        await held.rollback()
        assert (await sending).accepted_count == 2
    assert await differences(database) == []
    await wait_for_a_deadlock(database)


async def wait_for_a_deadlock(database: DatabaseAddresses) -> None:
    """Return once PostgreSQL has counted one; it does when the connection that met it is closed."""
    counted = "select deadlocks from pg_stat_database where datname = current_database()"
    connection = await asyncpg.connect(database.admin)
    try:
        async with asyncio.timeout(60):
            while await connection.fetchval(counted) != 1:
                await asyncio.sleep(0.01)
    finally:
        await connection.close()
