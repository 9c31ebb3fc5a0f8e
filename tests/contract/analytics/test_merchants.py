# ruff: noqa: ANN401 (values of any field of a message pass through here)
"""A merchant's performance, through a real server and stub."""

from collections.abc import Mapping
from typing import Any

import pytest

from gen.campaigns.analytics.v1 import analytics_service_pb2 as analytics_pb
from gen.campaigns.analytics.v1 import merchants_pb2 as pb
from tests.analytics_factories import Stubs, add_catalog, campaign, event, ingest, refusal

RATIOS = ("view_rate", "ctr", "conversion_rate", "roas")


async def merchant_of(stubs: Stubs, merchant_id: int = 1, **fields: Any) -> Any:
    return await stubs.analytics.GetMerchantPerformance(
        pb.GetMerchantPerformanceRequest(merchant_id=merchant_id, **fields)
    )


def funnel(campaign_id: str, users: int = 20, **fields: Any) -> list[Any]:
    """Users of a campaign: all reached for 0.10, every second views, every fourth converts for 20 or 30."""
    events = []
    for n in range(users):
        common = {"campaign_id": campaign_id, "user_id": f"u{n}", **fields}
        events.append(event(f"{campaign_id}-d", cost=0.1, **common))
        if n % 2 == 0:
            events.append(event(f"{campaign_id}-v", "VIEWED", **common))
        if n % 4 == 0:
            revenue = 20.0 + 10 * (n % 8 == 0)
            events.append(event(f"{campaign_id}-b", "CONVERTED", revenue=revenue, **common))
    return events


async def add_world(stubs: Stubs) -> None:
    """c1 and c3 at merchant 1, c2 at merchant 2 in EUR; two purchases and four entries at merchant 1."""
    await add_catalog(
        stubs,
        campaign("c1", merchant_id=1, campaign_name="One"),
        campaign("c2", merchant_id=2),
        campaign("c3", merchant_id=1),
    )
    for events in (funnel("c1"), funnel("c2"), funnel("c3", 4, event_time="2026-03-09T10:00:00+00:00")):
        await ingest(stubs, *events)
    plain: Mapping[str, Any] = {"campaign_id": None, "merchant_id": 1}
    await ingest(
        stubs,
        event("p1", "CONVERTED", revenue=7.5, **plain),
        event("p2", "CONVERTED", revenue=2.5, event_time="2026-03-09T10:00:00+00:00", **plain),
        event("r1", "REFUNDED", revenue=1.5, original_event_id="p1", **plain),
        event("g1", "GEOFENCE_ENTERED", **plain),
        event("g2", "GEOFENCE_ENTERED", **plain),
        event("g3", "GEOFENCE_ENTERED", campaign_id="c1"),
        event("g4", "GEOFENCE_ENTERED", event_time="2026-03-09T10:00:00+00:00", **plain),
        event("n1", "NOTIFICATION_DELIVERED", campaign_id="c1"),
        event("n2", "NOTIFICATION_OPENED", campaign_id="c1"),
    )


async def test_a_merchant_is_its_campaigns_purchases_and_entries(stubs: Stubs) -> None:
    await add_world(stubs)
    answer = await merchant_of(stubs)
    totals = answer.totals
    assert (totals.impressions, totals.views, totals.conversions) == (24, 12, 6)
    assert (totals.revenue, totals.cost, totals.profit) == (160.0, 2.4, 157.6)
    assert (totals.purchase_count, totals.purchase_revenue) == (2, 8.5)
    assert (totals.notification_deliveries, totals.notification_opens) == (1, 1)
    assert (answer.geofence_entries, answer.campaign_geofence_entries) == (4, 1)
    assert answer.conversions_per_geofence_entry == 1.5
    interval = answer.conversions_per_geofence_entry_interval
    assert interval.lower < 1.5 < interval.upper
    assert (answer.total_campaigns, totals.currency_code) == (2, "USD")
    assert not answer.HasField("date_range")
    assert [(c.campaign_id, c.campaign_name, c.totals.conversions) for c in answer.campaigns] == [
        ("c1", "One", 5),
        ("c3", "", 1),
    ]
    (currency,) = answer.currencies
    assert (currency.currency_code, currency.total_campaigns) == ("USD", 2)
    assert currency.totals == totals
    assert currency.average_roas == pytest.approx((130 / 2 + 30 / 0.4) / 2)


async def test_a_campaign_of_one_merchant_has_its_own_intervals_there(stubs: Stubs) -> None:
    """Everything c1 did was at merchant 1, so what is said of it there is what is said of it anywhere."""
    await add_world(stubs)
    there = (await merchant_of(stubs)).campaigns[0].totals
    anywhere = await stubs.analytics.GetCampaignMetrics(
        analytics_pb.GetCampaignMetricsRequest(campaign_id="c1")
    )
    for name in RATIOS:
        assert getattr(there, name) == getattr(anywhere, name), name
        interval, expected = getattr(there, f"{name}_interval"), getattr(anywhere, f"{name}_interval")
        assert (interval.lower, interval.upper) == pytest.approx((expected.lower, expected.upper)), name


async def test_a_user_of_two_campaigns_is_one_user(stubs: Stubs) -> None:
    """The same twenty users in both campaigns: twice the events, and an interval as wide as of one."""
    await add_catalog(stubs, campaign("c1", merchant_id=1), campaign("c2", merchant_id=1))
    await ingest(stubs, *funnel("c1"))
    one = (await merchant_of(stubs)).totals
    await ingest(stubs, *funnel("c2"))
    both = (await merchant_of(stubs)).totals
    assert (both.impressions, both.view_rate) == (2 * one.impressions, one.view_rate)
    assert both.view_rate_interval.lower == pytest.approx(one.view_rate_interval.lower, abs=0.01)
    assert both.view_rate_interval.upper == pytest.approx(one.view_rate_interval.upper, abs=0.01)


async def test_a_range_counts_its_days_only(stubs: Stubs) -> None:
    await add_world(stubs)
    answer = await merchant_of(stubs, start_date="2026-03-09", end_date="2026-03-10")
    assert (answer.totals.conversions, answer.totals.purchase_count, answer.geofence_entries) == (1, 1, 1)
    assert [c.campaign_id for c in answer.campaigns] == ["c3"]
    assert (answer.date_range.start_date, answer.date_range.end_date) == ("2026-03-09", "2026-03-10")
    assert answer.totals.HasField("view_rate_interval")
    until = await merchant_of(stubs, end_date="2026-03-08")
    assert (until.date_range.start_date, until.date_range.end_date) == ("2026-03-01", "2026-03-08")
    since = await merchant_of(stubs, start_date="2026-03-02")
    assert (since.date_range.start_date, since.date_range.end_date) == ("2026-03-02", "2026-03-09")
    before = await merchant_of(stubs, start_date="2020-01-01", end_date="2020-01-31")
    assert (before.totals.impressions, before.total_campaigns, len(before.currencies)) == (0, 0, 0)
    assert not before.HasField("conversions_per_geofence_entry")


async def test_currencies_are_grouped_and_never_added(stubs: Stubs) -> None:
    """A EUR campaign delivers at merchant 1, whose own campaigns are in USD."""
    await add_world(stubs)
    elsewhere = [
        event(f"e{n}", kind, campaign_id="c2", user_id=f"u{n}", merchant_id=1, revenue=revenue)
        for n, (kind, revenue) in enumerate([("VIEWED", None), ("VIEWED", None), ("CONVERTED", 5.0)])
    ]
    await ingest(stubs, *elsewhere)
    answer = await merchant_of(stubs)
    assert (answer.totals.views, answer.totals.conversions, answer.total_campaigns) == (14, 7, 3)
    assert answer.totals.currency_code == ""
    for name in ("revenue", "cost", "profit", "roas", "purchase_revenue"):
        assert not answer.totals.HasField(name), name
    assert answer.totals.HasField("conversion_rate")
    assert [(c.currency_code, c.totals.revenue) for c in answer.currencies] == [("EUR", 5.0), ("USD", 160.0)]


async def test_campaigns_come_in_pages(stubs: Stubs) -> None:
    await add_world(stubs)
    first = await merchant_of(stubs, page_size=1)
    second = await merchant_of(stubs, page_size=1, page_token=first.next_page_token)
    assert [c.campaign_id for c in (*first.campaigns, *second.campaigns)] == ["c1", "c3"]
    assert (second.next_page_token, second.totals) == ("", first.totals)


async def test_what_cannot_be_answered_is_refused(stubs: Stubs) -> None:
    await add_world(stubs)
    unknown = await refusal(merchant_of(stubs, 404))
    assert (unknown.code, unknown.reason) == ("NOT_FOUND", "MERCHANT_UNKNOWN")
    token = (await merchant_of(stubs, page_size=1)).next_page_token
    for fields, expected in (
        ({"merchant_id": -1}, {"merchant_id": "VALUE_OUT_OF_RANGE"}),
        ({"page_size": -1}, {"page_size": "VALUE_OUT_OF_RANGE"}),
        ({"page_token": "!"}, {"page_token": "PAGE_TOKEN_INVALID"}),
        ({"page_token": token, "start_date": "2026-03-01"}, {"page_token": "PAGE_TOKEN_INVALID"}),
        ({"start_date": "2026-03-02", "end_date": "2026-03-01"}, {"end_date": "RANGE_REVERSED"}),
        ({"end_date": "9999-01-01"}, {"end_date": "VALUE_OUT_OF_RANGE"}),
    ):
        refused = await refusal(merchant_of(stubs, **fields))
        assert (refused.code, refused.fields) == ("INVALID_ARGUMENT", expected)
