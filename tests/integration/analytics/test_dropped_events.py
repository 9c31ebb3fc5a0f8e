"""How raw events are dropped: days closed for good, runs that go on where they broke off, and what waits."""

from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import asyncpg
import pytest

from deploy.local.bootstrap import DatabaseAddresses
from gen.campaigns.analytics.v1 import analytics_service_pb2 as pb
from services.analytics.operations.recount import RecountOperations
from services.analytics.operations.retention import RetentionOperations
from services.analytics.server import open_database
from services.common.errors import FailedPreconditionError
from tests.analytics_factories import (
    add_catalog,
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

NOW = datetime(2026, 3, 31, 12, tzinfo=UTC)


async def test_a_day_is_closed_for_good(database: DatabaseAddresses) -> None:
    """A dropped event, a late one and a refund of a dropped one are refused, whatever the horizon is now."""
    old, young = "2026-03-20T12:00:00+00:00", "2026-03-25T12:00:00+00:00"
    sale = event("sale", "CONVERTED", revenue=10, event_time=old)
    part = event("part", "REFUNDED", revenue=1, original_event_id="sale", event_time=young)
    async with running_server(database.analytics, reporting_time_zone=ZONE) as stubs:
        await pretend_counted(database)
        await add_catalog(stubs)
        await ingest(stubs, sale, part, event("young", event_time=young))
        assert await seal(database, NOW, days=7) == "2 events dropped, through 2026-03-23"
        answer = await ingest(
            stubs,
            sale,
            event("late", event_time="2026-03-24T03:59:59+00:00"),
            event("first", event_time="2026-03-24T04:00:00+00:00"),
            part,
            event("more", "REFUNDED", revenue=1, original_event_id="sale", event_time=young),
            event("young", event_time=young),
        )
        assert (answer.accepted_count, answer.duplicate_count) == (1, 1)
        assert [(r.index, r.field, r.reason) for r in answer.rejections] == [
            (0, "event_time", "EVENT_TOO_OLD"),
            (1, "event_time", "EVENT_TOO_OLD"),
            (3, "original_event_id", "ORIGINAL_EVENT_UNKNOWN"),
            (4, "original_event_id", "ORIGINAL_EVENT_UNKNOWN"),
        ]
        metrics = await stubs.analytics.GetCampaignMetrics(pb.GetCampaignMetricsRequest(campaign_id="c1"))
        assert (metrics.conversions, metrics.revenue, metrics.impressions) == (1, 9, 2)
    assert await differences(database) == []


async def test_expired_events_are_refused_before_any_is_dropped(database: DatabaseAddresses) -> None:
    async with running_server(database.analytics, reporting_time_zone=ZONE) as stubs:
        await add_catalog(stubs)
        await ingest(stubs, event("sale", "CONVERTED", revenue=10, event_time="2026-03-20T12:00:00+00:00"))
    async with running_server(database.analytics, reporting_time_zone=ZONE, retention_days=7) as stubs:
        answer = await ingest(
            stubs,
            event("late", event_time="2026-03-24T03:59:59+00:00"),
            event("part", "REFUNDED", revenue=1, original_event_id="sale", event_time="2026-03-30T00:00:00Z"),
        )
    assert [(r.index, r.reason) for r in answer.rejections] == [
        (0, "EVENT_TOO_OLD"),
        (1, "ORIGINAL_EVENT_UNKNOWN"),
    ]


async def test_events_are_dropped_when_the_jobs_have_counted_them(database: DatabaseAddresses) -> None:
    async with running_server(database.analytics, reporting_time_zone=ZONE) as stubs:
        await add_catalog(stubs)
        await ingest(stubs, event("old", event_time="2026-03-20T12:00:00+00:00"))
        assert "when the jobs have counted them" in await seal(database, NOW, days=7)
        refused = await ingest(stubs, event("late", event_time="2026-03-20T12:00:00+00:00"))
        assert [r.reason for r in refused.rejections] == ["EVENT_TOO_OLD"]
        await pretend_counted(database)
        await execute(database.analytics, "insert into attribution_months values ('2026-03-01', true, null)")
        assert "when the jobs have counted them" in await seal(database, NOW, days=7)
        await execute(database.analytics, "update attribution_months set is_stale = false")
        assert await seal(database, NOW, days=7) == "1 events dropped, through 2026-03-23"
        assert "nothing is left" in await seal(database, NOW, days=7)
        assert "nothing is left" in await seal(database, NOW, days=90)
    assert await differences(database) == []


async def test_a_run_that_breaks_off_goes_on_where_it_was(database: DatabaseAddresses) -> None:
    saved: list[dict[str, str]] = []

    async def save_twice(cursor: Any) -> None:  # noqa: ANN401
        if len(saved) == 2:
            raise ConnectionError
        saved.append(dict(cursor))

    async with running_server(database.analytics, reporting_time_zone=ZONE) as stubs:
        await pretend_counted(database)
        await add_catalog(stubs)
        times = [f"2026-03-20T{hour:02d}:30:00+00:00" for hour in range(12)]
        await ingest(stubs, *(event(f"e{n}", event_time=time) for n, time in enumerate(times * 3)))
        async with open_database(settings_for(database.analytics)) as opened:
            retention = RetentionOperations(
                opened, zone=ZoneInfo(ZONE), retention_days=7, clock=lambda: NOW, chunk_events=2
            )
            with pytest.raises(ConnectionError):
                await retention.seal(save=save_twice)
            assert await fetch(database.analytics, "select count(*) from events") == [(30,)]
            assert await differences(database) == []
            assert await retention.seal(saved[-1]) == "30 events dropped, through 2026-03-23"
    assert await differences(database) == []


async def test_an_event_in_use_is_left_for_the_next_run(database: DatabaseAddresses) -> None:
    async with running_server(database.analytics, reporting_time_zone=ZONE) as stubs:
        await pretend_counted(database)
        await add_catalog(stubs)
        await ingest(stubs, *(event(f"e{n}", event_time="2026-03-20T12:00:00+00:00") for n in range(3)))
    user = await asyncpg.connect(database.admin)
    try:
        transaction = user.transaction()
        await transaction.start()
        await user.execute("select from analytics.events where event_id = 'e1' for update")
        assert await seal(database, NOW, days=7) == (
            "2 events dropped, through 2026-03-23; some are in use and left for the next run"
        )
        await transaction.rollback()
    finally:
        await user.close()
    assert await seal(database, NOW, days=7) == "1 events dropped, through 2026-03-23"
    assert await differences(database) == []


async def test_the_zone_is_fixed_once_something_is_sealed(database: DatabaseAddresses) -> None:
    async with running_server(database.analytics, reporting_time_zone=ZONE) as stubs:
        await pretend_counted(database)
        await add_catalog(stubs)
        await ingest(stubs, event("old", event_time="2026-03-20T12:00:00+00:00"))
    await seal(database, NOW, days=7)
    async with open_database(settings_for(database.analytics)) as opened:
        recount = RecountOperations(opened)
        with pytest.raises(FailedPreconditionError, match="2026-03-23") as refused:
            await recount.rebuild("UTC")
        assert (refused.value.reason, refused.value.metadata) == (
            "EVENTS_SEALED",
            {"sealed_through": "2026-03-23"},
        )
        assert await recount.rebuild(ZONE) == ZONE
    assert await differences(database) == []


async def test_nothing_is_dropped_without_a_horizon(database: DatabaseAddresses) -> None:
    async with (
        running_server(database.analytics, reporting_time_zone=ZONE) as stubs,
        open_database(settings_for(database.analytics)) as opened,
    ):
        await add_catalog(stubs)
        await ingest(stubs, event("old", event_time="2001-01-01T00:00:00+00:00"))
        retention = RetentionOperations(opened, zone=ZoneInfo(ZONE), retention_days=None, clock=lambda: NOW)
        assert await retention.seal() == "every event is kept"
    assert await fetch(database.analytics, "select count(*) from events") == [(1,)]
