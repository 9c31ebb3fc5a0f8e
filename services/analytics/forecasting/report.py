"""A table of backtests by series, for people."""

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import numpy as np

from services.analytics.forecasting.forecast import SeriesForecast, forecast
from services.analytics.forecasting.history import Subject
from services.analytics.forecasting.paths import Paths
from services.analytics.forecasting.series import MINIMUM_DAYS, Series, always

JUDGED_MEAN = 50.0
JUDGED_POINTS = 200
_HEADER = (
    f"{'series':<44}{'days':>5}{'mean':>11}{'points':>7}{'cover 80':>9}{'cover 95':>9}{'WIS':>11}"
    f"{'naive WIS':>11}{'ratio':>7}{'MASE':>6}  method"
)


@dataclass(frozen=True, kw_only=True)
class Row:
    """A series and its forecast."""

    series: Series
    found: SeriesForecast

    @property
    def is_judged(self) -> bool:
        """Whether its coverage counts: a mean of at least 50 a day, and 200 points at least."""
        backtest = self.found.backtest
        return (
            backtest is not None
            and backtest.scores.points >= JUDGED_POINTS
            and float(self.series.values.mean()) >= JUDGED_MEAN
        )

    def __str__(self) -> str:
        backtest = self.found.backtest
        start = f"{self.series.name[:43]:<44}{self.series.days:>5}{self.series.values.mean():>11,.1f}"
        if backtest is None:
            return f"{start}{0:>7}  {self.found.method} (too short for a backtest)"
        scores, naive = backtest.served, backtest.baseline.weighted_interval_score
        ratio = f"{scores.weighted_interval_score / naive:.3f}" if naive > 0 else "-"
        scaled = scores.mean_absolute_scaled_error
        return (
            f"{start}{scores.points:>7}{_share(scores.coverage_80):>9}{_share(scores.coverage_95):>9}"
            f"{scores.weighted_interval_score:>11,.2f}{naive:>11,.2f}{ratio:>7}"
            f"{'-' if scaled is None else f'{scaled:.2f}':>6}  {self.found.method}"
        )


@dataclass(frozen=True, kw_only=True)
class Pooled:
    """Several series together, each weighing the same; None where there is none to speak of."""

    series: int
    coverage_80: float | None
    coverage_95: float | None
    score_ratio: float | None
    better: int


def judge_subjects(subjects: Iterator[Subject]) -> Iterator[Row]:
    """Yield every metric of every subject with its backtest."""
    for subject in subjects:
        for metric, series in subject.series.items():
            yield judge_series(series, subject.further.get(metric, ()))


def judge_series(series: Series, further: Sequence[Paths] = ()) -> Row:
    """Return a series with its backtest."""
    return Row(series=series, found=forecast(series, further))


def pool(rows: Sequence[Row]) -> Pooled:
    """Return the mean coverage and the geometric mean of the scores against the baseline's."""
    tests = [row.found.backtest for row in rows if row.found.backtest is not None]
    ratios = [
        test.scores.weighted_interval_score / test.baseline.weighted_interval_score
        for test in tests
        if test.baseline.weighted_interval_score > 0 and test.scores.weighted_interval_score > 0
    ]
    return Pooled(
        series=len(tests),
        coverage_80=_mean([test.scores.coverage_80 for test in tests]),
        coverage_95=_mean([test.scores.coverage_95 for test in tests]),
        score_ratio=float(np.exp(np.mean(np.log(ratios)))) if ratios else None,
        better=sum(test.beats_baseline for test in tests),
    )


def print_report(rows: Sequence[Row]) -> Iterator[str]:
    """Yield the table's lines, and what it comes to."""
    yield _HEADER
    yield from map(str, rows)
    judged = [row for row in rows if row.is_judged]
    rest = [row for row in rows if not row.is_judged]
    for name, part in (
        (f"mean >= {JUDGED_MEAN:g} a day, >= {JUDGED_POINTS} points", judged),
        ("the others", rest),
    ):
        figures = pool(part)
        if figures.coverage_80 is None or figures.score_ratio is None:
            yield f"{name}: no series"
            continue
        yield (
            f"{name}: {figures.series} series; the 80 % interval covers {figures.coverage_80:.1%}, the 95 % "
            f"one {figures.coverage_95:.1%}; weighted interval score {figures.score_ratio:.3f} of the "
            f"seasonal-naive baseline's (geometric mean), better in {figures.better}"
        )


def read_csv(path: Path) -> Iterator[Series]:
    """Yield the series of a file with the columns series, day (YYYY-MM-DD), value; missing days are zero.

    A series whose values are all whole numbers is a count.
    """
    values: dict[str, dict[date, float]] = {}
    with path.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            values.setdefault(row["series"], {})[date.fromisoformat(row["day"])] = float(row["value"])
    for name, by_day in values.items():
        first = min(by_day).toordinal()
        days = max(by_day).toordinal() - first + 1
        if days < MINIMUM_DAYS:
            continue
        array = np.zeros(days)
        for day, value in by_day.items():
            array[day.toordinal() - first] = value
        is_count = bool((array == np.rint(array)).all())
        yield Series(name=name, values=array, presence=always(days), is_count=is_count)


def _mean(shares: Sequence[float | None]) -> float | None:
    known = [share for share in shares if share is not None]
    return float(np.mean(known)) if known else None


def _share(share: float | None) -> str:
    return "-" if share is None else f"{share:.3f}"
