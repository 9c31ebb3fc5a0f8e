# ruff: noqa: ANN401 (values of any field of a message pass through here)
"""Break-even, notifications, users of ranges, and days of 23 and 25 hours, through a real server and stub."""

from typing import Any

import asyncpg
import pytest

from deploy.local.bootstrap import DatabaseAddresses
from gen.campaigns.analytics.v1 import analytics_service_pb2 as pb
from services.analytics.operations import metrics as operations
from tests.analytics_factories import Stubs, add_catalog, event, ingest, refusal, running_server


def metrics_of(stubs: Stubs, campaign_id: str = "c1", **days: str) -> Any:
    return stubs.analytics.GetCampaignMetrics(pb.GetCampaignMetricsRequest(campaign_id=campaign_id, **days))


def roi_of(stubs: Stubs, campaign_id: str = "c1") -> Any:
    return stubs.analytics.GetCampaignRoi(pb.GetCampaignRoiRequest(campaign_id=campaign_id))


async def add_buyers(stubs: Stubs, users: int = 12) -> None:
    """One a day from 2026-03-01: delivered at 0.5, viewed, a third convert for 2, 3, 4, …"""
    for n in range(users):
        common = {"user_id": f"u{n}", "event_time": f"2026-03-{n + 1:02d}T10:00:00+00:00"}
        events = [event("d", cost=0.5, **common), event("v", "VIEWED", **common)]
        if n % 3 == 0:
            events.append(event("b", "CONVERTED", revenue=2 + n / 3, **common))
        await ingest(stubs, *events)


async def import_cost(database: DatabaseAddresses, micros: int) -> None:
    """As the import of costs leaves it: in the day, in the life, and by itself."""
    connection = await asyncpg.connect(database.admin)
    try:
        await connection.execute(
            "insert into analytics.campaign_daily_costs values ('c1', '2026-03-02', 1, 'USD', $1)", micros
        )
        await connection.execute(
            "update analytics.campaign_totals set cost_micros = cost_micros + $1, imported_cost_micros = $1",
            micros,
        )
        await connection.execute(
            "update analytics.campaign_analytics_daily set cost_micros = cost_micros + $1"
            " where day = '2026-03-02'",
            micros,
        )
    finally:
        await connection.close()


async def test_roi_says_what_it_takes_to_pay_the_cost(stubs: Stubs) -> None:
    await add_buyers(stubs)
    roi = await roi_of(stubs)
    assert (roi.total_cost, roi.total_revenue, roi.profit, roi.currency_code) == (6.0, 14.0, 8.0, "USD")
    assert (roi.roas, roi.roi) == (pytest.approx(14 / 6), pytest.approx(8 / 6))
    assert roi.cost_per_conversion == 1.5
    assert roi.profit_margin_percent == pytest.approx(100 * 8 / 14)
    # 14 / 4 = 3.50 a conversion: 6 is paid by two of them.
    assert (roi.breakeven.conversions, roi.breakeven.is_reached) == (2, True)
    assert roi.breakeven.conversion_rate == pytest.approx(6 / 3.5 / 12)
    assert roi.roas_interval.lower < roi.roas < roi.roas_interval.upper
    assert roi.roi_interval.lower == pytest.approx(roi.roas_interval.lower - 1)
    assert roi.profit_interval.lower < roi.profit < roi.profit_interval.upper
    metrics = await metrics_of(stubs)
    assert metrics.breakeven_conversion_rate == roi.breakeven.conversion_rate
    assert metrics.breakeven_conversions == 2
    assert metrics.roas_interval == roi.roas_interval


async def test_roi_without_events_is_zero_and_undefined(stubs: Stubs) -> None:
    roi = await roi_of(stubs, "c2")
    assert (roi.total_cost, roi.total_revenue, roi.profit) == (0, 0, 0)
    for name in ("roas", "roi", "cost_per_conversion", "profit_margin_percent", "roas_interval"):
        assert not roi.HasField(name), name
    for name in ("conversions", "is_reached", "conversion_rate"):
        assert not roi.breakeven.HasField(name), name
    refused = await refusal(roi_of(stubs, "nobody"))
    assert (refused.code, refused.reason) == ("NOT_FOUND", "CAMPAIGN_UNKNOWN")


async def test_an_imported_cost_moves_the_profit_and_does_not_widen_it(
    unkept_stubs: Stubs, database: DatabaseAddresses
) -> None:
    await add_buyers(unkept_stubs)
    before = await roi_of(unkept_stubs)
    await import_cost(database, 10_000_000)
    after = await roi_of(unkept_stubs)
    assert (after.total_cost, after.profit, after.breakeven.is_reached) == (16.0, -2.0, False)
    assert after.profit_interval.lower == pytest.approx(before.profit_interval.lower - 10)
    assert after.profit_interval.upper == pytest.approx(before.profit_interval.upper - 10)
    assert after.roas_interval.lower < 14 / 16 < after.roas_interval.upper
    first_days = await metrics_of(unkept_stubs, start_date="2026-03-01", end_date="2026-03-02")
    assert (first_days.cost, first_days.revenue) == (11.0, 2.0)


async def test_notifications_and_geofences_are_counted_beside_the_funnel(stubs: Stubs) -> None:
    await ingest(
        stubs,
        *(event(f"n{n}", "NOTIFICATION_DELIVERED", user_id=f"u{n}") for n in range(8)),
        *(event(f"o{n}", "NOTIFICATION_OPENED", user_id=f"u{n}") for n in range(2)),
        event("g", "GEOFENCE_ENTERED"),
        event("x", "UNSUBSCRIBED", user_id="u2"),
        event("later", "NOTIFICATION_DELIVERED", user_id="u9", event_time="2026-03-05T10:00:00+00:00"),
    )
    for metrics, deliveries in (
        (await metrics_of(stubs), 9),
        (await metrics_of(stubs, start_date="2026-03-01", end_date="2026-03-02"), 8),
    ):
        assert (metrics.impressions, metrics.views, metrics.clicks) == (0, 0, 0)
        assert (metrics.notification_deliveries, metrics.notification_opens) == (deliveries, 2)
        assert (metrics.geofence_entries, metrics.unsubscribes) == (1, 1)
        assert metrics.notification_open_rate == pytest.approx(2 / deliveries)
        interval = metrics.notification_open_rate_interval
        assert 0 < interval.lower < 2 / deliveries < interval.upper < 1
        assert metrics.interval_method == "user_delta_method"


async def test_a_source_that_reports_no_views_has_no_view_rate(stubs: Stubs) -> None:
    await ingest(stubs, *(event(f"d{n}", user_id=f"u{n}") for n in range(5)))
    unseen = await metrics_of(stubs)
    assert (unseen.view_rate, unseen.HasField("view_rate_interval")) == (0, True)
    assert unseen.HasField("view_rate")
    await ingest(stubs, event("b", "CONVERTED", user_id="u1", revenue=5))
    silent = await metrics_of(stubs)
    for name in ("view_rate", "view_rate_interval", "conversion_rate", "breakeven_conversion_rate"):
        assert not silent.HasField(name), name
    assert silent.HasField("ctr")


async def test_a_range_that_holds_all_days_is_the_life(stubs: Stubs) -> None:
    await add_buyers(stubs)
    life = await metrics_of(stubs)
    whole = await metrics_of(stubs, start_date="2026-01-01", end_date="2026-03-31")
    assert whole.date_range.start_date == "2026-01-01"
    whole.ClearField("date_range")
    assert whole == life


async def test_users_of_a_range_are_added_up_as_those_of_a_life(stubs: Stubs) -> None:
    """c2 lives on the range's days only, by the same events: its life is what the range must say."""
    await add_buyers(stubs)
    for n in range(3, 9):
        common = {"user_id": f"u{n}", "campaign_id": "c2", "event_time": "2026-03-05T10:00:00+00:00"}
        events = [event("d2", cost=0.5, **common), event("v2", "VIEWED", **common)]
        if n % 3 == 0:
            events.append(event("b2", "CONVERTED", revenue=2 + n / 3, **common))
        await ingest(stubs, *events)
    part = await metrics_of(stubs, start_date="2026-03-04", end_date="2026-03-09")
    part.ClearField("date_range")
    life = await metrics_of(stubs, "c2")
    life.campaign_id = "c1"
    assert part == life


async def test_a_range_of_very_many_events_has_intervals_by_the_design_effect(
    unkept_stubs: Stubs, monkeypatch: pytest.MonkeyPatch
) -> None:
    await add_buyers(unkept_stubs)
    exact = await metrics_of(unkept_stubs, start_date="2026-03-01", end_date="2026-03-06")
    monkeypatch.setattr(operations, "MAXIMUM_EXACT_EVENTS", 3)
    quick = await metrics_of(unkept_stubs, start_date="2026-03-01", end_date="2026-03-06")
    assert (exact.interval_method, quick.interval_method) == ("user_delta_method", "design_effect")
    assert exact.reached_users == 6
    for name in ("reached_users", "converting_users", "user_conversion_rate"):
        assert not quick.HasField(name), name
    for name in ("impressions", "views", "conversions", "revenue", "cost", "roas", "conversion_rate"):
        assert getattr(quick, name) == getattr(exact, name), name
    for name in ("view_rate", "ctr", "conversion_rate", "roas", "revenue_per_impression"):
        if exact.HasField(f"{name}_interval"):
            assert quick.HasField(f"{name}_interval"), name
    interval = quick.conversion_rate_interval
    assert interval.lower < quick.conversion_rate < interval.upper


async def test_notifications_count_among_the_events_of_a_range(
    unkept_stubs: Stubs, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are read as well where users are added up: many of them are no reason to read for seconds."""
    kinds = ("NOTIFICATION_DELIVERED", "NOTIFICATION_OPENED", "GEOFENCE_ENTERED", "UNSUBSCRIBED")
    await ingest(unkept_stubs, *(event(kind, kind) for kind in kinds))
    await ingest(unkept_stubs, event("later", event_time="2026-03-02T10:00:00+00:00"))
    for maximum, method in ((4, "user_delta_method"), (3, "design_effect")):
        monkeypatch.setattr(operations, "MAXIMUM_EXACT_EVENTS", maximum)
        answer = await metrics_of(unkept_stubs, start_date="2026-03-01", end_date="2026-03-01")
        assert answer.interval_method == method


async def test_sealed_days_are_answered_from_what_is_kept(stubs: Stubs, database: DatabaseAddresses) -> None:
    await add_buyers(stubs)
    connection = await asyncpg.connect(database.admin)
    try:
        await connection.execute("update analytics.reporting_settings set sealed_through = '2026-03-02'")
    finally:
        await connection.close()
    sealed = await metrics_of(stubs, start_date="2026-03-02", end_date="2026-03-06")
    assert (sealed.interval_method, sealed.impressions) == ("design_effect", 5)
    kept = await metrics_of(stubs, start_date="2026-03-03", end_date="2026-03-06")
    assert (kept.interval_method, kept.reached_users) == ("user_delta_method", 4)


@pytest.mark.parametrize(
    ("moments", "hours"),
    [
        # New York, 2026: clocks go forward on March 8 at 2:00 and back on November 1.
        (("2026-03-08T05:00:00+00:00", "2026-03-09T03:59:59+00:00", "2026-03-09T04:00:00+00:00"), 23),
        (("2025-11-02T04:00:00+00:00", "2025-11-03T04:59:59+00:00", "2025-11-03T05:00:00+00:00"), 25),
    ],
)
async def test_a_day_whose_clock_changes_is_counted_whole(
    database: DatabaseAddresses, moments: tuple[str, str, str], hours: int
) -> None:
    first, last, after = moments
    day = first[:10]
    async with running_server(database.analytics, reporting_time_zone="America/New_York") as stubs:
        await add_catalog(stubs)
        await ingest(
            stubs,
            event("a", user_id="u1", event_time=first),
            event("b", user_id="u2", event_time=last),
            event("c", user_id="u3", event_time=after),
        )
        metrics = await metrics_of(stubs, start_date=day, end_date=day)
        assert (metrics.impressions, metrics.reached_users) == (2, 2)
        request = pb.GetCampaignTrendRequest(
            campaign_id="c1", interval="hourly", start_date=day, end_date=day
        )
        hourly = (await stubs.analytics.GetCampaignTrend(request)).points
        assert (len(hourly), hourly[0].impressions, hourly[-1].impressions) == (hours, 1, 1)
        daily = pb.GetCampaignTrendRequest(campaign_id="c1", start_date=day, end_date=day)
        assert [p.impressions for p in (await stubs.analytics.GetCampaignTrend(daily)).points] == [2]
