"""Users' days and cohorts equal a recount of the raw events, in whatever order these come in."""

import asyncio
from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from random import Random
from zoneinfo import ZoneInfo

import asyncpg
import pytest

from deploy.local.bootstrap import DatabaseAddresses
from gen.campaigns.analytics.v1 import events_pb2
from services.analytics.operations.cohorts import CohortOperations
from services.analytics.server import open_database
from services.common.errors import FailedPreconditionError
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

ZONE = ZoneInfo("America/New_York")
AT_ONCE = timedelta(0)
KINDS = ["DELIVERED", "VIEWED", "CLICKED", "CONVERTED", "CUSTOM", "NOTIFICATION_DELIVERED"]


def draw_events(random: Random, users: int, size: int) -> list[events_pb2.Event]:
    """Events over four months in any order, some of plain purchases, in two currencies, some refunded."""
    drawn = []
    for number in range(size):
        kind = random.choice(KINDS)
        fields: dict[str, object] = {"campaign_id": random.choice(["c1", "c2"])}
        if kind == "CUSTOM":
            fields["custom_event_name"] = "opened"
        if kind == "CONVERTED":
            fields["revenue"] = random.choice([None, 0, 5, 12.5, 100])
            if random.random() < 0.4:
                fields |= {"campaign_id": None, "merchant_id": random.choice([1, 2])}
        if kind == "DELIVERED":
            fields["cost"] = random.choice([None, 0.01, 0.25])
        time = datetime(2025, 12, 1, tzinfo=UTC) + timedelta(minutes=random.randrange(110 * 24 * 60))
        user = f"u{random.randrange(users)}"
        drawn.append(event(f"e{number}", kind, user_id=user, event_time=time, **fields))
        if kind == "CONVERTED" and (fields["revenue"] or 0) and random.random() < 0.5:
            share = random.choice([0.4, 1.0])
            drawn.append(
                event(
                    f"r{number}",
                    "REFUNDED",
                    user_id=user,
                    campaign_id=fields["campaign_id"],
                    merchant_id=fields.get("merchant_id"),
                    event_time=time + timedelta(hours=random.randrange(1, 200)),
                    original_event_id=f"e{number}",
                    revenue=float(str(fields["revenue"])) * share,
                )
            )
    return drawn


async def send(stubs: Stubs, events: Sequence[events_pb2.Event]) -> None:
    answer = await ingest(stubs, *events)
    assert not answer.rejections


async def read_cells(url: str) -> Mapping[tuple[str, int, int], tuple[int, int]]:
    connection = await asyncpg.connect(url)
    try:
        rows = await connection.fetch(
            "select cohort_day::text, interval_days, period_index, active_users, engaged_users"
            " from analytics.cohort_activity where active_users <> 0"
        )
    finally:
        await connection.close()
    return {(r[0], r[1], r[2]): (r[3], r[4]) for r in rows}


def count_cells(events: Sequence[events_pb2.Event]) -> Mapping[tuple[str, int, int], tuple[int, int]]:
    """The same, counted here from what was sent."""
    sent_only = {1, 5, 8}
    days = defaultdict(set)
    for sent in events:
        day = sent.event_time.ToDatetime(tzinfo=UTC).astimezone(ZONE).date()
        days[sent.user_id].add((day, sent.event_type not in sent_only))
    cells: dict[tuple[str, int, int], tuple[set[str], set[str]]] = defaultdict(lambda: (set(), set()))
    for user, of_user in days.items():
        first = min(day for day, _ in of_user)
        for day, is_act in of_user:
            for length in (1, 7, 30):
                index = (day - first).days // length
                if length > 1 or index < 90:
                    active, engaged = cells[str(first), length, index]
                    active.add(user)
                    if is_act:
                        engaged.add(user)
    return {key: (len(active), len(engaged)) for key, (active, engaged) in cells.items()}


async def test_any_order_and_any_cut_give_the_recount(database: DatabaseAddresses) -> None:
    random = Random(20260331)  # noqa: S311
    events = draw_events(random, users=25, size=600)
    originals = [e for e in events if e.event_type != events_pb2.EVENT_TYPE_REFUNDED]
    refunds = [e for e in events if e.event_type == events_pb2.EVENT_TYPE_REFUNDED]
    random.shuffle(originals)
    moved = 0
    async with (
        running_server(database.analytics, reporting_time_zone=ZONE.key) as stubs,
        open_database(settings_for(database.analytics)) as own,
    ):
        await add_catalog(stubs, campaign("c1"), campaign("c2", merchant_id=2))
        cohorts = CohortOperations(
            own, zone=ZONE, clock=lambda: NOW, settling=AT_ONCE, maximum_step_events=120
        )
        assert (await cohorts.refresh()).steps == 0
        for start in range(0, len(originals), 150):
            await send(stubs, originals[start : start + 150])
            moved += (await cohorts.refresh()).moved_users
            assert await cohorts.list_differences() == []
        await send(stubs, refunds[: len(refunds) // 2])
        await send(stubs, refunds[len(refunds) // 2 :])
        refreshed = await cohorts.refresh()
        assert refreshed.as_of <= NOW
        assert await cohorts.list_differences() == []
        assert (await cohorts.refresh()).days == 0, "each event counts once"
    assert moved > 5, "late events must have moved users to earlier cohorts"
    assert await read_cells(database.admin) == count_cells(events)


async def test_a_run_counts_in_steps_and_another_zone_counts_all_again(database: DatabaseAddresses) -> None:
    events = draw_events(Random(7), users=10, size=200)  # noqa: S311
    async with (
        running_server(database.analytics, reporting_time_zone="UTC") as stubs,
        open_database(settings_for(database.analytics)) as own,
    ):
        await add_catalog(stubs, campaign("c1"), campaign("c2", merchant_id=2))
        originals = [e for e in events if e.event_type != events_pb2.EVENT_TYPE_REFUNDED]
        for start in range(0, len(originals), 50):
            await send(stubs, originals[start : start + 50])
        in_utc = CohortOperations(
            own, zone=ZoneInfo("UTC"), clock=lambda: NOW, settling=AT_ONCE, maximum_step_events=60
        )
        saved: list[int] = []

        async def save() -> None:
            saved.append(len(saved))

        refreshed = await in_utc.refresh(save)
        assert refreshed.steps >= 3
        assert len(saved) >= refreshed.steps
        assert "to an earlier cohort; as of 2026-" in str(refreshed)
        cells = await read_cells(database.admin)
    connection = await asyncpg.connect(database.admin)
    try:
        await connection.execute("update analytics.reporting_settings set reporting_time_zone = $1", ZONE.key)
    finally:
        await connection.close()
    async with open_database(settings_for(database.analytics)) as own:
        not_restarted = CohortOperations(own, zone=ZoneInfo("UTC"), clock=lambda: NOW, settling=AT_ONCE)
        with pytest.raises(FailedPreconditionError) as refused:
            await not_restarted.refresh()
        assert refused.value.reason == "TIME_ZONE_CONFLICT"
        elsewhere = CohortOperations(own, zone=ZONE, clock=lambda: NOW, settling=AT_ONCE)
        assert (await elsewhere.refresh()).steps == 1
        assert await elsewhere.list_differences() == []
    assert await read_cells(database.admin) == count_cells(originals) != cells


async def test_two_runs_at_once_count_once(database: DatabaseAddresses) -> None:
    """The jobs `cohorts` and `rfm` both count users' days, and at the first start both are due."""
    events = draw_events(Random(3), users=10, size=200)  # noqa: S311
    originals = [e for e in events if e.event_type != events_pb2.EVENT_TYPE_REFUNDED]
    async with (
        running_server(database.analytics) as stubs,
        open_database(settings_for(database.analytics)) as own,
    ):
        await add_catalog(stubs, campaign("c1"), campaign("c2", merchant_id=2))
        await send(stubs, originals)
        cohorts = CohortOperations(own, zone=ZoneInfo("UTC"), clock=lambda: NOW, settling=AT_ONCE)
        runs = await asyncio.gather(*(cohorts.refresh() for _ in range(4)))
        await cohorts.refresh()
        assert sum(run.users for run in runs) <= 10
        assert await cohorts.list_differences() == []


async def test_sealed_days_are_not_forgotten_for_another_zone(database: DatabaseAddresses) -> None:
    async with (
        running_server(database.analytics) as stubs,
        open_database(settings_for(database.analytics)) as own,
    ):
        await add_catalog(stubs)
        await send(stubs, [event("a")])
        in_utc = CohortOperations(own, zone=ZoneInfo("UTC"), clock=lambda: NOW, settling=AT_ONCE)
        await in_utc.refresh()
        connection = await asyncpg.connect(database.admin)
        try:
            await connection.execute("update analytics.reporting_settings set sealed_through = '2026-02-28'")
        finally:
            await connection.close()
        elsewhere = CohortOperations(own, zone=ZONE, clock=lambda: NOW, settling=AT_ONCE)
        with pytest.raises(FailedPreconditionError, match="2026-02-28") as refused:
            await elsewhere.refresh()
        assert refused.value.reason == "EVENTS_SEALED"
        assert await in_utc.list_differences() == []
        assert (await in_utc.refresh()).days == 0


async def test_what_is_under_way_is_waited_for(database: DatabaseAddresses) -> None:
    """An event of a transaction that began before the run, and commits after it, counts in the next run."""
    async with (
        running_server(database.analytics) as stubs,
        open_database(settings_for(database.analytics)) as own,
    ):
        await add_catalog(stubs)
        await send(stubs, [event("a")])
        cohorts = CohortOperations(own, zone=ZoneInfo("UTC"), clock=lambda: NOW, settling=AT_ONCE)
        writer = await asyncpg.connect(database.analytics)
        transaction = writer.transaction()
        await transaction.start()
        await writer.execute(
            "insert into events (user_id, event_id, campaign_id, event_at, counted_at, event_type,"
            " stamped_fields, is_machine_open, currency_code)"
            " select 'u9', 'late', campaign_id, event_at, counted_at, event_type, stamped_fields, false,"
            " 'USD' from events"
        )
        await send(stubs, [event("b", user_id="u2")])
        first = await cohorts.refresh()
        assert first.users == 1, "not yet what came in after the transaction began"
        await transaction.commit()
        await writer.close()
        assert (await cohorts.refresh()).users == 2
        assert await cohorts.list_differences() == []
