"""What is out of the ordinary in a trend, through a real server and stub."""

import threading
from datetime import date, timedelta

import pytest

from gen.campaigns.analytics.v1 import analytics_service_pb2 as pb
from gen.campaigns.analytics.v1 import costs_pb2, trends_pb2
from services.analytics.convert import trends as convert_trends
from services.analytics.operations.trends import Trend
from tests.analytics_factories import Stubs, event, ingest

FIRST = date(2026, 1, 26)  # a Monday, 64 days before noon of 2026-03-31


async def trend_of(stubs: Stubs, interval: str = "", **days: str) -> trends_pb2.GetCampaignTrendResponse:
    request = pb.GetCampaignTrendRequest(campaign_id="c1", interval=interval, **days)
    return await stubs.analytics.GetCampaignTrend(request)


async def add_days(stubs: Stubs, clicks: list[int]) -> None:
    """As many clicks a day, in batches of fifty."""
    events = [
        event(
            f"{place}-{n}",
            "CLICKED",
            user_id=f"u{n % 7}",
            event_time=f"{FIRST + timedelta(days=place)}T10:00:00+00:00",
        )
        for place, count in enumerate(clicks)
        for n in range(count)
    ]
    for start in range(0, len(events), 50):
        await ingest(stubs, *events[start : start + 50])


async def test_a_day_out_of_the_ordinary_and_a_new_level_are_told(stubs: Stubs) -> None:
    """8 and 9 clicks by turns, 60 on 20 February; from 10 March on 22 and 23."""
    clicks = [8 + place % 2 for place in range(43)] + [22 + place % 2 for place in range(22)]
    clicks[25] = 60
    await add_days(stubs, clicks)
    trend = await trend_of(stubs)
    assert [point.period for point in trend.points if point.anomalies] == ["2026-02-20"]
    (anomaly,) = trend.points[25].anomalies
    assert (anomaly.metric, anomaly.direction) == ("clicks", "high")
    assert 7 < anomaly.expected < 10
    assert anomaly.expected_interval.lower < 8
    assert 9 < anomaly.expected_interval.upper < 60
    (change,) = trend.change_points
    assert (change.metric, change.period) == ("clicks", "2026-03-10")
    assert 8 < change.level_before < 11
    assert 22 <= change.level_after <= 23
    assert change.relative_change == change.level_after / change.level_before - 1
    assert "Bonferroni" in trend.detection_method
    assert [point.is_partial for point in trend.points] == [False] * 64 + [True]


async def test_a_long_trend_is_put_together_beside_the_event_loop(
    stubs: Stubs, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads = []
    put_together = convert_trends.trend_to_proto

    def note(trend: Trend) -> trends_pb2.GetCampaignTrendResponse:
        threads.append(threading.current_thread())
        return put_together(trend)

    monkeypatch.setattr(convert_trends, "trend_to_proto", note)
    await add_days(stubs, [1])
    year = await trend_of(stubs, "hourly", start_date="2025-04-01", end_date="2026-03-31")
    assert len(year.points) == 365 * 24
    await trend_of(stubs, "daily")
    assert threads[0] is not threading.current_thread()
    assert threads[1] is threading.current_thread()


async def test_a_short_history_is_not_judged(stubs: Stubs) -> None:
    await add_days(stubs, [1] * 30 + [40])
    trend = await trend_of(stubs)
    assert not trend.detection_method
    assert not trend.change_points
    assert not any(point.anomalies for point in trend.points)


async def test_weeks_and_months_that_are_cut_short_say_so(stubs: Stubs) -> None:
    await add_days(stubs, [1] * 65)
    weekly = await trend_of(stubs, "weekly", start_date="2026-02-04")
    assert (weekly.points[0].period, weekly.points[0].clicks) == ("2026-02-02", 5)
    assert [point.is_partial for point in weekly.points] == [True, *[False] * 7, True]
    monthly = await trend_of(stubs, "monthly")
    assert [(point.period, point.clicks, point.is_partial) for point in monthly.points] == [
        ("2026-01-01", 6, True),
        ("2026-02-01", 28, False),
        ("2026-03-01", 31, True),
    ]


@pytest.mark.parametrize(
    ("start", "end"),
    [
        ("2026-01-26", "2026-03-29"),  # whole weeks
        ("2026-01-28", "2026-03-30"),  # cut at both ends
        ("2026-02-01", "2026-02-02"),  # a Sunday and a Monday
        ("2026-02-02", "2026-02-02"),  # a Monday
        ("2026-02-03", "2026-02-06"),  # within a week
        ("2026-02-03", "2026-02-08"),  # up to its end
        ("2026-02-02", "2026-02-04"),  # from its beginning
        ("2026-02-05", "2026-02-11"),  # the end of one and the beginning of the next
        ("2026-04-01", "2026-05-20"),  # after everything
    ],
)
async def test_weeks_are_the_sums_of_their_days(stubs: Stubs, start: str, end: str) -> None:
    await add_days(stubs, [1 + place % 5 for place in range(65)])
    costs = [
        costs_pb2.DailyCost(campaign_id="c1", cost_date=str(FIRST + timedelta(days=place)), cost=place + 0.5)
        for place in range(0, 60, 3)
    ]
    await stubs.analytics.ImportCosts(costs_pb2.ImportCostsRequest(costs=costs))
    sums: dict[str, list[float]] = {}
    for point in (await trend_of(stubs, "daily", start_date=start, end_date=end)).points:
        day = date.fromisoformat(point.period)
        week = sums.setdefault(str(day - timedelta(days=day.weekday())), [0, 0])
        week[0] += point.clicks
        week[1] += point.cost
    weekly = await trend_of(stubs, "weekly", start_date=start, end_date=end)
    assert {point.period: [point.clicks, point.cost] for point in weekly.points} == sums
