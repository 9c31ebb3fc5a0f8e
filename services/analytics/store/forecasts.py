"""Statements of forecasts, and of the history that they are made from."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import date, datetime

from services.analytics.domain.forecasts import (
    BacktestFigures,
    History,
    Made,
    MetricForecast,
    PredictionPoint,
)
from services.analytics.store.statements import STATEMENTS, Connection, Record

_FORECAST_COLUMNS = (
    "campaign_id",
    "currency_code",
    "metric",
    "made_at",
    "history_start_day",
    "last_day",
    "history_conversions",
    "method",
    "judged_points",
    "judged_days",
    "beats_baseline",
    "weighted_interval_score",
    "baseline_weighted_interval_score",
    "coverage_80",
    "coverage_95",
    "mean_absolute_scaled_error",
)
_POINT_COLUMNS = tuple(field.name for field in fields(PredictionPoint))


@dataclass(frozen=True, kw_only=True)
class CampaignHistory:
    """A campaign with events: when it was entered, begins and ends by the catalog, and its first day."""

    campaign_id: str
    currency_code: str
    created_at: datetime
    start_at: datetime | None
    end_at: datetime | None
    first_day: date


@dataclass(frozen=True, kw_only=True)
class PlannedCampaign:
    """A campaign that is still to begin."""

    campaign_id: str
    currency_code: str | None
    created_at: datetime
    start_at: datetime
    end_at: datetime | None


@dataclass(frozen=True, kw_only=True)
class DayCounts:
    """What was forecast from: a campaign's day, or under a currency's code a day of its portfolio."""

    subject: str
    day: date
    conversions: int
    revenue_micros: int
    cost_micros: int


@dataclass(frozen=True, kw_only=True)
class StoredForecast:
    """A forecast to keep, and the conversions of the history that it was made from."""

    campaign_id: str
    currency_code: str
    history_conversions: int
    forecast: MetricForecast


async def list_forecast_histories(
    connection: Connection, start: date, end: date
) -> Sequence[CampaignHistory]:
    """Return every campaign with a day in the range, both ends included."""
    rows = await connection.fetch(STATEMENTS["list_forecast_histories"].sql, start, end)
    return [CampaignHistory(**row) for row in rows]


async def list_planned_campaigns(connection: Connection, after: datetime) -> Sequence[PlannedCampaign]:
    """Return the campaigns without an event that begin after a moment."""
    rows = await connection.fetch(STATEMENTS["list_planned_campaigns"].sql, after)
    return [PlannedCampaign(**row) for row in rows]


async def list_forecast_days(connection: Connection, start: date, end: date) -> Sequence[DayCounts]:
    """Return what every campaign did on each day of the range, both ends included."""
    rows = await connection.fetch(STATEMENTS["list_forecast_days"].sql, start, end)
    return [DayCounts(subject=row[0], **dict(list(row.items())[1:])) for row in rows]


async def list_forecast_portfolio_days(connection: Connection, start: date, end: date) -> Sequence[DayCounts]:
    """Return what all campaigns of each currency did on each day of the range, both ends included."""
    rows = await connection.fetch(STATEMENTS["list_forecast_portfolio_days"].sql, start, end)
    return [DayCounts(subject=row[0], **dict(list(row.items())[1:])) for row in rows]


async def list_known_histories(connection: Connection, start: date, end: date) -> Mapping[str, History]:
    """Return each currency's history on the days of the range, both ends included."""
    rows = await connection.fetch(STATEMENTS["list_known_histories"].sql, start, end)
    return {row["currency_code"]: History(days=row["days"], conversions=row["conversions"]) for row in rows}


async def list_portfolio_forecasts(connection: Connection) -> Mapping[str, Made]:
    """Return what the newest portfolio forecasts were made from, by currency."""
    rows = await connection.fetch(STATEMENTS["list_portfolio_forecasts"].sql)
    return {
        row["currency_code"]: Made(
            made_at=row["made_at"],
            history_start_day=row["history_start_day"],
            last_day=row["last_day"],
            history_conversions=row["history_conversions"],
        )
        for row in rows
    }


async def list_portfolio_currencies(connection: Connection) -> Sequence[str]:
    """Return the currencies of the portfolio."""
    return [row[0] for row in await connection.fetch(STATEMENTS["list_portfolio_currencies"].sql)]


async def fetch_portfolio_first_day(connection: Connection, currency_code: str) -> date | None:
    """Return the first day of a currency's portfolio; None before its first event."""
    day: date | None = await connection.fetchval(STATEMENTS["fetch_portfolio_first_day"].sql, currency_code)
    return day


async def list_forecasts(
    connection: Connection, campaign_id: str, currency_code: str, days: int
) -> Sequence[MetricForecast]:
    """Return the forecast of each metric, with its first days; empty where none was made."""
    rows = await connection.fetch(STATEMENTS["list_forecasts"].sql, campaign_id, currency_code)
    points = await connection.fetch(STATEMENTS["list_forecast_points"].sql, campaign_id, currency_code, days)
    by_metric: dict[str, list[PredictionPoint]] = {row["metric"]: [] for row in rows}
    for point in points:
        by_metric[point["metric"]].append(PredictionPoint(**{name: point[name] for name in _POINT_COLUMNS}))
    return [_forecast(row, by_metric[row["metric"]]) for row in rows]


async def replace_forecasts(connection: Connection, forecasts: Sequence[StoredForecast]) -> None:
    """Put forecasts in the place of all earlier ones of their campaigns; of the portfolio, of all currencies.

    To be called in a transaction.
    """
    campaigns = sorted({stored.campaign_id for stored in forecasts})
    await connection.execute(STATEMENTS["delete_forecasts"].sql, campaigns)
    await connection.copy_records_to_table(
        "forecasts",
        schema_name="analytics",
        columns=_FORECAST_COLUMNS,
        records=[_forecast_record(stored) for stored in forecasts],
    )
    await connection.copy_records_to_table(
        "forecast_points",
        schema_name="analytics",
        columns=("campaign_id", "currency_code", "metric", *_POINT_COLUMNS),
        records=[
            (
                stored.campaign_id,
                stored.currency_code,
                stored.forecast.metric,
                *(getattr(point, name) for name in _POINT_COLUMNS),
            )
            for stored in forecasts
            for point in stored.forecast.points
        ],
    )


def _forecast(row: Record, points: Sequence[PredictionPoint]) -> MetricForecast:
    backtest = None
    if row["judged_points"]:
        backtest = BacktestFigures(
            points=row["judged_points"],
            days=row["judged_days"],
            beats_baseline=row["beats_baseline"],
            weighted_interval_score=row["weighted_interval_score"],
            baseline_weighted_interval_score=row["baseline_weighted_interval_score"],
            coverage_80=row["coverage_80"],
            coverage_95=row["coverage_95"],
            mean_absolute_scaled_error=row["mean_absolute_scaled_error"],
        )
    return MetricForecast(
        metric=row["metric"],
        made_at=row["made_at"],
        history_start_day=row["history_start_day"],
        last_day=row["last_day"],
        method=row["method"],
        backtest=backtest,
        points=points,
    )


def _forecast_record(stored: StoredForecast) -> tuple[object, ...]:
    made, backtest = stored.forecast, stored.forecast.backtest
    figures = (
        (0, 0, None, None, None, None, None, None)
        if backtest is None
        else (
            backtest.points,
            backtest.days,
            backtest.beats_baseline,
            backtest.weighted_interval_score,
            backtest.baseline_weighted_interval_score,
            backtest.coverage_80,
            backtest.coverage_95,
            backtest.mean_absolute_scaled_error,
        )
    )
    return (
        stored.campaign_id,
        stored.currency_code,
        made.metric,
        made.made_at,
        made.history_start_day,
        made.last_day,
        stored.history_conversions,
        made.method,
        *figures,
    )
