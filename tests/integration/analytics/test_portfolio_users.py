"""The users of all campaigns, added up by the job, and the portfolio's intervals by them."""

from dataclasses import replace
from datetime import UTC, date, datetime
from math import sqrt
from typing import Any, cast

from deploy.local.bootstrap import DatabaseAddresses
from gen.campaigns.analytics.v1 import analytics_service_pb2 as pb
from gen.campaigns.analytics.v1 import catalog_service_pb2
from services.analytics.domain.alert_metrics import METRICS
from services.analytics.domain.alerts import AlertRule, judge
from services.analytics.operations.portfolio_users import PortfolioUsers, build_portfolio_users_job
from services.analytics.server import open_database
from services.analytics.store import alerts as alerts_store
from services.analytics.store import metrics as metrics_store
from services.common.jobs import JobContext
from tests.analytics_factories import (
    Stubs,
    add_catalog,
    campaign,
    event,
    ingest,
    running_server,
    settings_for,
)


async def add_users(stubs: Stubs, campaign_id: str, users: range) -> None:
    """Delivered at 0.5 and viewed; every third converts, every fourth opens a notification."""
    events = []
    for n in users:
        common = {"user_id": f"u{n}", "campaign_id": campaign_id}
        events += [event(f"d{campaign_id}", cost=0.5, **common), event(f"v{campaign_id}", "VIEWED", **common)]
        events.append(event(f"n{campaign_id}", "NOTIFICATION_DELIVERED", **common))
        if n % 3 == 0:
            events.append(event(f"b{campaign_id}", "CONVERTED", revenue=2 + n % 5, **common))
        if n % 4 == 0:
            events.append(event(f"o{campaign_id}", "NOTIFICATION_OPENED", **common))
    await ingest(stubs, *events)


async def refresh(database: DatabaseAddresses) -> int:
    async with open_database(settings_for(database.analytics)) as own:
        return await PortfolioUsers(own).refresh()


async def test_one_campaign_alone_is_the_portfolio(database: DatabaseAddresses) -> None:
    async with running_server(database.analytics) as stubs:
        await add_catalog(stubs)
        await add_users(stubs, "c1", range(30))
        assert await refresh(database) == 30
        async with open_database(settings_for(database.analytics)) as own:
            users = await PortfolioUsers(own).read()
            async with own.acquire() as connection:
                life = await metrics_store.fetch_campaign_life(connection, "c1")
        assert life is not None
        assert users["USD"] == life.totals
        assert users[""].moments.views_conversions == life.totals.moments.views_conversions
        assert (users[""].counts.revenue_micros, users[""].moments.revenue_revenue) == (0, 0)
        request = pb.GetPortfolioPerformanceRequest(start_date="2026-03-01", end_date="2026-03-01")
        totals: Any = (await stubs.analytics.GetPortfolioPerformance(request)).totals
        metrics = await stubs.analytics.GetCampaignMetrics(pb.GetCampaignMetricsRequest(campaign_id="c1"))
        for name in ("view_rate", "ctr", "conversion_rate", "notification_open_rate", "roas"):
            assert getattr(totals, name) == getattr(metrics, name), name
            assert getattr(totals, f"{name}_interval") == getattr(metrics, f"{name}_interval"), name
            assert totals.HasField(f"{name}_interval"), name


async def test_users_of_many_campaigns_count_once(database: DatabaseAddresses) -> None:
    """Four campaigns with the same users are worth little more than one: widths are those of one campaign."""
    async with running_server(database.analytics, max_batch_events=500) as stubs:
        await add_catalog(stubs, *(campaign(f"c{n}") for n in range(4)))
        before = await stubs.analytics.GetPortfolioPerformance(pb.GetPortfolioPerformanceRequest(days=31))
        assert not before.totals.HasField("conversion_rate_interval")
    async with running_server(database.analytics, max_batch_events=500) as stubs:
        for n in range(4):
            await add_users(stubs, f"c{n}", range(60))
        assert await refresh(database) == 60
        one = await stubs.analytics.GetCampaignMetrics(pb.GetCampaignMetricsRequest(campaign_id="c1"))
        answer = await stubs.analytics.GetPortfolioPerformance(pb.GetPortfolioPerformanceRequest(days=31))
        assert answer.totals.conversions == 4 * one.conversions
        narrow = one.conversion_rate_interval.upper - one.conversion_rate_interval.lower
        interval = answer.totals.conversion_rate_interval
        assert interval.upper - interval.lower > 0.95 * narrow > narrow / sqrt(4)
        (dollars,) = answer.currencies
        assert dollars.totals.conversion_rate_interval == interval
        assert answer.change.totals.conversions == 0


async def test_a_rule_of_the_portfolio_counts_a_user_once(database: DatabaseAddresses) -> None:
    """Two campaigns with the same 30 users: nothing is known before the job, and 30 users after it."""
    watching = AlertRule(
        rule_id="r",
        campaign_id=None,
        currency_code="USD",
        metric=METRICS["conversion_rate"],
        kind="above",
        threshold=0.1,
        days=1,
        minimum_volume=1,
        requires_significance=True,
        created_at=datetime(2026, 3, 1, tzinfo=UTC),
    )
    async with running_server(database.analytics) as stubs:
        await add_catalog(stubs, campaign("c1"), campaign("c2"))
        await add_users(stubs, "c1", range(30))
        await add_users(stubs, "c2", range(30))
    async with open_database(settings_for(database.analytics)) as own:
        async with own.acquire() as connection:
            window = await alerts_store.fetch_alert_days(
                connection, watching, date(2026, 3, 1), date(2026, 3, 1)
            )
            nothing = await alerts_store.fetch_alert_life(connection, watching)
        await PortfolioUsers(own).refresh()
        async with own.acquire() as connection:
            life = await alerts_store.fetch_alert_life(connection, watching)
            everything = await alerts_store.fetch_alert_life(
                connection, replace(watching, currency_code=None)
            )
    assert (window.views, window.conversions) == (60, 20)
    unknown = judge(watching, window=window, before=None, life=nothing)
    assert unknown is not None
    assert (unknown.is_beyond, unknown.is_sure, unknown.interval) == (True, False, None)
    assert (life.users, life.counts.views, life.products["views_views"]) == (30, 60, 30 * 2 * 2)
    assert everything.users == 30
    assert everything.counts.revenue_micros == 0
    known = judge(watching, window=window, before=None, life=life)
    assert known is not None
    assert known.interval is not None


async def test_currencies_have_users_of_their_own_and_share_no_money(database: DatabaseAddresses) -> None:
    async with running_server(database.analytics) as stubs:
        await add_catalog(stubs)
        await stubs.catalog.UpsertCampaigns(
            catalog_service_pb2.UpsertCampaignsRequest(campaigns=[campaign("euro", merchant_id=2)])
        )
        await add_users(stubs, "c1", range(12))
        await add_users(stubs, "euro", range(6, 16))
        assert await refresh(database) == 16
        answer = await stubs.analytics.GetPortfolioPerformance(pb.GetPortfolioPerformanceRequest(days=31))
        assert not answer.totals.HasField("roas")
        assert not answer.totals.HasField("roas_interval")
        assert answer.totals.HasField("conversion_rate_interval")
        for currency in answer.currencies:
            interval = currency.totals.roas_interval
            assert interval.lower < currency.totals.roas < interval.upper, currency.currency_code


async def test_the_job_of_an_empty_portfolio_adds_up_nobody(database: DatabaseAddresses) -> None:
    async with open_database(settings_for(database.analytics)) as own:
        users = PortfolioUsers(own, kept_seconds=1000)
        assert await users.read() == {}
        job = build_portfolio_users_job(users, seconds=60)
        assert job.name == "portfolio_users"
        assert await job.run(cast(JobContext, None)) == "0 users"
        assert await users.read() == {}
