"""Forecasts from kept days to kept points, in this process and in the one that a job starts."""

import asyncio
from argparse import Namespace
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from deploy.local.bootstrap import DatabaseAddresses
from gen.campaigns.analytics.v1 import forecasts_pb2 as pb
from gen.campaigns.analytics.v1 import operations_service_pb2 as jobs_pb
from services.analytics.commands import COMMANDS
from services.analytics.domain.forecasts import METRICS, PORTFOLIO, MetricForecast
from services.analytics.forecasting.__main__ import main
from services.analytics.forecasting.run import RunSummary, run_forecasts
from services.analytics.forecasting_process import ForecastingProcess
from services.analytics.operations.forecasts import ForecastKeeper
from services.analytics.store import forecasts as store
from services.common.database import Connection, Database
from services.common.errors import DeadlineExceededError
from tests.analytics_factories import Stubs, running_server, settings_for
from tests.conftest import run_in_own_loop
from tests.forecast_factories import add_days, daily_values

NOW = datetime(2026, 3, 31, 12, tzinfo=UTC)
LAST_DAY = date(2026, 3, 30)
ZONE = ZoneInfo("UTC")


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[Database]:
    database = await Database.open(url, application_name="test-forecasts")
    try:
        yield database
    finally:
        await database.close()


async def make(database: Database, now: datetime = NOW) -> RunSummary:
    return await run_forecasts(database, zone=ZONE, clock=lambda: now, on_progress=lambda *_: None)


async def read(database: Database, campaign_id: str, currency: str = "USD") -> Mapping[str, MetricForecast]:
    async with database.acquire() as connection:
        made = await store.list_forecasts(connection, campaign_id, currency, 28)
    return {forecast.metric: forecast for forecast in made}


async def test_every_campaign_and_the_portfolio_get_28_days_of_every_metric(
    database: DatabaseAddresses,
) -> None:
    async with opened(database.analytics) as opened_database:
        await add_days(database.analytics, "long", daily_values(60, mean=80.0, seed=1), LAST_DAY)
        await add_days(database.analytics, "short", daily_values(14, mean=2.0, seed=2), LAST_DAY)
        await add_days(database.analytics, "young", daily_values(13, mean=80.0, seed=3), LAST_DAY)
        summary = await make(opened_database)
        long, short = await read(opened_database, "long"), await read(opened_database, "short")
        portfolio, young = await read(opened_database, PORTFOLIO), await read(opened_database, "young")
    assert (summary.campaigns, summary.portfolios) == (2, 1)
    assert not young
    for forecast in (long, short, portfolio):
        assert set(forecast) == set(METRICS)
        for metric in METRICS:
            made = forecast[metric]
            assert made.last_day == LAST_DAY
            assert [point.day for point in made.points] == [
                LAST_DAY + timedelta(days=n) for n in range(1, 29)
            ]
    assert long["conversions"].backtest is not None
    assert long["conversions"].backtest.points > 200
    assert short["conversions"].backtest is None
    assert short["conversions"].method == "weekday_average"


async def test_the_day_under_way_is_left_out(database: DatabaseAddresses) -> None:
    async with opened(database.analytics) as opened_database:
        values = daily_values(40, mean=100.0, seed=1)
        await add_days(database.analytics, "c", [*values, 100_000.0], LAST_DAY + timedelta(days=1))
        await make(opened_database)
        made = (await read(opened_database, "c"))["conversions"]
    assert made.last_day == LAST_DAY
    assert max(point.upper_95_micros for point in made.points) < 1_000 * 1_000_000


async def test_a_campaign_is_forecast_to_do_nothing_after_its_end(database: DatabaseAddresses) -> None:
    end = datetime(2026, 4, 10, tzinfo=UTC)
    async with opened(database.analytics) as opened_database:
        values = daily_values(60, mean=50.0, seed=1)
        await add_days(database.analytics, "ends", values, LAST_DAY, end_at=end)
        over = datetime(2026, 3, 20, tzinfo=UTC)
        await add_days(
            database.analytics, "over", daily_values(40, mean=50.0, seed=4), date(2026, 3, 19), end_at=over
        )
        await make(opened_database)
        ends, ended = await read(opened_database, "ends"), await read(opened_database, "over")
        portfolio = await read(opened_database, PORTFOLIO)
    for metric in METRICS:
        after = [point for point in ends[metric].points if point.day >= end.date()]
        before = [point for point in ends[metric].points if point.day < end.date()]
        assert {point.upper_95_micros for point in after} == {0}
        assert min(point.expected_micros for point in before) > 0
        assert ended[metric].method == "ended"
        assert {point.upper_95_micros for point in ended[metric].points} == {0}
    assert portfolio["conversions"].method == "campaign_schedule"
    assert (
        portfolio["conversions"].points[-1].expected_micros
        < portfolio["conversions"].points[0].expected_micros
    )


async def test_currencies_are_forecast_apart(database: DatabaseAddresses) -> None:
    async with opened(database.analytics) as opened_database:
        await add_days(database.analytics, "d", daily_values(40, mean=100.0, seed=1), LAST_DAY)
        await add_days(
            database.analytics, "e", daily_values(40, mean=10.0, seed=2), LAST_DAY, currency_code="EUR"
        )
        summary = await make(opened_database)
        dollars = await read(opened_database, PORTFOLIO)
        euros = await read(opened_database, PORTFOLIO, "EUR")
    assert summary.portfolios == 2
    assert expected(dollars["conversions"]) > 5 * expected(euros["conversions"])


async def test_however_many_subjects_there_are_every_portfolio_is_kept(
    database: DatabaseAddresses, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is written at once may end between two currencies; neither takes the place of the other."""
    monkeypatch.setattr("services.analytics.forecasting.run._SUBJECTS_AT_ONCE", 2)
    currencies = ("CHF", "EUR", "USD")
    async with opened(database.analytics) as opened_database:
        for seed, code in enumerate(currencies):
            values = daily_values(20, mean=10.0, seed=seed)
            await add_days(database.analytics, f"c{seed}", values, LAST_DAY, currency_code=code)
        assert (await make(opened_database)).portfolios == 3
        kept = {code: set(await read(opened_database, PORTFOLIO, code)) for code in currencies}
        keeper = ForecastKeeper(opened_database, CountingForecaster(), zone=ZONE, clock=lambda: NOW)
        assert "nothing to do" in await keeper.keep()
    assert kept == {code: set(METRICS) for code in currencies}


async def test_a_campaign_that_grows_out_of_bounds_leaves_the_others_their_forecasts(
    database: DatabaseAddresses,
) -> None:
    """Somebody's conversions, and 20 of revenue each, become nearly twice as many every day."""
    async with opened(database.analytics) as opened_database:
        await add_days(database.analytics, "a", [1.8**day for day in range(40)], LAST_DAY)
        await add_days(database.analytics, "b", daily_values(20, mean=10.0, seed=1), LAST_DAY)
        assert (await make(opened_database)).campaigns == 2
        assert set(await read(opened_database, "b")) == set(METRICS)
        assert set(await read(opened_database, PORTFOLIO)) == set(METRICS)


async def test_forecasts_replace_earlier_ones(database: DatabaseAddresses) -> None:
    async with opened(database.analytics) as opened_database:
        await add_days(database.analytics, "c", daily_values(40, mean=100.0, seed=1), LAST_DAY)
        await make(opened_database, NOW - timedelta(days=1))
        first = (await read(opened_database, "c"))["revenue"]
        await make(opened_database)
        second = (await read(opened_database, "c"))["revenue"]
    assert first.last_day == LAST_DAY - timedelta(days=1)
    assert second.last_day == LAST_DAY
    assert len(second.points) == 28


async def test_planned_campaigns_count_in_the_portfolio(database: DatabaseAddresses) -> None:
    async with opened(database.analytics) as opened_database:
        for index in range(4):
            values = daily_values(60, mean=40.0, seed=index)
            end = datetime(2026, 4, 14, tzinfo=UTC)
            await add_days(database.analytics, f"c{index}", values, LAST_DAY, end_at=end)
        async with opened_database.acquire() as connection:
            await add_planned(connection, "next", datetime(2026, 4, 14, tzinfo=UTC))
        await make(opened_database)
        made = (await read(opened_database, PORTFOLIO))["conversions"]
    assert made.method == "campaign_schedule"
    before = np.mean([point.expected_micros for point in made.points[:14]])
    after = np.mean([point.expected_micros for point in made.points[14:]])
    assert 0.15 < after / before < 0.35


async def test_the_keeper_waits_until_the_history_stands_still(database: DatabaseAddresses) -> None:
    forecaster = CountingForecaster()
    moment = [NOW]
    async with opened(database.analytics) as opened_database:
        keeper = ForecastKeeper(opened_database, forecaster, zone=ZONE, clock=lambda: moment[0])
        assert await keeper.keep() == "too few days to forecast"
        await add_days(database.analytics, "a", daily_values(40, mean=100.0, seed=1), LAST_DAY)
        assert "waits" in await keeper.keep()
        await add_days(database.analytics, "b", daily_values(40, mean=100.0, seed=2), LAST_DAY)
        assert "waits" in await keeper.keep()
        assert forecaster.runs == 0
        assert "USD has no forecast" in await keeper.keep()
        assert forecaster.runs == 1
        await make(opened_database)
        assert "nothing to do" in await keeper.keep()
        await add_days(database.analytics, "late", [30.0] * 20, LAST_DAY)
        assert "waits" in await keeper.keep()
        assert "other days" in await keeper.keep()
        await make(opened_database)
        moment[0] = NOW + timedelta(days=1)
        assert "before 2026-03-31 was over" in await keeper.keep()
    assert forecaster.runs == 3


@pytest.mark.usefixtures("one_day")
async def test_the_command_makes_them_anew_and_tells_how_far_it_is(
    database: DatabaseAddresses, capsys: pytest.CaptureFixture[str]
) -> None:
    yesterday = datetime.now(UTC).date() - timedelta(days=1)
    await add_days(database.analytics, "c", daily_values(40, mean=100.0, seed=1), yesterday)
    assert await COMMANDS["forecast"].run(settings_for(database.analytics), Namespace()) == 0
    told = capsys.readouterr().out.splitlines()
    assert told[0].startswith("read: 0% (")
    assert told[-2].startswith("forecast: 100% (")
    assert told[-1].startswith("forecasts of 1 campaigns and 1 portfolios; of 6 metrics")
    async with opened(database.analytics) as opened_database:
        assert len(await read(opened_database, PORTFOLIO)) == 3


@pytest.mark.usefixtures("one_day")
def test_the_report_reads_the_database_and_keeps_nothing(
    database: DatabaseAddresses, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    yesterday = datetime.now(UTC).date() - timedelta(days=1)
    run_in_own_loop(add_days(database.analytics, "c", daily_values(40, mean=100.0, seed=1), yesterday))
    monkeypatch.setenv("ANALYTICS_DATABASE_URL", database.analytics)
    assert main(["backtest"]) == 0
    told = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in told[:8]] == ["series", *["portfolio"] * 3, *["c"] * 3, "mean"]
    assert run_in_own_loop(count_forecasts(database.analytics)) == 0


def test_a_report_of_a_database_that_does_not_answer_is_refused(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ANALYTICS_DATABASE_URL", "postgresql://analytics:wrong@127.0.0.1:1/merchants_db")
    assert main(["backtest"]) == 3
    assert "database" in capsys.readouterr().err


async def count_forecasts(url: str) -> int:
    async with opened(url) as opened_database, opened_database.acquire() as connection:
        count: int = await connection.fetchval("select count(*) from forecasts")
        return count


@pytest.mark.usefixtures("one_day")
async def test_a_service_that_finds_no_forecast_has_it_made_by_itself(database: DatabaseAddresses) -> None:
    yesterday = datetime.now(UTC).date() - timedelta(days=1)
    await add_days(database.analytics, "c", daily_values(40, mean=100.0, seed=1), yesterday)
    async with running_server(
        database.analytics,
        clock=lambda: datetime.now(UTC),
        jobs_enabled=True,
        job_poll_seconds=0.1,
        forecast_interval_seconds=0.1,
    ) as stubs:
        async with asyncio.timeout(600):
            while await job_result(stubs) is None:
                await asyncio.sleep(0.1)
        answer = await stubs.analytics.GetCampaignForecast(pb.GetCampaignForecastRequest(campaign_id="c"))
    assert len(answer.forecast.points) == 28
    assert not answer.forecast.is_stale


async def job_result(stubs: Stubs) -> str | None:
    """What the job said once nothing was left to do."""
    jobs = await stubs.operations.ListJobs(jobs_pb.ListJobsRequest())
    results = [job.last_result for job in jobs.jobs if job.job_name == "forecast"]
    return next((result for result in results if result.startswith("nothing to do")), None)


async def test_forecasts_that_take_too_long_are_stopped() -> None:
    with pytest.raises(DeadlineExceededError, match=r"the forecasts took longer than 0\.001 s") as stopped:
        await process("postgresql://nowhere", timeout_seconds=0.001).run()
    assert stopped.value.reason == "FORECAST_NOT_MADE"


class CountingForecaster:
    def __init__(self) -> None:
        self.runs = 0

    async def run(self) -> str:
        self.runs += 1
        return "made"


def process(url: str, *, timeout_seconds: float) -> ForecastingProcess:
    return ForecastingProcess(database_url=url, reporting_time_zone="UTC", timeout_seconds=timeout_seconds)


def expected(made: MetricForecast) -> int:
    return sum(point.expected_micros for point in made.points)


async def add_planned(connection: Connection, campaign_id: str, start_at: datetime) -> None:
    await connection.execute(
        "insert into campaigns (campaign_id, currency_code, start_at, created_at) values ($1, 'USD', $2, $3)",
        campaign_id,
        start_at,
        start_at - timedelta(days=60),
    )
