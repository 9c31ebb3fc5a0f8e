"""A run of attribution against a real database: what it finds changed, what it leaves, and its process."""

from collections.abc import AsyncIterator, Callable
from datetime import UTC, date, datetime, timedelta
from random import Random
from typing import Any
from zoneinfo import ZoneInfo

import asyncpg
import pytest

from deploy.local.bootstrap import DatabaseAddresses
from gen.campaigns.analytics.v1.events_pb2 import Event
from services.analytics.attributing.reading import MomentReader
from services.analytics.attributing.refresh import AttributionRefresh
from services.analytics.attributing_process import AttributingProcess
from services.analytics.domain.credits import GROUPS, MonthLedger
from services.analytics.domain.metrics import DateRange
from services.analytics.server import open_database
from services.analytics.store import attribution as store
from services.analytics.store import settled as settled_store
from services.common.database import Database
from services.common.errors import DomainError, InternalError
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

START = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
async def opened(database: DatabaseAddresses) -> AsyncIterator[Database]:
    async with open_database(settings_for(database.analytics)) as opened:
        yield opened


@pytest.fixture
async def stubs(database: DatabaseAddresses) -> AsyncIterator[Stubs]:
    async with running_server(database.analytics) as running:
        await add_catalog(running, *(campaign(f"c{n}") for n in range(1, 5)))
        yield running


async def refresh(opened: Database, *, lookback_days: int = 30) -> int:
    """Run once; return how many months were counted."""
    run = AttributionRefresh(
        opened,
        zone=ZoneInfo("UTC"),
        lookback_days=lookback_days,
        clock=lambda: NOW,
        settling=timedelta(0),
    )
    return (await run.run()).months


async def read_credits(database: DatabaseAddresses) -> set[tuple[Any, ...]]:
    connection = await asyncpg.connect(database.reporting)
    try:
        rows = await connection.fetch(
            "select campaign_id, day, model, currency_code, microconversions, revenue_micros,"
            " microconversions_without_group from attribution_daily"
        )
        days = await connection.fetch("select * from attribution_days")
    finally:
        await connection.close()
    return {(*row[:-1], *row[-1]) for row in (*map(tuple, rows), *map(tuple, days))}


def draw_events(random: Random, number: int, round_: int) -> list[Event]:
    """Views, clicks, deliveries, conversions and plain purchases of twelve users over three months."""
    events = []
    for n in range(number):
        kind = random.choice(["VIEWED", "VIEWED", "CLICKED", "DELIVERED", "CONVERTED", "CONVERTED"])
        fields: dict[str, Any] = {"campaign_id": f"c{random.randint(1, 4)}"}
        if kind == "CONVERTED":
            fields["revenue"] = random.randint(1, 10**6) / 100
            if random.random() < 0.3:
                fields |= {"campaign_id": None, "merchant_id": 1}
        moment = START + timedelta(minutes=random.randint(0, 89 * 24 * 60))
        user = f"u{random.randint(1, 12)}"
        events.append(event(f"{round_}-{n}", kind, user_id=user, event_time=moment, **fields))
    return events


@pytest.mark.parametrize("seed", [1, 2])
async def test_what_runs_leave_behind_is_what_a_full_count_gives(
    database: DatabaseAddresses, stubs: Stubs, opened: Database, seed: int
) -> None:
    """Six rounds of events of any time, refunds among them, a run after each; then everything once more."""
    random = Random(seed)  # noqa: S311 (draws a world)
    sold: list[Event] = []
    for round_ in range(6):
        events = draw_events(random, 40, round_)
        sold += [e for e in events if e.HasField("revenue")]
        original = sold[round_]
        refund = event(
            f"refund-{round_}",
            "REFUNDED",
            user_id=original.user_id,
            campaign_id=original.campaign_id or None,
            merchant_id=original.merchant_id or None,
            revenue=original.revenue / 2 if round_ % 2 else original.revenue,
            original_event_id=original.event_id,
            event_time="2026-03-30T00:00:00+00:00",
        )
        answer = await ingest(stubs, *events, refund)
        assert not answer.rejections
        await refresh(opened)
        assert await refresh(opened) == 0, "nothing new"
    kept = await read_credits(database)
    assert len(kept) > 500
    await refresh(opened, lookback_days=29)
    assert await read_credits(database) != kept
    await refresh(opened)
    assert await read_credits(database) == kept


async def test_an_event_that_commits_during_a_run_is_found_by_the_next(
    database: DatabaseAddresses, stubs: Stubs, opened: Database
) -> None:
    """Its transaction began before the run and ended after it, so its time of receipt lies before the run."""
    await ingest(stubs, event("b", "CONVERTED", revenue=1))
    connection = await asyncpg.connect(database.analytics)
    try:
        transaction = connection.transaction()
        await transaction.start()
        await connection.execute(
            "insert into events (user_id, event_id, campaign_id, event_at, counted_at, event_type,"
            " stamped_fields, is_machine_open, currency_code) values ('u1', 'v', 'c2',"
            " '2026-03-01 09:00+00', '2026-03-01 09:00+00', 2, 0, false, 'USD')"
        )
        await connection.execute(
            "update campaigns set counted_currency_code = 'USD' where campaign_id = 'c2'"
        )
        assert await refresh(opened) == 1
        await transaction.commit()
    finally:
        await connection.close()
    assert await refresh(opened) == 1
    credits_ = {row[:3] for row in await read_credits(database) if row[2] == "first_touch"}
    assert credits_ == {("c2", date(2026, 3, 1), "first_touch")}


async def test_a_run_does_not_count_in_days_of_a_zone_that_is_no_longer_fixed(
    database: DatabaseAddresses, stubs: Stubs, opened: Database
) -> None:
    await ingest(stubs, event("b", "CONVERTED", revenue=1))
    async with opened.acquire() as connection:
        await connection.execute("update reporting_settings set reporting_time_zone = 'Asia/Tokyo'")
    with pytest.raises(DomainError) as refused:
        await refresh(opened)
    assert refused.value.reason == "TIME_ZONE_CONFLICT"
    assert not await read_credits(database)


async def test_what_came_in_just_now_is_looked_at_again(stubs: Stubs, opened: Database) -> None:
    """A transaction is seen by others a moment after the beginning that its events carry."""
    await ingest(stubs, event("b", "CONVERTED", revenue=1))
    async with opened.acquire() as connection:
        received_at = await connection.fetchval("select max(received_at) from events")
        for settling, is_in in ((timedelta(minutes=1), False), (timedelta(0), True)):
            settled = await settled_store.fetch_settled_moment(connection, settling)
            assert (settled.settled_at > received_at) is is_in


async def test_a_run_that_broke_off_is_gone_on_with(
    database: DatabaseAddresses, stubs: Stubs, opened: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    await ingest(
        stubs,
        event("a", "CONVERTED", revenue=1, event_time="2026-02-10T10:00:00+00:00"),
        event("b", "CONVERTED", revenue=1, event_time="2026-03-10T10:00:00+00:00"),
    )
    done: list[date] = []
    replace_month = store.replace_month

    async def fail_at_second(connection: Any, days: Any, *rest: Any) -> None:  # noqa: ANN401
        if done:
            raise RuntimeError("the power fails")
        done.append(days.start)
        await replace_month(connection, days, *rest)

    monkeypatch.setattr(store, "replace_month", fail_at_second)
    with pytest.raises(RuntimeError, match="power"):
        await refresh(opened)
    monkeypatch.undo()
    assert done == [date(2026, 3, 1)], "the latest first"
    async with opened.acquire() as connection:
        march = await store.fetch_as_of(connection, DateRange(start=done[0], end=NOW.date()))
        whole = await store.fetch_as_of(connection, DateRange(start=date(2026, 2, 1), end=NOW.date()))
    assert march[0] is not None
    assert whole[0] is None, "February was never counted"
    assert await refresh(opened) == 1
    assert {row[1] for row in await read_credits(database) if row[2] == "markov"} == {
        date(2026, 2, 10),
        date(2026, 3, 10),
    }


async def test_a_month_whose_events_are_dropped_stays_as_it_was_counted(
    database: DatabaseAddresses, stubs: Stubs, opened: Database
) -> None:
    await ingest(stubs, event("a", "CONVERTED", revenue=1, event_time="2026-01-10T10:00:00+00:00"))
    await refresh(opened)
    kept = await read_credits(database)
    connection = await asyncpg.connect(database.analytics)
    try:
        await connection.execute("update reporting_settings set sealed_through = '2026-01-31'")
        await connection.execute("delete from events")
    finally:
        await connection.close()
    await refresh(opened, lookback_days=7)
    assert await read_credits(database) == kept


async def test_a_month_under_way_is_counted_on_while_events_before_it_are_dropped(
    database: DatabaseAddresses, stubs: Stubs, opened: Database
) -> None:
    """With a horizon below two months the window of the present month is never whole."""
    await ingest(stubs, event("a", "CONVERTED", revenue=1, event_time="2026-03-02T10:00:00+00:00"))
    await refresh(opened)
    connection = await asyncpg.connect(database.analytics)
    try:
        await connection.execute("update reporting_settings set sealed_through = '2026-02-20'")
        await connection.execute("update attribution_months set counted_at = '2026-03-02T11:00:00Z'")
        await ingest(stubs, event("b", "CONVERTED", revenue=1, event_time="2026-03-20T10:00:00+00:00"))
        await refresh(opened)
        counted = await connection.fetchval("select sum(conversions)::bigint from attribution_days")
    finally:
        await connection.close()
    assert counted == 2


async def test_blocks_of_users_add_up_to_the_same(
    database: DatabaseAddresses, stubs: Stubs, opened: Database
) -> None:
    """However the bytes are cut, and however many rows make a block: whole users, the same credits."""
    await ingest(stubs, *draw_events(Random(3), 200, 0))  # noqa: S311
    received = bytearray()

    async def receive(data: bytes) -> None:
        received.extend(data)

    async with opened.transaction(isolation="repeatable_read") as transaction:
        await store.copy_moments(
            transaction,
            touches_from=START,
            conversions_from=START,
            touches_before=NOW,
            conversions_before=NOW,
            groups=GROUPS,
            receive=receive,
        )
    days = [(date(2026, month, 1) - date(1970, 1, 1)).days for month in (1, 4)]
    found = []
    for chunk, rows in ((len(received), 10**6), (7, 3), (100, 20)):
        ledger = MonthLedger(
            campaigns=4, first_day=days[0], last_day=days[1], lookback_micros=30 * 86_400_000_000
        )
        reader = MomentReader({1: ledger}, block_rows=rows)
        for start in range(0, len(received), chunk):
            await reader.receive(bytes(received[start : start + chunk]))
        reader.finish()
        month = ledger.close()
        found.append(
            (
                month.conversions.tolist(),
                month.models["markov"].microconversions.tolist(),
                *(credit.revenue.tolist() for credit in month.models.values()),
            )
        )
    assert sum(found[0][0]) > 30
    assert found[1] == found[0]
    assert found[2] == found[0]


async def test_the_process_counts_and_says_what_it_did(database: DatabaseAddresses, stubs: Stubs) -> None:
    await ingest(stubs, event("v", "VIEWED"), event("b", "CONVERTED", revenue=1))
    connection = await asyncpg.connect(database.analytics)
    try:
        await connection.execute("update events set received_at = received_at - interval '1 minute'")
    finally:
        await connection.close()
    process = AttributingProcess(database_url=database.analytics, reporting_time_zone="UTC", lookback_days=30)
    summary = await process.run()
    assert summary.endswith("1 conversions divided")
    assert {row[2] for row in await read_credits(database)} >= {"counted", "markov"}
    assert (await process.run()).startswith("0 months")


async def test_the_process_says_why_it_could_not(
    database: DatabaseAddresses, free_port: Callable[[], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    nowhere = AttributingProcess(
        database_url=f"postgresql://analytics@127.0.0.1:{free_port()}/nowhere",
        reporting_time_zone="UTC",
        lookback_days=30,
    )
    with pytest.raises(DomainError) as refused:
        await nowhere.run()
    assert refused.value.reason == "DATABASE_UNAVAILABLE"
    broken = AttributingProcess(database_url=database.analytics, reporting_time_zone="UTC", lookback_days=-1)
    with pytest.raises(InternalError, match="broke off"):
        await broken.run()
