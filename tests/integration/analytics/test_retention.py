"""Raw events are dropped and every number stays: recounts, sealed totals, and what may still come in."""

import asyncio
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from random import Random
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from deploy.local.bootstrap import DatabaseAddresses
from gen.campaigns.analytics.v1 import analytics_service_pb2 as pb
from gen.campaigns.analytics.v1 import catalog_service_pb2, costs_pb2, events_pb2
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
from tests.integration.analytics.recounts import differences
from tests.integration.analytics.retention_stand import (
    ZONE,
    execute,
    fetch,
    pretend_counted,
    seal,
)

START = datetime(2025, 10, 28, 12, tzinfo=UTC)  # the clock changes on 2 November
KINDS = ["DELIVERED", "VIEWED", "CONVERTED", "CONVERTED", "NOTIFICATION_OPENED", "GEOFENCE_ENTERED", "CUSTOM"]
OUTSIDE = {"CONVERTED", "GEOFENCE_ENTERED", "CUSTOM"}


@dataclass
class Clock:
    """A present that tests move."""

    now: datetime = START

    def __call__(self) -> datetime:
        return self.now


async def empty(database: DatabaseAddresses) -> None:
    """Forget everything, the seal and the reporting zone among it."""
    rows = await fetch(
        database.admin,
        "select format('analytics.%I', tablename) from pg_tables where schemaname = 'analytics'",
    )
    tables = [name for (name,) in rows if "migrations" not in name]
    await execute(database.admin, f"truncate {', '.join(tables)}")


@st.composite
def worlds(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Events over ten days, refunds of some conversions up to six days later among them."""
    rows: list[dict[str, Any]] = []
    for number in range(draw(st.integers(3, 25))):
        kind = draw(st.sampled_from(KINDS))
        row: dict[str, Any] = {
            "event_id": f"e{number}",
            "kind": kind,
            "user_id": draw(st.sampled_from(["u1", "u2", "u3"])),
            "campaign_id": draw(st.sampled_from(["c1", "c2"])),
            "event_time": START + timedelta(minutes=draw(st.integers(0, 10 * 24 * 60))),
            "cost": draw(st.sampled_from([None, 1.234567])),
            "channel": draw(st.sampled_from([None, 2])),
            "merchant_id": draw(st.sampled_from([None, 1, 2])),
            "custom_event_name": "shared" if kind == "CUSTOM" else None,
        }
        if kind == "CONVERTED":
            row["revenue"] = draw(st.sampled_from([None, 10.0, 33.333333]))
        if kind in OUTSIDE and draw(st.booleans()):
            row.update(campaign_id=None, merchant_id=draw(st.sampled_from([1, 2])))
        rows.append(row)
        if row.get("revenue") and draw(st.booleans()):
            refund = {**row, "event_id": f"r{number}", "kind": "REFUNDED", "original_event_id": f"e{number}"}
            later = row["event_time"] + timedelta(days=draw(st.integers(0, 6)))
            refund.update(revenue=draw(st.sampled_from([2.5, 10.0])), event_time=later, cost=None)
            rows.append(refund)
    return rows


@dataclass
class World:
    """What was acknowledged, and how to send more of it."""

    stubs: Stubs
    accepted: dict[str, dict[str, Any]] = field(default_factory=dict)
    costs: dict[tuple[str, str], float] = field(default_factory=dict)

    async def send(self, rows: Sequence[dict[str, Any]]) -> None:
        """Send rows in one batch; note what is taken or known."""
        if not rows:
            return
        answer = await ingest(self.stubs, *(build(row) for row in rows))
        rejected = {rejection.index: rejection.reason for rejection in answer.rejections}
        assert set(rejected.values()) <= {"EVENT_TOO_OLD", "ORIGINAL_EVENT_UNKNOWN", "TIME_OUT_OF_RANGE"}
        for index, row in enumerate(rows):
            if index not in rejected:
                self.accepted[row["event_id"]] = row

    async def import_cost(self, campaign_id: str, day: date, amount: float) -> None:
        """Import a cost; sealed days have costs as all others."""
        sent = costs_pb2.DailyCost(campaign_id=campaign_id, cost_date=day.isoformat(), cost=amount)
        answer = await self.stubs.analytics.ImportCosts(costs_pb2.ImportCostsRequest(costs=[sent]))
        assert list(answer.rejections) == []
        self.costs[campaign_id, day.isoformat()] = amount

    async def check(self) -> None:
        """The life of each campaign is what was acknowledged, dropped or not."""
        totals: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
        for row in self.accepted.values():
            total = totals[row["campaign_id"]]
            total[row["kind"]] += 1
            sign = -1 if row["kind"] == "REFUNDED" else 1
            total["revenue"] += sign * round((row.get("revenue") or 0) * 1_000_000)
            total["cost"] += round((row["cost"] or 0) * 1_000_000)
        for (campaign_id, _), amount in self.costs.items():
            totals[campaign_id]["cost"] += round(amount * 1_000_000)
        for campaign_id in ("c1", "c2"):
            total = totals[campaign_id]
            metrics = await self.stubs.analytics.GetCampaignMetrics(
                pb.GetCampaignMetricsRequest(campaign_id=campaign_id)
            )
            counted = (metrics.impressions, metrics.views, metrics.conversions)
            assert counted == (total["DELIVERED"], total["VIEWED"], total["CONVERTED"])
            assert (metrics.revenue, metrics.cost) == (total["revenue"] / 1e6, total["cost"] / 1e6)


def build(row: dict[str, Any]) -> events_pb2.Event:
    fields = {name: value for name, value in row.items() if name not in {"event_id", "kind"}}
    return event(row["event_id"], row["kind"], **fields)


async def change_catalog(stubs: Stubs, shuffler: Random) -> None:
    """Another offer, channel and segments from now on; what was counted stays."""
    changed = campaign("c1", offer_amount=float(shuffler.randint(5, 9)), channel=shuffler.randint(1, 4))
    await stubs.catalog.UpsertCampaigns(catalog_service_pb2.UpsertCampaignsRequest(campaigns=[changed]))
    user = catalog_service_pb2.User(user_id="u1", segments=shuffler.sample(["new", "vip", "dormant"], 2))
    await stubs.catalog.UpsertUsers(catalog_service_pb2.UpsertUsersRequest(users=[user]))


async def live_through(database: DatabaseAddresses, rows: list[dict[str, Any]], seed: int) -> None:
    """Send, send again, refund, import, change the catalog and drop events in any order and side by side."""
    shuffler, clock = Random(seed), Clock()  # noqa: S311
    await empty(database)
    async with running_server(
        database.analytics, clock=clock, reporting_time_zone=ZONE, portfolio_slots=3
    ) as stubs:
        await pretend_counted(database)
        await add_catalog(stubs, campaign("c1", offer_amount=5.0), campaign("c2", merchant_id=1))
        world = World(stubs)
        for _ in range(5):
            clock.now += timedelta(hours=shuffler.randint(1, 90))
            days = shuffler.randint(1, 6)
            await asyncio.gather(
                world.send(shuffler.sample(rows, shuffler.randint(1, len(rows)))),
                world.send(shuffler.choices(rows, k=3)),
                seal(database, clock.now, days=days),
                change_catalog(stubs, shuffler),
                world.import_cost("c1", START.date() - timedelta(days=shuffler.randint(0, 3)), 1.5),
            )
            assert await differences(database) == []
        await world.check()
        clock.now += timedelta(days=30)
        assert "dropped" in await seal(database, clock.now, days=2)
        assert await fetch(database.analytics, "select count(*) from events") == [(0,)]
        await world.send(rows)
        assert await fetch(database.analytics, "select count(*) from events") == [(0,)]
        await world.check()
        assert await differences(database) == []
    async with open_database(settings_for(database.analytics)) as opened:
        await RecountOperations(opened).rebuild(None)
    assert await differences(database) == []


def test_any_interleaving_with_dropped_events_equals_a_recount(database: DatabaseAddresses) -> None:
    @settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
    @given(rows=worlds(), seed=st.integers(0, 2**32))
    def run(rows: list[dict[str, Any]], seed: int) -> None:
        asyncio.run(live_through(database, rows, seed))

    run()
