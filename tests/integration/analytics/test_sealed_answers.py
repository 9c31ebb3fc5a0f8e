"""What is answered after events were dropped: the same as before, or that single events are needed."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from random import Random
from zoneinfo import ZoneInfo

import pytest
from google.protobuf.message import Message

from deploy.local.bootstrap import DatabaseAddresses
from gen.campaigns.analytics.v1 import (
    analytics_service_pb2 as pb,
)
from gen.campaigns.analytics.v1 import (
    attribution_pb2,
    audience_pb2,
    comparison_pb2,
    events_pb2,
    merchants_pb2,
    ranking_pb2,
)
from services.analytics.attributing.refresh import AttributionRefresh
from services.analytics.operations.cohorts import CohortOperations
from services.analytics.operations.recount import RecountOperations
from services.analytics.operations.retention import RetentionOperations
from services.analytics.server import open_database
from services.common.database import Database
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

UTC_ZONE = ZoneInfo("UTC")
SEALED_THROUGH = date(2026, 2, 28)
KINDS = ["DELIVERED", "DELIVERED", "VIEWED", "VIEWED", "CLICKED", "CONVERTED", "NOTIFICATION_DELIVERED"]


@dataclass(frozen=True, kw_only=True)
class Sealed:
    """A server over ninety days of events, and what drops those through 28 February."""

    stubs: Stubs
    database: Database

    async def count(self) -> None:
        """Run the jobs that read single events."""
        zero = timedelta(0)
        await CohortOperations(self.database, zone=UTC_ZONE, clock=lambda: NOW, settling=zero).refresh()
        refresh = AttributionRefresh(
            self.database, zone=UTC_ZONE, lookback_days=10, clock=lambda: NOW, settling=zero
        )
        await refresh.run()

    async def drop(self) -> None:
        """Run the retention job until it has dropped everything: closed first, counted then, dropped last."""
        days = (NOW.date() - SEALED_THROUGH).days - 1
        retention = RetentionOperations(
            self.database, zone=UTC_ZONE, retention_days=days, clock=lambda: NOW, chunk_events=100
        )
        assert "when the jobs have counted them" in await retention.seal()
        await self.count()
        assert f"events dropped, through {SEALED_THROUGH}" in await retention.seal()


def draw_events() -> list[events_pb2.Event]:
    random = Random(5)  # noqa: S311
    events = []
    for n in range(900):
        kind = random.choice(KINDS)
        moment = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(minutes=random.randint(0, 89 * 24 * 60))
        place = {"campaign_id": None, "merchant_id": 1} if kind == "CONVERTED" and n % 5 == 0 else {}
        fields = {"campaign_id": f"c{1 + n % 2}", "cost": 0.25, **place}
        if kind == "CONVERTED":
            fields["revenue"] = random.randint(100, 3000) / 100
        events.append(event(f"e{n}", kind, user_id=f"u{random.randint(1, 40)}", event_time=moment, **fields))
    return events


@pytest.fixture
async def sealed(database: DatabaseAddresses) -> AsyncIterator[Sealed]:
    async with (
        running_server(database.analytics) as stubs,
        open_database(settings_for(database.analytics)) as opened,
    ):
        await add_catalog(stubs, campaign("c1", merchant_id=1, channel=1), campaign("c2", offer_amount=5))
        assert (await ingest(stubs, *draw_events())).accepted_count == 900
        world = Sealed(stubs=stubs, database=opened)
        await world.count()
        yield world


async def ask(stubs: Stubs) -> list[Message]:
    """Return answers that need no single event of a sealed day."""
    service = stubs.analytics
    answers: list[Message] = [
        await service.GetCampaignMetrics(pb.GetCampaignMetricsRequest(campaign_id="c1")),
        await service.GetCampaignRoi(pb.GetCampaignRoiRequest(campaign_id="c1")),
        await service.CompareCampaigns(comparison_pb2.CompareCampaignsRequest(campaign_ids=["c1", "c2"])),
        await service.GetAttribution(
            attribution_pb2.GetAttributionRequest(
                campaign_id="c1", start_date="2026-01-05", end_date="2026-02-20"
            )
        ),
        await service.ListCohorts(audience_pb2.ListCohortsRequest(start_date="2026-01-01", page_size=100)),
        await service.GetMerchantPerformance(
            merchants_pb2.GetMerchantPerformanceRequest(
                merchant_id=1, start_date="2026-01-01", end_date="2026-03-31"
            )
        ),
        await service.ListTopCampaigns(ranking_pb2.ListTopCampaignsRequest(metric="revenue", days=90)),
    ]
    for interval in ("hourly", "daily", "weekly", "monthly"):
        request = pb.GetCampaignTrendRequest(campaign_id="c2", interval=interval)
        answers.append(await service.GetCampaignTrend(request))
    for start, end in (("2026-01-10", "2026-01-20"), ("2026-02-01", "2026-03-31")):
        answers.append(
            await service.GetPortfolioPerformance(
                pb.GetPortfolioPerformanceRequest(start_date=start, end_date=end)
            )
        )
    for answer in answers:
        if "as_of" in answer.DESCRIPTOR.fields_by_name:
            answer.ClearField("as_of")
    return answers


async def test_what_needs_no_single_event_is_answered_as_before(sealed: Sealed) -> None:
    before = await ask(sealed.stubs)
    await sealed.drop()
    for one, other in zip(before, await ask(sealed.stubs), strict=True):
        assert one == other, one.DESCRIPTOR.name
    assert list(await RecountOperations(sealed.database).reconcile()) == []


async def test_a_range_of_sealed_days_keeps_its_counts_and_says_how_it_knows(sealed: Sealed) -> None:
    request = pb.GetCampaignMetricsRequest(campaign_id="c1", start_date="2026-01-10", end_date="2026-02-10")
    before = await sealed.stubs.analytics.GetCampaignMetrics(request)
    await sealed.drop()
    after = await sealed.stubs.analytics.GetCampaignMetrics(request)
    for name in (
        "impressions",
        "views",
        "clicks",
        "conversions",
        "revenue",
        "cost",
        "conversion_rate",
        "roas",
    ):
        assert getattr(after, name) == getattr(before, name), name
    assert (before.interval_method, before.HasField("reached_users")) == ("user_delta_method", True)
    assert (after.interval_method, after.HasField("reached_users")) == ("design_effect", False)


async def test_a_part_of_a_sealed_day_is_refused(sealed: Sealed) -> None:
    moment = timestamp("2026-02-20T10:17:00+00:00")
    request = pb.GetPortfolioPerformanceRequest(days=7, as_of=moment)
    await sealed.stubs.analytics.GetPortfolioPerformance(request)
    await sealed.drop()
    refused = await refusal(sealed.stubs.analytics.GetPortfolioPerformance(request))
    assert (refused.code, refused.fields) == ("FAILED_PRECONDITION", {"as_of": "EVENTS_SEALED"})


async def test_a_ranking_by_users_of_sealed_days_is_refused(sealed: Sealed) -> None:
    request = ranking_pb2.ListTopCampaignsRequest(metric="user_conversion_rate", days=60)
    await sealed.stubs.analytics.ListTopCampaigns(request)
    await sealed.drop()
    refused = await refusal(sealed.stubs.analytics.ListTopCampaigns(request))
    assert (refused.code, refused.reason) == ("FAILED_PRECONDITION", "EVENTS_SEALED")
