"""One run from the database to the database: every campaign's and every portfolio's forecast."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import chain, islice
from zoneinfo import ZoneInfo

from services.analytics.domain.forecasts import (
    METRICS,
    BacktestFigures,
    Metric,
    MetricForecast,
    PredictionPoint,
    last_whole_day,
)
from services.analytics.domain.periods import day_of
from services.analytics.forecasting.forecast import Backtest, SeriesForecast, forecast
from services.analytics.forecasting.history import (
    Stored,
    Subject,
    campaign_subjects,
    horizon_days,
    portfolio_subjects,
    read_history,
)
from services.analytics.store import forecasts as store
from services.common.database import Database

OnProgress = Callable[[str, float], None]
_MICROS = 1_000_000
_MOST_MICROS = 2**63 - 1
"""What a column holds; what grows without bound is forecast to reach more."""
_SUBJECTS_AT_ONCE = 50


@dataclass(frozen=True, kw_only=True)
class RunSummary:
    """What a run made."""

    campaigns: int
    portfolios: int
    judged: int
    better: int

    def __str__(self) -> str:
        return (
            f"forecasts of {self.campaigns} campaigns and {self.portfolios} portfolios; of {self.judged} "
            f"metrics with a backtest {self.better} beat the seasonal-naive baseline, which serves the others"
        )


async def run_forecasts(
    database: Database, *, zone: ZoneInfo, clock: Callable[[], datetime], on_progress: OnProgress
) -> RunSummary:
    """Make all forecasts anew; portfolios come last, so that theirs say that the run was whole."""
    now = clock()
    last_day = last_whole_day(day_of(now, zone))
    on_progress("read", 0.0)
    async with database.transaction(isolation="repeatable_read", readonly=True) as connection:
        stored = await read_history(connection, last_day, zone)
    # All portfolios in one transaction: they take each other's place (`replace_forecasts`).
    groups = chain(_batches(campaign_subjects(stored, zone)), [list(portfolio_subjects(stored, zone))])
    total = max(len(stored.campaigns) + 1, 1)
    count = portfolios = 0
    figures: list[BacktestFigures] = []
    for group in groups:
        made = [one for subject in group for one in forecast_subject(subject, stored, now)]
        async with database.transaction() as connection:
            await store.replace_forecasts(connection, made)
        count += len(group)
        portfolios += sum(not subject.campaign_id for subject in group)
        figures += [one.forecast.backtest for one in made if one.forecast.backtest is not None]
        on_progress("forecast", min(count / total, 1.0))
    return RunSummary(
        campaigns=count - portfolios,
        portfolios=portfolios,
        judged=len(figures),
        better=sum(figure.beats_baseline for figure in figures),
    )


def forecast_subject(subject: Subject, stored: Stored, made_at: datetime) -> Iterator[store.StoredForecast]:
    """Yield the forecast of each metric of a subject."""
    for metric in METRICS:
        found = forecast(subject.series[metric], subject.further.get(metric, ()))
        yield store.StoredForecast(
            campaign_id=subject.campaign_id,
            currency_code=subject.currency_code,
            history_conversions=subject.conversions,
            forecast=_describe(metric, found, subject, stored, made_at),
        )


def _batches(subjects: Iterable[Subject]) -> Iterator[Sequence[Subject]]:
    """Yield subjects some at a time."""
    iterator = iter(subjects)
    while batch := list(islice(iterator, _SUBJECTS_AT_ONCE)):
        yield batch


def _describe(
    metric: Metric, found: SeriesForecast, subject: Subject, stored: Stored, made_at: datetime
) -> MetricForecast:
    points = [
        PredictionPoint(
            day=day,
            expected_micros=_micros(expected),
            lower_95_micros=_micros(levels[0]),
            lower_80_micros=_micros(levels[1]),
            upper_80_micros=_micros(levels[3]),
            upper_95_micros=_micros(levels[4]),
        )
        for day, expected, levels in zip(
            horizon_days(stored.last_day), found.expected.tolist(), found.quantiles.tolist(), strict=True
        )
    ]
    return MetricForecast(
        metric=metric,
        made_at=made_at,
        history_start_day=subject.first_day,
        last_day=stored.last_day,
        method=found.method,
        backtest=None if found.backtest is None else _figures(found.backtest),
        points=points,
    )


def _figures(backtest: Backtest) -> BacktestFigures:
    scores = backtest.served
    return BacktestFigures(
        points=scores.points,
        days=backtest.days,
        beats_baseline=backtest.beats_baseline,
        weighted_interval_score=scores.weighted_interval_score,
        baseline_weighted_interval_score=backtest.baseline.weighted_interval_score,
        coverage_80=scores.coverage_80,
        coverage_95=scores.coverage_95,
        mean_absolute_scaled_error=scores.mean_absolute_scaled_error,
    )


def _micros(value: float) -> int:
    return min(round(value * _MICROS), _MOST_MICROS)
