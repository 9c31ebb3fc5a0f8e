"""The table of backtests that people read, and the file that it may be made from."""

from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pytest

from services.analytics.domain.forecasts import History, Made, find_reason, has_changed
from services.analytics.forecasting.__main__ import main
from services.analytics.forecasting.report import judge_series, pool, print_report, read_csv
from services.analytics.forecasting.series import Series, always
from tests.analytics_factories import NOW
from tests.forecast_factories import daily_values

FIRST = date(2026, 1, 1)
LAST = date(2026, 3, 30)


def write(path: Path, series: dict[str, list[float]]) -> Path:
    lines = ["series,day,value"]
    for name, values in series.items():
        lines += [
            f"{name},{FIRST + timedelta(days=day)},{value}" for day, value in enumerate(values) if value
        ]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def test_a_file_becomes_series_without_gaps(tmp_path: Path) -> None:
    money = [10.25] * 20
    money[5] = 0.0
    path = write(tmp_path / "days.csv", {"money": money, "counts": [3.0] * 30, "short": [1.0] * 13})
    read = {series.name: series for series in read_csv(path)}
    assert set(read) == {"money", "counts"}, "13 days are too few"
    assert read["money"].values.tolist() == money
    assert not read["money"].is_count
    assert read["counts"].is_count


def test_the_report_tells_each_series_and_those_that_are_judged_together(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    dense = [float(value) for value in daily_values(120, mean=90.0, seed=1)]
    sparse = [float(value) for value in daily_values(60, mean=3.0, seed=2)]
    path = write(tmp_path / "days.csv", {"dense": dense, "sparse": sparse, "young": [5.0] * 16})
    assert main(["backtest", "--file", str(path)]) == 0
    header, first, second, third, judged, others = capsys.readouterr().out.splitlines()
    assert header.split()[:3] == ["series", "days", "mean"]
    assert first.split()[:2] == ["dense", "120"]
    assert second.split()[:2] == ["sparse", "60"]
    assert third.endswith("weekday_average (too short for a backtest)")
    assert judged.startswith("mean >= 50 a day, >= 200 points: 1 series; the 80 % interval covers")
    assert judged.endswith("better in 1")
    assert others.startswith("the others: 1 series")


def test_a_report_of_nothing_says_so() -> None:
    assert list(print_report([]))[1:] == [
        "mean >= 50 a day, >= 200 points: no series",
        "the others: no series",
    ]


def test_pooled_figures_weigh_every_series_the_same() -> None:
    rows = [
        judge_series(
            Series(
                name=str(seed),
                values=np.array(daily_values(days, mean=60.0, seed=seed)),
                presence=always(days),
                is_count=True,
            )
        )
        for seed, days in ((1, 60), (2, 120))
    ]
    tests = [row.found.backtest for row in rows if row.found.backtest is not None]
    pooled = pool(rows)
    assert pooled.series == len(tests) == 2
    assert pooled.coverage_80 == pytest.approx(np.mean([test.scores.coverage_80 for test in tests]))
    ratios = [t.scores.weighted_interval_score / t.baseline.weighted_interval_score for t in tests]
    assert pooled.score_ratio == pytest.approx(np.sqrt(ratios[0] * ratios[1]))


def made(last_day: date, conversions: int) -> Made:
    return Made(made_at=NOW, history_start_day=FIRST, last_day=last_day, history_conversions=conversions)


def test_forecasts_are_made_anew_when_a_day_is_over_or_the_history_changed() -> None:
    known = {"USD": History(days=60, conversions=1000), "EUR": History(days=13, conversions=5)}
    assert find_reason(LAST, known, {}) == "USD has no forecast"
    assert find_reason(LAST, known, {"USD": made(LAST, 1000)}) is None, "EUR has too few days"
    assert find_reason(LAST, known, {"USD": made(LAST, 995)}) is None
    before = find_reason(LAST, known, {"USD": made(LAST - timedelta(days=1), 1000)})
    assert before == "USD was forecast before 2026-03-30 was over"
    changed = find_reason(LAST, known, {"USD": made(LAST, 980)})
    assert changed == "USD has other days than it was forecast from"
    assert find_reason(LAST, {}, {}) is None


@pytest.mark.parametrize(
    ("before", "now", "is_changed"),
    [(0, 0, False), (100, 101, False), (100, 102, True), (102, 100, True), (0, 1, True)],
)
def test_a_history_changes_by_more_than_a_hundredth(before: int, now: int, is_changed: bool) -> None:
    assert has_changed(before, now) is is_changed
