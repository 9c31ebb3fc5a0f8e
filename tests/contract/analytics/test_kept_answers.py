"""Answers that are kept: which, that a write is seen by the next read, and that a read costs little then."""

from datetime import date

import asyncpg
import pytest

from deploy.local.bootstrap import DatabaseAddresses
from gen.campaigns.analytics.v1 import analytics_service_pb2 as pb
from gen.campaigns.analytics.v1 import catalog_service_pb2, costs_pb2
from services.analytics.domain.metrics import CampaignMetrics
from services.analytics.operations.metrics import MetricsOperations
from services.analytics.servicer.analytics import KEPT_METHODS
from tests.analytics_factories import Stubs, add_catalog, campaign, event, ingest, refusal, running_server

WRITES = ("Ingest", "Import")


def test_every_unary_read_is_kept_and_nothing_else() -> None:
    service = pb.DESCRIPTOR.services_by_name["AnalyticsService"]
    unary = [
        method.name
        for method in service.methods
        if not method.client_streaming and not method.server_streaming
    ]
    assert sorted(KEPT_METHODS) == sorted(name for name in unary if not name.startswith(WRITES))


async def impressions(stubs: Stubs) -> int:
    metrics = await stubs.analytics.GetCampaignMetrics(pb.GetCampaignMetricsRequest(campaign_id="c1"))
    return int(metrics.impressions)


async def test_every_write_is_seen_by_the_next_read_of_any_replica(
    database: DatabaseAddresses, stubs: Stubs
) -> None:
    async with running_server(database.analytics) as replica:
        for number in range(1, 6):
            await ingest(stubs, event(f"d{number}"))
            assert [await impressions(one) for one in (stubs, replica, stubs, replica)] == [number] * 4


async def test_costs_and_the_catalog_are_writes_too(stubs: Stubs) -> None:
    await ingest(stubs, event("d", "CONVERTED", revenue=5))

    async def cost() -> float:
        roi = await stubs.analytics.GetCampaignRoi(pb.GetCampaignRoiRequest(campaign_id="c1"))
        return float(roi.total_cost)

    assert await cost() == 0
    imported = costs_pb2.DailyCost(campaign_id="c1", cost_date="2026-03-02", cost=7)
    await stubs.analytics.ImportCosts(costs_pb2.ImportCostsRequest(costs=[imported]))
    assert await cost() == 7
    unknown = pb.GetCampaignMetricsRequest(campaign_id="c9")
    for _ in range(2):
        assert (await refusal(stubs.analytics.GetCampaignMetrics(unknown))).reason == "CAMPAIGN_UNKNOWN"
    await stubs.catalog.UpsertCampaigns(
        catalog_service_pb2.UpsertCampaignsRequest(campaigns=[campaign("c9")])
    )
    assert (await stubs.analytics.GetCampaignMetrics(unknown)).impressions == 0


async def test_an_answer_is_made_once_while_nothing_is_written(
    database: DatabaseAddresses, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = []
    measure = MetricsOperations.get_campaign_metrics

    async def count(
        self: MetricsOperations, campaign_id: str, start: date | None, end: date | None
    ) -> CampaignMetrics:
        made.append(campaign_id)
        return await measure(self, campaign_id, start, end)

    monkeypatch.setattr(MetricsOperations, "get_campaign_metrics", count)
    async with running_server(database.analytics, kept_answer_seconds=60) as stubs:
        await add_catalog(stubs)
        await ingest(stubs, event("d"))
        assert [await impressions(stubs) for _ in range(5)] == [1] * 5
    assert made == ["c1"]


async def test_a_rolled_back_write_and_a_read_leave_the_version(
    database: DatabaseAddresses, stubs: Stubs
) -> None:
    async def version() -> int:
        connection = await asyncpg.connect(database.analytics)
        try:
            return int(await connection.fetchval("select sum(version) from data_versions"))
        finally:
            await connection.close()

    before = await version()
    await impressions(stubs)
    unknown_merchant = catalog_service_pb2.UpsertCampaignsRequest(campaigns=[campaign("c9", merchant_id=99)])
    assert (await refusal(stubs.catalog.UpsertCampaigns(unknown_merchant))).reason == "MERCHANT_UNKNOWN"
    assert await version() == before
    await ingest(stubs, event("d"))
    assert await version() == before + 1
