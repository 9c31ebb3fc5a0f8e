"""Forecasts between the wire and the domain."""

from collections.abc import Sequence

from gen.campaigns.analytics.v1 import forecasts_pb2
from gen.campaigns.type.v1 import range_pb2
from services.analytics.convert.ranges import interval_to_proto
from services.analytics.domain.forecasts import (
    HORIZON_DAYS,
    MICROS,
    Forecast,
    MetricForecast,
    PredictionPoint,
)
from services.common.errors import invalid_field
from services.common.wire import datetime_to_timestamp


def days_from_proto(
    request: forecasts_pb2.GetCampaignForecastRequest | forecasts_pb2.GetPortfolioForecastRequest,
) -> int:
    """Return how many days are asked for, all of them unless told; refused outside 1 to HORIZON_DAYS."""
    if not request.HasField("days"):
        return HORIZON_DAYS
    if not 1 <= request.days <= HORIZON_DAYS:
        raise invalid_field("days", f"must be from 1 to {HORIZON_DAYS}", "VALUE_OUT_OF_RANGE")
    return request.days


def campaign_forecast_to_proto(forecast: Forecast) -> forecasts_pb2.GetCampaignForecastResponse:
    """Return the answer of GetCampaignForecast."""
    return forecasts_pb2.GetCampaignForecastResponse(
        campaign_id=forecast.campaign_id,
        currency_code=forecast.currency_code,
        forecast=_forecast_to_proto(forecast),
    )


def portfolio_forecast_to_proto(forecast: Forecast) -> forecasts_pb2.GetPortfolioForecastResponse:
    """Return the answer of GetPortfolioForecast."""
    return forecasts_pb2.GetPortfolioForecastResponse(
        currency_code=forecast.currency_code, forecast=_forecast_to_proto(forecast)
    )


def _forecast_to_proto(forecast: Forecast) -> forecasts_pb2.Forecast:
    made = forecast.metrics[0]
    return forecasts_pb2.Forecast(
        points=[_point_to_proto(points) for points in zip(*_points_of(forecast), strict=True)],
        made_time=datetime_to_timestamp(made.made_at),
        history_start_date=made.history_start_day.isoformat(),
        history_end_date=made.last_day.isoformat(),
        is_stale=forecast.is_stale,
        backtests=[_backtest_to_proto(metric) for metric in forecast.metrics],
    )


def _points_of(forecast: Forecast) -> Sequence[Sequence[PredictionPoint]]:
    return [metric.points for metric in forecast.metrics]


def _point_to_proto(points: Sequence[PredictionPoint]) -> forecasts_pb2.ForecastPoint:
    conversions, revenue, cost = points
    return forecasts_pb2.ForecastPoint(
        forecast_date=conversions.day.isoformat(),
        conversions=conversions.expected_micros / MICROS,
        conversions_interval=_interval_80(conversions),
        conversions_interval_95=_interval_95(conversions),
        revenue=revenue.expected_micros / MICROS,
        revenue_interval=_interval_80(revenue),
        revenue_interval_95=_interval_95(revenue),
        cost=cost.expected_micros / MICROS,
        cost_interval=_interval_80(cost),
        cost_interval_95=_interval_95(cost),
    )


def _interval_80(point: PredictionPoint) -> range_pb2.ConfidenceInterval:
    return range_pb2.ConfidenceInterval(
        lower=point.lower_80_micros / MICROS, upper=point.upper_80_micros / MICROS
    )


def _interval_95(point: PredictionPoint) -> range_pb2.ConfidenceInterval:
    return range_pb2.ConfidenceInterval(
        lower=point.lower_95_micros / MICROS, upper=point.upper_95_micros / MICROS
    )


def _backtest_to_proto(made: MetricForecast) -> forecasts_pb2.ForecastBacktest:
    figures = made.backtest
    if figures is None:
        return forecasts_pb2.ForecastBacktest(metric=made.metric, method=made.method)
    return forecasts_pb2.ForecastBacktest(
        metric=made.metric,
        method=made.method,
        beats_baseline=figures.beats_baseline,
        weighted_interval_score=figures.weighted_interval_score,
        baseline_weighted_interval_score=figures.baseline_weighted_interval_score,
        coverage=figures.coverage_80,
        coverage_interval=interval_to_proto(figures.coverage_80_interval),
        coverage_95=figures.coverage_95,
        mean_absolute_scaled_error=figures.mean_absolute_scaled_error,
        days=figures.days,
        points=figures.points,
    )
