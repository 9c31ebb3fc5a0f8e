# ruff: noqa: ANN401 (values of any field of a message pass through here)
"""Metrics, trends and the portfolio, through a real server and stub."""

from datetime import UTC, datetime
from typing import Any

import pytest

from deploy.local.bootstrap import DatabaseAddresses
from gen.campaigns.analytics.v1 import analytics_service_pb2 as pb
from gen.campaigns.analytics.v1 import catalog_service_pb2, trends_pb2
from tests.analytics_factories import (
    Stubs,
    add_catalog,
    campaign,
    event,
    ingest,
    refusal,
    running_server,
    timestamp,
)


def metrics_of(stubs: Stubs, campaign_id: str = "c1", **days: str) -> Any:
    return stubs.analytics.GetCampaignMetrics(pb.GetCampaignMetricsRequest(campaign_id=campaign_id, **days))


def trend_of(stubs: Stubs, interval: str = "", campaign_id: str = "c1", **days: str) -> Any:
    request = pb.GetCampaignTrendRequest(campaign_id=campaign_id, interval=interval, **days)
    return stubs.analytics.GetCampaignTrend(request)


def portfolio_of(stubs: Stubs, **query: Any) -> Any:
    return stubs.analytics.GetPortfolioPerformance(pb.GetPortfolioPerformanceRequest(**query))


async def add_funnel(stubs: Stubs, users: int = 20) -> None:
    """20 users, one per day: all reached at 0.10, 10 view, 5 click, 4 convert for 25.50 each."""
    events = []
    for n in range(users):
        common = {"user_id": f"u{n}", "event_time": f"2026-03-{n + 1:02d}T10:00:00+00:00"}
        events.append(event("d", cost=0.1, **common))
        if n % 2 == 0:
            events.append(event("v", "VIEWED", **common))
        if n % 4 == 0:
            events.append(event("c", "CLICKED", **common))
        if n % 5 == 0:
            events.append(event("b", "CONVERTED", revenue=25.5, **common))
    await ingest(stubs, *events)


async def test_every_metric_of_a_funnel(stubs: Stubs) -> None:
    await add_funnel(stubs)
    metrics = await metrics_of(stubs)
    assert (metrics.impressions, metrics.views, metrics.clicks, metrics.conversions) == (20, 10, 5, 4)
    assert (metrics.revenue, metrics.cost, metrics.profit) == (102.0, 2.0, 100.0)
    assert (metrics.view_rate, metrics.ctr, metrics.conversion_rate) == (0.5, 0.25, 0.4)
    assert (metrics.revenue_per_impression, metrics.cost_per_conversion) == (5.1, 0.5)
    assert (metrics.roas, metrics.roi) == (51.0, 50.0)
    assert metrics.profit_margin == pytest.approx(100 / 102)
    assert metrics.breakeven_conversions == 1
    assert (metrics.reached_users, metrics.converting_users, metrics.user_conversion_rate) == (20, 4, 0.2)
    assert metrics.currency_code == "USD"
    assert not metrics.HasField("date_range")
    for name in (
        "view_rate",
        "ctr",
        "conversion_rate",
        "revenue_per_impression",
        "roas",
        "user_conversion_rate",
    ):
        interval, value = getattr(metrics, f"{name}_interval"), getattr(metrics, name)
        assert interval.lower < value < interval.upper, name


async def test_undefined_is_unset(stubs: Stubs) -> None:
    metrics = await metrics_of(stubs)
    assert metrics == pb.GetCampaignMetricsResponse(
        campaign_id="c1", reached_users=0, converting_users=0, interval_method="user_delta_method"
    )


async def test_a_range_counts_its_days_only(stubs: Stubs) -> None:
    await add_funnel(stubs)
    metrics = await metrics_of(stubs, start_date="2026-03-05", end_date="2026-03-06")
    assert (metrics.impressions, metrics.views, metrics.conversions, metrics.reached_users) == (2, 1, 1, 2)
    assert (metrics.date_range.start_date, metrics.date_range.end_date) == ("2026-03-05", "2026-03-06")
    open_end = await metrics_of(stubs, start_date="2026-03-19")
    assert (open_end.impressions, open_end.date_range.end_date) == (2, "2026-03-20")
    open_start = await metrics_of(stubs, end_date="2026-03-03")
    assert (open_start.impressions, open_start.date_range.start_date) == (3, "2026-03-01")
    beyond = await metrics_of(stubs, start_date="2026-04-10")
    assert (beyond.impressions, beyond.HasField("view_rate")) == (0, False)


async def test_a_range_of_a_campaign_without_events_is_empty(stubs: Stubs) -> None:
    metrics = await metrics_of(stubs, "c2", start_date="2026-03-05")
    assert metrics.impressions == 0
    assert metrics.date_range.start_date == metrics.date_range.end_date == "2026-03-05"


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"campaign_id": ""}, {"campaign_id": "FIELD_REQUIRED"}),
        ({"campaign_id": "x" * 129}, {"campaign_id": "TEXT_INVALID"}),
        ({"campaign_id": "a\0"}, {"campaign_id": "TEXT_INVALID"}),
        ({"start_date": "2026-02-30"}, {"start_date": "DATE_INVALID"}),
        ({"end_date": "yesterday"}, {"end_date": "DATE_INVALID"}),
        ({"start_date": "2026-03-02", "end_date": "2026-03-01"}, {"end_date": "RANGE_REVERSED"}),
        ({"start_date": "0001-01-01"}, {"start_date": "VALUE_OUT_OF_RANGE"}),
    ],
)
async def test_a_bad_question_is_refused_by_field(
    stubs: Stubs, fields: dict[str, str], expected: dict[str, str]
) -> None:
    request = {"campaign_id": "c1", **fields}
    for call in (
        stubs.analytics.GetCampaignMetrics(pb.GetCampaignMetricsRequest(**request)),
        stubs.analytics.GetCampaignTrend(pb.GetCampaignTrendRequest(**request)),
    ):
        refused = await refusal(call)
        assert (refused.code, refused.fields) == ("INVALID_ARGUMENT", expected)


async def test_an_unknown_campaign_is_not_found(stubs: Stubs) -> None:
    for call in (
        metrics_of(stubs, "nobody"),
        metrics_of(stubs, "nobody", start_date="2026-03-01"),
        trend_of(stubs, campaign_id="nobody"),
    ):
        refused = await refusal(call)
        assert (refused.code, refused.reason) == ("NOT_FOUND", "CAMPAIGN_UNKNOWN")


async def test_trends_fill_their_gaps(stubs: Stubs) -> None:
    await ingest(
        stubs,
        event("a", cost=0.25),
        event("b", "CONVERTED", revenue=3, event_time="2026-03-04T23:59:59+00:00"),
    )
    daily = await trend_of(stubs)
    assert daily.interval == "daily"
    assert [(p.period, p.impressions, p.conversions) for p in daily.points] == [
        ("2026-03-01", 1, 0),
        ("2026-03-02", 0, 0),
        ("2026-03-03", 0, 0),
        ("2026-03-04", 0, 1),
    ]
    hourly = await trend_of(stubs, "hourly")
    assert len(hourly.points) == 96
    assert hourly.points[10] == trends_pb2.TrendPoint(
        period="2026-03-01T10:00:00+00:00", impressions=1, cost=0.25
    )
    weekly = await trend_of(stubs, "weekly")
    assert [p.period for p in weekly.points] == ["2026-02-23", "2026-03-02"]
    monthly = await trend_of(stubs, "monthly", start_date="2026-01-15")
    assert [(p.period, p.revenue) for p in monthly.points] == [
        ("2026-01-01", 0),
        ("2026-02-01", 0),
        ("2026-03-01", 3),
    ]


async def test_a_trend_without_events_is_empty_or_zeros(stubs: Stubs) -> None:
    assert list((await trend_of(stubs, campaign_id="c2")).points) == []
    assert list((await trend_of(stubs, campaign_id="c2", start_date="2026-03-01")).points) == []
    zeros = await trend_of(stubs, campaign_id="c2", start_date="2026-03-01", end_date="2026-03-03")
    assert [p.impressions for p in zeros.points] == [0, 0, 0]
    await ingest(stubs, event("a"))
    assert list((await trend_of(stubs, start_date="2026-04-01")).points) == []


async def test_a_trend_with_too_many_points_or_an_unknown_interval_is_refused(stubs: Stubs) -> None:
    refused = await refusal(trend_of(stubs, "fortnightly"))
    assert refused.fields == {"interval": "VALUE_UNKNOWN"}
    refused = await refusal(trend_of(stubs, "hourly", start_date="2025-01-01", end_date="2026-03-01"))
    assert refused.fields == {"end_date": "VALUE_OUT_OF_RANGE"}


async def test_an_open_end_reaches_as_far_as_a_range_may_be_long(stubs: Stubs) -> None:
    await ingest(stubs, event("old", event_time="2000-01-01T00:00:00+00:00"), event("new"))
    daily = (await trend_of(stubs)).points
    assert (len(daily), daily[-1].period, daily[-1].impressions) == (3660, "2026-03-01", 1)
    hourly = (await trend_of(stubs, "hourly")).points
    assert (len(hourly), hourly[-1].period) == (366 * 24, "2026-03-01T23:00:00+00:00")
    from_old = (await trend_of(stubs, start_date="2000-01-01")).points
    assert (len(from_old), from_old[0].period, from_old[0].impressions) == (3660, "2000-01-01", 1)


@pytest.mark.parametrize("days", [{"start_date": "2199-12-31"}, {"end_date": "1970-01-01"}])
async def test_a_range_beside_all_events_is_its_own_day_and_empty(stubs: Stubs, days: dict[str, str]) -> None:
    await add_funnel(stubs)
    metrics = await metrics_of(stubs, **days)
    (day,) = days.values()
    assert (metrics.date_range.start_date, metrics.date_range.end_date) == (day, day)
    assert (metrics.impressions, metrics.reached_users) == (0, 0)


async def test_days_are_those_of_the_reporting_zone(database: DatabaseAddresses) -> None:
    async with running_server(
        database.analytics,
        reporting_time_zone="America/New_York",
        clock=lambda: datetime(2017, 9, 30, tzinfo=UTC),
    ) as stubs:
        await add_catalog(stubs)
        purchase = {"campaign_id": None, "merchant_id": 1}
        await ingest(
            stubs,
            event("a", "CONVERTED", revenue=1, event_time="2017-07-04T03:59:59+00:00", **purchase),
            event("b", "CONVERTED", revenue=2, event_time="2017-07-04T04:00:00+00:00", **purchase),
            event("c", "CONVERTED", revenue=4, event_time="2017-07-05T03:59:59+00:00", **purchase),
            event("d", "CONVERTED", revenue=8, event_time="2017-07-05T04:00:00+00:00", **purchase),
        )
        day = await portfolio_of(stubs, start_date="2017-07-04", end_date="2017-07-04")
        assert (day.totals.purchase_count, day.totals.purchase_revenue) == (2, 6)
        assert (day.total_campaigns, day.totals.conversions, day.totals.revenue) == (0, 0, 0)


async def test_the_portfolio_counts_campaigns_and_purchases_apart(stubs: Stubs) -> None:
    await add_funnel(stubs)
    await ingest(
        stubs,
        event("x", "CONVERTED", user_id="p", campaign_id=None, merchant_id=1, revenue=7),
        event("y", "REFUNDED", user_id="p", campaign_id=None, original_event_id="x", revenue=2),
        event("old", event_time="2026-02-20T00:00:00+00:00", cost=1),
        event("o", "CONVERTED", campaign_id="c2", revenue=4, cost=2),
    )
    answer = await portfolio_of(stubs, days=31)
    assert (answer.date_range.start_date, answer.date_range.end_date) == ("2026-03-01", "2026-03-31")
    assert answer.total_campaigns == 2
    totals = answer.totals
    assert (totals.impressions, totals.conversions, totals.purchase_count) == (20, 5, 1)
    assert (totals.revenue, totals.cost, totals.profit, totals.purchase_revenue) == (106.0, 4.0, 102.0, 5.0)
    assert (totals.currency_code, totals.roas) == ("USD", 26.5)
    assert answer.average_roas == (51 + 2) / 2
    change = answer.change
    assert (change.date_range.start_date, change.date_range.end_date) == ("2026-01-29", "2026-02-28")
    assert (change.totals.impressions, change.impressions_change, change.cost_change) == (1, 19.0, 3.0)
    assert not change.HasField("revenue_change")
    assert [c.currency_code for c in answer.currencies] == ["USD"]


async def test_money_of_two_currencies_is_never_added(stubs: Stubs) -> None:
    await stubs.catalog.UpsertCampaigns(
        catalog_service_pb2.UpsertCampaignsRequest(campaigns=[campaign("euro", merchant_id=2)])
    )
    await ingest(
        stubs,
        event("a", "CONVERTED", revenue=10, cost=5),
        event("b", "CONVERTED", campaign_id="euro", revenue=30, cost=10),
    )
    answer = await portfolio_of(stubs, days=31)
    assert answer.totals.conversions == 2
    for name in ("revenue", "cost", "profit", "roas", "purchase_revenue"):
        assert not answer.totals.HasField(name)
    assert answer.totals.currency_code == ""
    assert [(c.currency_code, c.totals.revenue, c.average_roas) for c in answer.currencies] == [
        ("EUR", 30, 3.0),
        ("USD", 10, 2.0),
    ]


async def test_nothing_after_as_of_is_counted(stubs: Stubs) -> None:
    purchase = {"campaign_id": None, "merchant_id": 1, "cost": 0.5}
    await ingest(
        stubs,
        event("a", cost=1, event_time="2026-03-09T10:00:00+00:00"),
        event("b", cost=2, event_time="2026-03-10T10:00:00+00:00"),
        event("c", cost=4, event_time="2026-03-10T10:00:01+00:00"),
        event("d", cost=8, campaign_id="c2", event_time="2026-03-10T09:00:00+00:00"),
        event("p", "CONVERTED", revenue=3, event_time="2026-03-10T09:00:00+00:00", **purchase),
        event("q", "CONVERTED", revenue=5, event_time="2026-03-10T11:00:00+00:00", **purchase),
    )
    as_of = timestamp("2026-03-10T10:00:00+00:00")
    two_days = await portfolio_of(stubs, days=2, as_of=as_of)
    assert (two_days.totals.cost, two_days.totals.purchase_revenue, two_days.total_campaigns) == (11.5, 3, 2)
    one_day = await portfolio_of(stubs, days=1, as_of=as_of)
    assert (one_day.totals.cost, one_day.totals.impressions) == (10.5, 2)
    assert one_day.change.totals.impressions == 1


@pytest.mark.parametrize(
    ("query", "before"),
    [
        ({"days": 1}, 1),
        ({"days": 1, "as_of": timestamp("2026-03-31T10:00:00+00:00")}, 0),
        ({"start_date": "2026-03-31", "end_date": "2026-03-31"}, 1),
        ({"start_date": "2026-03-31", "end_date": "2026-04-01"}, 2),
    ],
)
async def test_a_day_that_is_not_over_is_compared_with_as_much_of_the_day_before(
    stubs: Stubs, query: dict[str, Any], before: int
) -> None:
    await ingest(
        stubs,
        event("morning", event_time="2026-03-30T11:00:00+00:00"),
        event("evening", event_time="2026-03-30T20:00:00+00:00"),
        event("today", event_time="2026-03-31T09:00:00+00:00"),
    )
    assert (await portfolio_of(stubs, **query)).change.totals.impressions == before


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({"days": 0}, {"days": "VALUE_OUT_OF_RANGE"}),
        ({"days": 3661}, {"days": "VALUE_OUT_OF_RANGE"}),
        ({"as_of": timestamp("0001-01-01T00:00:00+00:00")}, {"as_of": "TIME_OUT_OF_RANGE"}),
        ({"as_of": timestamp("9999-12-31T23:59:59+00:00")}, {"as_of": "TIME_OUT_OF_RANGE"}),
        (
            {"days": 3, "start_date": "2026-03-01", "end_date": "2026-03-02"},
            {"start_date": "FIELDS_CONFLICT"},
        ),
        ({"start_date": "2026-03-01"}, {"end_date": "FIELD_REQUIRED"}),
        ({"end_date": "2026-03-01"}, {"start_date": "FIELD_REQUIRED"}),
        ({"start_date": "2026-03-02", "end_date": "2026-03-01"}, {"end_date": "RANGE_REVERSED"}),
    ],
)
async def test_an_absurd_portfolio_range_is_refused(
    stubs: Stubs, query: dict[str, Any], expected: dict[str, str]
) -> None:
    refused = await refusal(portfolio_of(stubs, **query))
    assert (refused.code, refused.fields) == ("INVALID_ARGUMENT", expected)
