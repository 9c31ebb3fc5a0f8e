# ruff: noqa: ANN401 (values of any field of a message pass through here)
"""Forecasts through a real server and stub, made by a run over the same database."""

from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from deploy.local.bootstrap import DatabaseAddresses
from gen.campaigns.analytics.v1 import forecasts_pb2 as pb
from services.analytics.forecasting.run import run_forecasts
from services.analytics.forecasting_process import ForecastingProcess
from services.analytics.server import open_database
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
)
from tests.forecast_factories import add_days, daily_values

LAST_DAY = date(2026, 3, 30)


async def make(database: DatabaseAddresses, now: datetime = NOW) -> None:
    async with open_database(settings_for(database.analytics)) as opened:
        await run_forecasts(opened, zone=ZoneInfo("UTC"), clock=lambda: now, on_progress=lambda *_: None)


async def of_campaign(stubs: Stubs, campaign_id: str = "c", **fields: Any) -> Any:
    request = pb.GetCampaignForecastRequest(campaign_id=campaign_id, **fields)
    return await stubs.analytics.GetCampaignForecast(request)


async def of_portfolio(stubs: Stubs, **fields: Any) -> Any:
    return await stubs.analytics.GetPortfolioForecast(pb.GetPortfolioForecastRequest(**fields))


@pytest.mark.usefixtures("one_day")
async def test_a_run_of_the_process_is_served(database: DatabaseAddresses) -> None:
    """The process has the real clock, and so has this server."""
    last_day = datetime.now(UTC).date() - timedelta(days=1)
    await add_days(database.analytics, "c", daily_values(90, mean=80.0, seed=1), last_day)
    process = ForecastingProcess(
        database_url=database.analytics, reporting_time_zone="UTC", timeout_seconds=600.0
    )
    assert "forecasts of 1 campaigns and 1 portfolios" in await process.run()
    async with running_server(database.analytics, clock=lambda: datetime.now(UTC)) as stubs:
        answer, whole = await of_campaign(stubs), await of_portfolio(stubs)
    forecast = answer.forecast
    assert (answer.campaign_id, answer.currency_code, whole.currency_code) == ("c", "USD", "USD")
    assert forecast.history_end_date == last_day.isoformat()
    assert not forecast.is_stale
    assert [point.forecast_date for point in forecast.points] == [
        (last_day + timedelta(days=ahead)).isoformat() for ahead in range(1, 29)
    ]
    assert [one.metric for one in forecast.backtests] == ["conversions", "revenue", "cost"]
    for one in forecast.backtests:
        assert one.beats_baseline
        assert one.weighted_interval_score < one.baseline_weighted_interval_score
        assert one.coverage_interval.lower <= one.coverage <= one.coverage_interval.upper
        assert one.points >= 200
        assert one.days < one.points
    for point in (*forecast.points, *whole.forecast.points):
        assert point.conversions_interval.lower < point.conversions < point.conversions_interval.upper
        assert point.revenue == pytest.approx(20 * point.conversions, rel=0.2)
        assert point.cost == pytest.approx(3 * point.conversions, rel=0.2)
        assert point.revenue_interval_95.lower <= point.revenue_interval.lower
        assert point.cost_interval_95.upper >= point.cost_interval.upper
    total = sum(point.conversions for point in forecast.points)
    assert total == pytest.approx(28 * 80, rel=0.1), "the mean of the weekdays' factors is 1"


async def test_fewer_days_are_the_first_of_them(database: DatabaseAddresses) -> None:
    await add_days(database.analytics, "c", daily_values(40, mean=30.0, seed=1), LAST_DAY)
    await make(database)
    async with running_server(database.analytics) as stubs:
        whole, some = await of_campaign(stubs), await of_campaign(stubs, days=3)
        one = await of_portfolio(stubs, days=1)
        for days in (0, -1, 29):
            for call in (of_campaign(stubs, days=days), of_portfolio(stubs, days=days)):
                failed = await refusal(call)
                assert failed.code == "INVALID_ARGUMENT"
                assert failed.fields == {"days": "VALUE_OUT_OF_RANGE"}
    assert list(some.forecast.points) == list(whole.forecast.points)[:3]
    assert [point.forecast_date for point in one.forecast.points] == ["2026-03-31"]


async def test_a_forecast_is_stale_when_another_day_is_over(database: DatabaseAddresses) -> None:
    await add_days(database.analytics, "c", daily_values(40, mean=30.0, seed=1), LAST_DAY)
    await make(database, NOW - timedelta(days=1))
    async with running_server(database.analytics) as stubs:
        before, all_before = await of_campaign(stubs), await of_portfolio(stubs)
        await make(database)
        after = await of_campaign(stubs)
    assert before.forecast.is_stale
    assert all_before.forecast.is_stale
    assert before.forecast.history_end_date == "2026-03-29"
    assert not after.forecast.is_stale
    assert after.forecast.history_end_date == "2026-03-30"
    assert after.forecast.made_time.ToDatetime(UTC) == NOW


async def test_a_short_history_has_a_forecast_without_a_backtest(database: DatabaseAddresses) -> None:
    await add_days(database.analytics, "c", daily_values(14, mean=30.0, seed=1), LAST_DAY)
    await make(database)
    async with running_server(database.analytics) as stubs:
        forecast = (await of_campaign(stubs)).forecast
    assert len(forecast.points) == 28
    for one in forecast.backtests:
        assert one.method == "weekday_average"
        assert one.days == 0
        for field in ("beats_baseline", "weighted_interval_score", "coverage", "coverage_interval"):
            assert not one.HasField(field), field


async def test_too_few_days_and_days_without_a_run_are_told_apart(database: DatabaseAddresses) -> None:
    async with running_server(database.analytics) as stubs:
        empty = await refusal(of_portfolio(stubs))
        assert (empty.code, empty.reason) == ("FAILED_PRECONDITION", "DATA_INSUFFICIENT")
        await add_catalog(stubs, campaign("new"))
        new = await refusal(of_campaign(stubs, "new"))
        assert (new.code, new.reason) == ("FAILED_PRECONDITION", "DATA_INSUFFICIENT")
        # From 2026-03-18 to 2026-03-30 are 13 whole days; the 31st is under way.
        await ingest(stubs, event("e1", "CONVERTED", campaign_id="new", event_time="2026-03-18T10:00:00Z"))
        assert "13 whole days" in (await refusal(of_campaign(stubs, "new"))).message
        assert (await refusal(of_portfolio(stubs))).reason == "DATA_INSUFFICIENT"
        await ingest(stubs, event("e2", "CONVERTED", campaign_id="new", event_time="2026-03-17T10:00:00Z"))
        for call in (
            of_campaign(stubs, "new"),
            of_portfolio(stubs),
            of_portfolio(stubs, currency_code="USD"),
        ):
            failed = await refusal(call)
            assert (failed.code, failed.reason) == ("FAILED_PRECONDITION", "FORECAST_NOT_MADE")
        await make(database)
        assert (await of_campaign(stubs, "new")).forecast.points
        assert (await of_portfolio(stubs)).forecast.points
        unknown = await refusal(of_campaign(stubs, "nobody"))
        assert (unknown.code, unknown.reason) == ("NOT_FOUND", "CAMPAIGN_UNKNOWN")
        absent = await refusal(of_portfolio(stubs, currency_code="EUR"))
        assert (absent.code, absent.reason) == ("FAILED_PRECONDITION", "DATA_INSUFFICIENT")


async def test_the_currency_must_be_named_where_there_are_several(database: DatabaseAddresses) -> None:
    await add_days(database.analytics, "d", daily_values(40, mean=100.0, seed=1), LAST_DAY)
    await add_days(
        database.analytics, "e", daily_values(40, mean=10.0, seed=2), LAST_DAY, currency_code="EUR"
    )
    await make(database)
    async with running_server(database.analytics) as stubs:
        failed = await refusal(of_portfolio(stubs))
        assert failed.fields == {"currency_code": "CURRENCY_REQUIRED"}
        dollars = await of_portfolio(stubs, currency_code="USD")
        euros = await of_portfolio(stubs, currency_code="EUR")
        assert (await of_campaign(stubs, "e")).currency_code == "EUR"
        assert (await refusal(of_portfolio(stubs, currency_code="eur"))).fields
    assert dollars.forecast.points[0].conversions > 4 * euros.forecast.points[0].conversions
