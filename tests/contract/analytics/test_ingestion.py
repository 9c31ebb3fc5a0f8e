"""IngestEvents and its stream, through a real server and stub."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import asyncpg
import pytest

from deploy.local.bootstrap import DatabaseAddresses
from gen.campaigns.analytics.v1 import analytics_service_pb2 as pb
from gen.campaigns.analytics.v1 import catalog_service_pb2, events_pb2
from tests.analytics_factories import (
    NOW,
    Stubs,
    add_catalog,
    campaign,
    event,
    ingest,
    reasons,
    refusal,
    running_server,
)


async def metrics_of(stubs: Stubs, campaign_id: str = "c1") -> pb.GetCampaignMetricsResponse:
    return await stubs.analytics.GetCampaignMetrics(pb.GetCampaignMetricsRequest(campaign_id=campaign_id))


async def test_bad_events_are_rejected_by_field_and_the_rest_is_kept(stubs: Stubs) -> None:
    answer = await ingest(
        stubs,
        event("fine"),
        event("unknown", campaign_id="nobody"),
        event("early", event_time="1999-12-31T23:59:59+00:00"),
        event("late", event_time=NOW + timedelta(hours=1, seconds=1)),
        event("negative", cost=-1),
        event("endless", cost=float("inf")),
        event("fine too", "CONVERTED", revenue=1.5),
        event("", "VIEWED"),
        event("nobody", user_id=""),
        event("precise", offer_amount=1.2345678),
        event("timeless", event_time=None),
        event("odd\0", campaign_id="odd\0"),
        events_pb2.Event(event_id="typeless", user_id="u1", campaign_id="c1"),
    )
    assert (answer.accepted_count, answer.duplicate_count) == (2, 0)
    assert reasons(answer) == [
        (1, "campaign_id", "CAMPAIGN_UNKNOWN"),
        (2, "event_time", "TIME_OUT_OF_RANGE"),
        (3, "event_time", "TIME_OUT_OF_RANGE"),
        (4, "cost", "MONEY_OUT_OF_RANGE"),
        (5, "cost", "MONEY_NOT_FINITE"),
        (7, "event_id", "FIELD_REQUIRED"),
        (8, "user_id", "FIELD_REQUIRED"),
        (9, "offer_amount", "MONEY_TOO_PRECISE"),
        (10, "event_time", "FIELD_REQUIRED"),
        (11, "event_id", "TEXT_INVALID"),
        (12, "event_type", "VALUE_UNKNOWN"),
    ]
    assert all(rejection.message for rejection in answer.rejections)
    metrics = await metrics_of(stubs)
    assert (metrics.impressions, metrics.conversions, metrics.revenue) == (1, 1, 1.5)


async def test_a_batch_of_nothing_but_bad_events_changes_nothing(stubs: Stubs) -> None:
    answer = await ingest(stubs, event("a", cost=-1), event("b", campaign_id="nobody"))
    assert (answer.accepted_count, len(answer.rejections)) == (0, 2)
    assert (await metrics_of(stubs)).currency_code == ""


async def test_an_hour_ahead_of_the_clock_is_taken(stubs: Stubs) -> None:
    assert (await ingest(stubs, event("e", event_time=NOW + timedelta(hours=1)))).accepted_count == 1


async def test_the_same_event_again_is_a_duplicate(stubs: Stubs) -> None:
    sent = event(
        "e", "CONVERTED", revenue=9.99, cost=0.5, propensity=0.25, policy_version="p1", is_machine_open=True
    )
    assert (await ingest(stubs, sent, sent)).duplicate_count == 1
    again = await ingest(stubs, sent)
    assert (again.accepted_count, again.duplicate_count, len(again.rejections)) == (0, 1, 0)
    assert (await metrics_of(stubs)).revenue == 9.99


@pytest.mark.parametrize(
    "changes",
    [
        {"revenue": 10.0},
        {"revenue": None},
        {"cost": 0.1},
        {"kind": "VIEWED", "revenue": None},
        {"campaign_id": "c2"},
        {"merchant_id": 1},
        {"event_time": "2026-03-01T10:00:00.000001+00:00"},
        {"offer_amount": 5.0},
        {"channel": 2},
        {"is_machine_open": True},
        {"propensity": 0.5},
        {"policy_version": "v2"},
    ],
)
async def test_the_same_identity_with_other_content_is_a_conflict(
    stubs: Stubs, changes: dict[str, Any]
) -> None:
    original: dict[str, Any] = {"kind": "CONVERTED", "revenue": 9.99}
    await ingest(stubs, event("e", **original))
    answer = await ingest(stubs, event("other"), event("e", **{**original, **changes}))
    assert answer.accepted_count == 1
    assert reasons(answer) == [(1, "event_id", "EVENT_ID_CONFLICT")]


async def test_a_conflict_within_one_batch_keeps_the_first(stubs: Stubs) -> None:
    answer = await ingest(stubs, event("e", cost=1), event("e", cost=2), event("e", cost=1))
    assert (answer.accepted_count, answer.duplicate_count) == (1, 1)
    assert reasons(answer) == [(1, "event_id", "EVENT_ID_CONFLICT")]
    assert (await metrics_of(stubs)).cost == 1


async def test_the_same_event_id_of_another_user_is_another_event(stubs: Stubs) -> None:
    assert (await ingest(stubs, event("e"), event("e", user_id="u2"))).accepted_count == 2


async def test_what_was_stamped_stays_and_a_resend_stays_a_duplicate(
    stubs: Stubs, database: DatabaseAddresses
) -> None:
    await stubs.catalog.UpsertUsers(
        catalog_service_pb2.UpsertUsersRequest(
            users=[catalog_service_pb2.User(user_id="u1", segments=["vip", "new"])]
        )
    )
    before = campaign("c1", offer_amount=5, merchant_id=1, channel=3)
    after = campaign("c1", offer_amount=9, merchant_id=1, channel=1)
    for entry in (before, after):
        await stubs.catalog.UpsertCampaigns(catalog_service_pb2.UpsertCampaignsRequest(campaigns=[entry]))
        await ingest(stubs, event("e"))
    answer = await ingest(stubs, event("e"), event("later"))
    assert (answer.accepted_count, answer.duplicate_count) == (1, 1)
    connection = await asyncpg.connect(database.analytics)
    try:
        rows = await connection.fetch(
            "select event_id, offer_amount_micros, channel, merchant_id from events order by event_id"
        )
        segments = await connection.fetch(
            "select segment_name, impressions from campaign_segment_analytics order by 1"
        )
    finally:
        await connection.close()
    assert [tuple(row) for row in rows] == [("e", 5_000_000, 3, 1), ("later", 9_000_000, 1, 1)]
    assert [tuple(row) for row in segments] == [("new", 2), ("vip", 2)]


async def test_a_refund_takes_from_where_its_original_counts(
    stubs: Stubs, database: DatabaseAddresses
) -> None:
    """From its channel, merchant and segments, whatever the catalog and the refund say by then."""

    async def set_catalog(segments: list[str], **fields: int) -> None:
        user = catalog_service_pb2.User(user_id="u1", segments=segments)
        await stubs.catalog.UpsertUsers(catalog_service_pb2.UpsertUsersRequest(users=[user]))
        entry = campaign("c1", **fields)
        await stubs.catalog.UpsertCampaigns(catalog_service_pb2.UpsertCampaignsRequest(campaigns=[entry]))

    await set_catalog(["new"], channel=3, merchant_id=1)
    plain = event("plain", "CONVERTED", revenue=5.0, campaign_id=None, merchant_id=1)
    await ingest(stubs, event("sale", "CONVERTED", revenue=9), plain)
    await set_catalog(["vip"], channel=1, merchant_id=1)
    refunds = [
        event("r1", "REFUNDED", revenue=9, original_event_id="sale", channel=2, merchant_id=2),
        event("r2", "REFUNDED", revenue=5, original_event_id="plain", campaign_id=None, merchant_id=2),
    ]
    assert (await ingest(stubs, *refunds)).accepted_count == 2
    assert (await ingest(stubs, *refunds)).duplicate_count == 2
    connection = await asyncpg.connect(database.analytics)
    try:
        deliveries = await connection.fetch(
            "select channel, merchant_id, conversions, revenue_micros from campaign_delivery_daily"
        )
        segments = await connection.fetch(
            "select segment_name, conversions, revenue_micros from campaign_segment_analytics"
        )
        merchants = await connection.fetch(
            "select merchant_id, purchases, purchase_revenue_micros from merchant_daily"
        )
    finally:
        await connection.close()
    assert [tuple(row) for row in deliveries] == [(3, 1, 1, 0)]
    assert [tuple(row) for row in segments] == [("new", 1, 0)]
    assert [tuple(row) for row in merchants] == [(1, 1, 0)]


async def test_unknown_users_are_unsegmented(stubs: Stubs, database: DatabaseAddresses) -> None:
    assert (await ingest(stubs, event("e", user_id="stranger"))).accepted_count == 1
    connection = await asyncpg.connect(database.analytics)
    try:
        rows = await connection.fetch("select segment_name, impressions from campaign_segment_analytics")
    finally:
        await connection.close()
    assert [tuple(row) for row in rows] == [("", 1)]


async def test_a_refund_takes_from_its_originals_day(stubs: Stubs) -> None:
    answer = await ingest(
        stubs,
        event("r", "REFUNDED", revenue=4, original_event_id="e", event_time="2026-03-20T00:00:00+00:00"),
        event("e", "CONVERTED", revenue=10),
    )
    assert answer.accepted_count == 2
    trend = await stubs.analytics.GetCampaignTrend(
        pb.GetCampaignTrendRequest(campaign_id="c1", start_date="2026-03-01", end_date="2026-03-31")
    )
    assert {p.period: p.revenue for p in trend.points if p.revenue} == {"2026-03-01": 6}


async def test_refunds_are_idempotent_and_bounded(stubs: Stubs) -> None:
    sale = event("e", "CONVERTED", revenue=10)
    part = event("r1", "REFUNDED", revenue=6, original_event_id="e")
    await ingest(stubs, sale, part)
    answer = await ingest(
        stubs,
        part,
        event("r2", "REFUNDED", revenue=5, original_event_id="e"),
        event("r3", "REFUNDED", revenue=1, original_event_id="nothing"),
        event("r4", "REFUNDED", revenue=1, original_event_id="e", user_id="u2"),
        event("r5", "REFUNDED", revenue=1, original_event_id="e", campaign_id="c2"),
        event("r1", "REFUNDED", revenue=3, original_event_id="e"),
        event("e", "REFUNDED", revenue=1, original_event_id="e"),
    )
    assert (answer.accepted_count, answer.duplicate_count) == (0, 1)
    assert reasons(answer) == [
        (1, "revenue", "REFUND_TOO_LARGE"),
        (2, "original_event_id", "ORIGINAL_EVENT_UNKNOWN"),
        (3, "original_event_id", "ORIGINAL_EVENT_UNKNOWN"),
        (4, "campaign_id", "INVALID_FIELD"),
        (5, "event_id", "EVENT_ID_CONFLICT"),
        (6, "event_id", "EVENT_ID_CONFLICT"),
    ]
    assert (await metrics_of(stubs)).revenue == 4


async def test_an_empty_and_an_oversized_batch_are_one_status(stubs: Stubs) -> None:
    empty = await refusal(ingest(stubs))
    assert (empty.code, empty.fields) == ("INVALID_ARGUMENT", {"events": "FIELD_REQUIRED"})
    large = await refusal(ingest(stubs, *(event(f"e{n}") for n in range(51))))
    assert (large.code, large.reason) == ("RESOURCE_EXHAUSTED", "BATCH_TOO_LARGE")
    assert "50" in large.message
    assert (await metrics_of(stubs)).impressions == 0


async def stream(*batches: list[events_pb2.Event]) -> AsyncIterator[pb.IngestEventStreamRequest]:
    for batch in batches:
        yield pb.IngestEventStreamRequest(events=batch)


async def test_a_stream_counts_positions_through_all_messages(stubs: Stubs) -> None:
    answer = await stubs.analytics.IngestEventStream(
        stream(
            [event("a"), event("b", cost=-1)],
            [],
            [event("a"), event("c")],
            [event("d", campaign_id="nobody")],
        )
    )
    assert (answer.accepted_count, answer.duplicate_count) == (2, 1)
    assert [(r.index, r.reason) for r in answer.rejections] == [
        (1, "MONEY_OUT_OF_RANGE"),
        (4, "CAMPAIGN_UNKNOWN"),
    ]


async def test_a_stream_that_breaks_keeps_what_was_taken(stubs: Stubs) -> None:
    large = [event(f"x{n}") for n in range(51)]
    refused = await refusal(stubs.analytics.IngestEventStream(stream([event("a")], large, [event("b")])))
    assert (refused.code, refused.reason) == ("RESOURCE_EXHAUSTED", "BATCH_TOO_LARGE")
    assert (await metrics_of(stubs)).impressions == 1


async def test_a_stream_of_endless_rejections_is_ended(stubs: Stubs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.analytics.servicer.ingestion.MAXIMUM_STREAM_REJECTIONS", 3)
    bad = [event(f"x{n}", cost=-1) for n in range(4)]
    refused = await refusal(stubs.analytics.IngestEventStream(stream([event("a")], bad)))
    assert (refused.code, refused.reason) == ("RESOURCE_EXHAUSTED", "BATCH_TOO_LARGE")
    assert (await metrics_of(stubs)).impressions == 1


async def test_batches_beyond_the_queue_are_refused_at_once(database: DatabaseAddresses) -> None:
    async with running_server(database.analytics, concurrent_batches=1, waiting_batches=1) as stubs:
        await add_catalog(stubs)
        blocker = await asyncpg.connect(database.admin)
        try:
            transaction = blocker.transaction()
            await transaction.start()
            await blocker.execute("select pg_advisory_xact_lock(7202, 1)")
            calls = [asyncio.ensure_future(ingest(stubs, event(f"e{n}"))) for n in range(3)]
            done, _ = await asyncio.wait(calls, return_when=asyncio.FIRST_COMPLETED)
            refused = await refusal(done.pop())
            assert (refused.code, refused.reason) == ("RESOURCE_EXHAUSTED", "TOO_MANY_WAITING")
            await transaction.rollback()
            rest = await asyncio.gather(*calls, return_exceptions=True)
        finally:
            await blocker.close()
        assert sum(1 for answer in rest if isinstance(answer, pb.IngestEventsResponse)) == 2
