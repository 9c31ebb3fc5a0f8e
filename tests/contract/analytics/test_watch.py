"""Streams of what changes, by the real stub."""

import asyncio
from typing import Any

import grpc

from deploy.local.bootstrap import DatabaseAddresses
from gen.campaigns.analytics.v1 import analytics_service_pb2 as pb
from gen.campaigns.analytics.v1 import metrics_pb2
from services.analytics.server import serve
from tests.analytics_factories import (
    NOW,
    Stubs,
    add_catalog,
    campaign,
    event,
    ingest,
    refusal,
    running_server,
    settings_for,
    timestamp,
)

TODAY = "2026-03-31T09:00:00+00:00"


def watch_campaign(stubs: Stubs, campaign_id: str = "c1") -> Any:  # noqa: ANN401 (a call, untyped in gRPC's stubs)
    return stubs.analytics.WatchCampaign(pb.WatchCampaignRequest(campaign_id=campaign_id))


async def following(call: Any) -> Any:  # noqa: ANN401
    message = await asyncio.wait_for(call.read(), 60)
    assert message is not grpc.aio.EOF
    return message


async def is_let_in(call: Any) -> bool:  # noqa: ANN401
    try:
        await following(call)
    except grpc.aio.AioRpcError as error:
        if error.code() != grpc.StatusCode.RESOURCE_EXHAUSTED:
            raise
        return False
    return True


async def test_a_campaign_is_sent_at_once_and_after_every_commit(stubs: Stubs) -> None:
    call = watch_campaign(stubs)
    first = await following(call)
    assert (first.metrics.campaign_id, first.metrics.impressions) == ("c1", 0)
    assert first.as_of == timestamp(NOW)
    await ingest(stubs, event("a"), event("b", "VIEWED"), event("c", "CONVERTED", revenue=5, cost=2))
    second = await following(call)
    assert (second.metrics.impressions, second.metrics.conversions, second.metrics.roas) == (1, 1, 2.5)
    unary = await stubs.analytics.GetCampaignMetrics(pb.GetCampaignMetricsRequest(campaign_id="c1"))
    assert second.metrics.SerializeToString() == unary.SerializeToString()
    await ingest(stubs, event("a"), event("other", campaign_id="c2"))  # nothing new of c1
    await ingest(stubs, event("d", "CLICKED"))
    assert (await following(call)).metrics.clicks == 1


async def test_the_stream_and_the_unary_answer_have_the_same_fields() -> None:
    def fields(message: Any) -> list[tuple[str, int, int]]:  # noqa: ANN401
        return [(f.name, f.number, f.type) for f in message.DESCRIPTOR.fields]

    assert fields(metrics_pb2.CampaignMetrics) == fields(pb.GetCampaignMetricsResponse)


async def test_the_portfolios_current_day_is_sent_as_it_changes(stubs: Stubs) -> None:
    call: Any = stubs.analytics.WatchPortfolio(pb.WatchPortfolioRequest())
    assert (await following(call)).totals.impressions == 0
    await ingest(stubs, event("old"), event("a", event_time=TODAY), event("b", event_time=TODAY, cost=1.5))
    today = await following(call)
    assert (today.totals.impressions, today.totals.cost, today.as_of) == (2, 1.5, timestamp(NOW))
    await ingest(
        stubs,
        event("p", "CONVERTED", campaign_id=None, merchant_id=1, revenue=3, event_time=TODAY),
    )
    assert (await following(call)).totals.purchase_count == 1


async def test_an_unknown_campaign_is_refused(stubs: Stubs) -> None:
    unknown = await refusal(watch_campaign(stubs, "c9").read())
    assert (unknown.code, unknown.reason) == ("NOT_FOUND", "CAMPAIGN_UNKNOWN")
    nameless = await refusal(watch_campaign(stubs, "").read())
    assert (nameless.code, nameless.fields) == ("INVALID_ARGUMENT", {"campaign_id": "FIELD_REQUIRED"})


async def test_more_watchers_than_the_limit_are_refused_until_one_leaves(database: DatabaseAddresses) -> None:
    async with running_server(database.analytics, max_watchers=2) as stubs:
        await add_catalog(stubs)
        calls = [watch_campaign(stubs, "c1"), watch_campaign(stubs, "c2")]
        for call in calls:
            await following(call)
        refused = await refusal(watch_campaign(stubs).read())
        assert (refused.code, refused.reason) == ("RESOURCE_EXHAUSTED", "TOO_MANY_WATCHERS")
        calls[0].cancel()
        async with asyncio.timeout(60):
            while not await is_let_in(watch_campaign(stubs)):
                pass
        calls[1].cancel()


async def test_a_stopping_server_ends_its_streams_in_time(database: DatabaseAddresses) -> None:
    """Without their end, the stop would wait for them: here, an hour."""
    settings = settings_for(database.analytics, drain_seconds=0, grace_seconds=3600)
    stopping = asyncio.Event()
    port: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    serving = asyncio.create_task(serve(settings, stopping=stopping, on_started=port.set_result))
    async with grpc.aio.insecure_channel(f"127.0.0.1:{await asyncio.wait_for(port, 60)}") as channel:
        stubs = Stubs.of(channel)
        await add_catalog(stubs, campaign("c1"))
        call = watch_campaign(stubs)
        await following(call)
        stopping.set()
        ended = await refusal(asyncio.wait_for(call.read(), 60))
        assert (ended.code, ended.reason) == ("UNAVAILABLE", "SERVICE_UNAVAILABLE")
        await asyncio.wait_for(serving, 60)
