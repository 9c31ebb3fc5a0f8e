"""What is expected of campaigns and of the portfolio, how that was made, and when it is made anew."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Literal, get_args

from services.analytics.domain.intervals import ConfidenceInterval, estimate_wilson_interval

Metric = Literal["conversions", "revenue", "cost"]
METRICS: tuple[Metric, ...] = get_args(Metric)
PORTFOLIO = ""
"""Stands where a campaign's id stands otherwise."""
HORIZON_DAYS = 28
MINIMUM_HISTORY_DAYS = 14
LONGEST_HISTORY_DAYS = 400
CHANGED_SHARE = 0.01
"""A history that was added to by more than this is forecast anew (late events, an import)."""
MICROS = 1_000_000


@dataclass(frozen=True, kw_only=True)
class PredictionPoint:
    """What is expected of a metric on a day, and its intervals, in millionths of its unit (money: micros)."""

    day: date
    expected_micros: int
    lower_80_micros: int
    upper_80_micros: int
    lower_95_micros: int
    upper_95_micros: int


@dataclass(frozen=True, kw_only=True)
class BacktestFigures:
    """How a method did on the history when it stood further back; scores in the metric's unit.

    `points` are forecasts of single days, `days` the different days among them. Coverage leaves out days that
    were sure to be 0 and were, and is None where no other is left.
    """

    points: int
    days: int
    beats_baseline: bool
    weighted_interval_score: float
    baseline_weighted_interval_score: float
    coverage_80: float | None
    coverage_95: float | None
    mean_absolute_scaled_error: float | None

    @property
    def coverage_80_interval(self) -> ConfidenceInterval | None:
        """How certain the coverage is, as if it were of so many independent days."""
        if self.coverage_80 is None:
            return None
        return estimate_wilson_interval(round(self.coverage_80 * self.days), self.days)


@dataclass(frozen=True, kw_only=True)
class MetricForecast:
    """The coming days of one metric, and where they come from; `backtest` is None for a short history."""

    metric: Metric
    made_at: datetime
    history_start_day: date
    last_day: date
    method: str
    backtest: BacktestFigures | None
    points: Sequence[PredictionPoint]


@dataclass(frozen=True, kw_only=True)
class Forecast:
    """The coming days of a campaign or of a currency's portfolio, one entry per metric in METRICS' order."""

    campaign_id: str
    currency_code: str
    metrics: Sequence[MetricForecast]
    is_stale: bool


@dataclass(frozen=True, kw_only=True)
class History:
    """What is known of a portfolio up to a day."""

    days: int
    conversions: int


@dataclass(frozen=True, kw_only=True)
class Made:
    """What the newest forecast of a portfolio was made from."""

    made_at: datetime
    history_start_day: date
    last_day: date
    history_conversions: int


def last_whole_day(today: date) -> date:
    """Return the last day that is over."""
    return today - timedelta(days=1)


def find_reason(last_day: date, known: Mapping[str, History], made: Mapping[str, Made]) -> str | None:
    """Return why forecasts should be made anew, None where they need not be.

    Args:
        last_day: the last day that is over.
        known: the history up to it by currency.
        made: the newest portfolio forecasts by currency.
    """
    for currency, history in known.items():
        if history.days < MINIMUM_HISTORY_DAYS:
            continue
        before = made.get(currency)
        if before is None:
            return f"{currency} has no forecast"
        if before.last_day < last_day:
            return f"{currency} was forecast before {last_day} was over"
        if has_changed(before.history_conversions, history.conversions):
            return f"{currency} has other days than it was forecast from"
    return None


def has_changed(before: int, now: int) -> bool:
    """Return whether a history differs by more than a hundredth of its conversions."""
    return abs(now - before) > CHANGED_SHARE * max(before, now, 1)
