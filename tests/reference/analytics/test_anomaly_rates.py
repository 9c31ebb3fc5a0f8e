"""How often detection errs and what it finds, on series drawn from the models it is stated for (seeded).

Counts are negative binomial with a weekday pattern; `dispersion` is variance / mean. Revenue is the sum of
one gamma-distributed amount per conversion. Rates are compared with what the module states plus three
standard errors of the simulation.
"""

from math import sqrt

import numpy as np
import pytest
from numpy.typing import NDArray

from services.analytics.domain.anomalies import FALSE_ALARM_RATE, find_unusual
from services.analytics.domain.change_points import find_change_points

WEEKDAYS = np.array([1.0, 0.9, 0.85, 0.9, 1.1, 1.4, 1.2])
Floats = NDArray[np.float64]


def draw(random: np.random.Generator, *, repeats: int, days: int, mean: float, dispersion: float) -> Floats:
    return vary(random, np.tile(mean * WEEKDAYS[np.arange(days) % 7], (repeats, 1)), dispersion)


def vary(random: np.random.Generator, means: Floats, dispersion: float) -> Floats:
    if dispersion > 1:
        means = random.gamma(means / (dispersion - 1), dispersion - 1)
    return random.poisson(means).astype(np.float64)


@pytest.mark.parametrize("days", [42, 90, 365])
@pytest.mark.parametrize(
    ("mean", "dispersion"), [(0.3, 1.0), (2.0, 1.5), (8.0, 1.0), (50.0, 2.0), (50.0, 5.0), (1000.0, 20.0)]
)
def test_false_alarms_are_as_rare_as_stated(days: int, mean: float, dispersion: float) -> None:
    """Answers about four measures that only vary as they always do: with any anomaly, and with any change."""
    repeats = 120
    random = np.random.default_rng(20260301 + days)
    conversions = draw(random, repeats=repeats, days=days, mean=mean, dispersion=dispersion)
    views = draw(random, repeats=repeats, days=days, mean=10 * mean, dispersion=2 * dispersion)
    clicks = draw(random, repeats=repeats, days=days, mean=3 * mean, dispersion=dispersion)
    revenue = random.gamma(1.1 * np.maximum(conversions, 1e-9), 20 / 1.1)
    with_anomaly = with_change = 0
    for row in range(repeats):
        series = {
            "views": views[row],
            "clicks": clicks[row],
            "conversions": conversions[row],
            "revenue": revenue[row],
        }
        anomalies, changes = find_unusual(
            {name: list(values) for name, values in series.items()},
            list(np.arange(days) % 7),
            shortest=7,
            units={"revenue": 20.0},
        )
        with_anomaly += bool(anomalies)
        with_change += bool(changes)
    allowed = FALSE_ALARM_RATE + 3 * sqrt(FALSE_ALARM_RATE * (1 - FALSE_ALARM_RATE) / repeats)
    assert with_anomaly / repeats <= allowed
    assert with_change / repeats <= allowed


@pytest.mark.parametrize("sigma", [1.5, 2.0])
def test_large_amounts_are_no_anomaly(sigma: float) -> None:
    """Log-normal amounts, most of the money in few of them."""
    repeats, days = 200, 90
    random = np.random.default_rng(41)
    conversions = draw(random, repeats=repeats, days=days, mean=20, dispersion=1).astype(int)
    alarms = 0
    for row in conversions:
        revenue = [float(random.lognormal(3, sigma, count).sum()) for count in row]
        anomalies, changes = find_unusual(
            {"revenue": revenue},
            list(np.arange(days) % 7),
            shortest=7,
            units={"revenue": sum(revenue) / row.sum()},
        )
        alarms += bool(anomalies) + bool(changes)
    assert alarms / repeats <= FALSE_ALARM_RATE


def test_revenue_beyond_its_own_tail_is_found() -> None:
    """A day with ten times its revenue, amounts being gamma-distributed: found in 95 of 100 series."""
    random = np.random.default_rng(42)
    conversions = draw(random, repeats=100, days=90, mean=50, dispersion=1)
    hits = 0
    for revenue in random.gamma(1.1 * conversions, 20 / 1.1):
        revenue[45] *= 10
        anomalies, _ = find_unusual(
            {"revenue": list(revenue)}, list(np.arange(90) % 7), shortest=7, units={"revenue": 20.0}
        )
        found = [anomaly for anomaly in anomalies if anomaly.place == 45]
        hits += any(one.direction == "high" and one.interval.upper < revenue[45] for one in found)
    assert hits / 100 >= 0.95


@pytest.mark.parametrize(("correlation", "most"), [(0.5, 0.2), (0.8, 0.7)])
def test_days_that_resemble_their_neighbours_wander_more_than_they_change(
    correlation: float, most: float
) -> None:
    """AR(1) effects of days with a standard deviation of 0.15: rather above 5 %, as the contract says."""
    repeats, days = 150, 90
    random = np.random.default_rng(43)
    effect = np.zeros((repeats, days))
    shocks = random.normal(0, 0.15, (repeats, days))
    effect[:, 0] = shocks[:, 0]
    for day in range(1, days):
        effect[:, day] = correlation * effect[:, day - 1] + sqrt(1 - correlation**2) * shocks[:, day]
    series = vary(random, 200 * WEEKDAYS[np.arange(days) % 7] * np.exp(effect), 1.0)
    found = [
        find_unusual({"views": list(row)}, list(np.arange(days) % 7), shortest=7, units={}) for row in series
    ]
    assert sum(bool(changes) for _, changes in found) / repeats <= most
    assert sum(bool(anomalies) for anomalies, _ in found) / repeats <= 0.1


@pytest.mark.parametrize("factor", [1.3, 0.7])
@pytest.mark.parametrize(
    ("dispersion", "days", "power"), [(1.0, 90, 0.97), (2.0, 90, 0.95), (4.0, 180, 0.95)]
)
def test_a_shift_by_30_percent_is_found_where_it_is(
    factor: float, dispersion: float, days: int, power: float
) -> None:
    """In the middle of a series with a mean of 50 a day; most of those found within a week of it."""
    repeats, place = 150, days // 2
    random = np.random.default_rng(7)
    means = np.tile(50 * WEEKDAYS[np.arange(days) % 7], (repeats, 1))
    means[:, place:] *= factor
    series = vary(random, means, dispersion)
    found, ratios = [], []
    for values in series:
        _, changes = find_unusual(
            {"conversions": list(values)}, list(np.arange(days) % 7), shortest=7, units={}
        )
        if changes:
            found.append(min(abs(change.place - place) for change in changes))
            nearest = min(changes, key=lambda change: abs(change.place - place))
            ratios.append(nearest.level_after / nearest.level_before)
    assert len(found) / repeats >= power
    assert np.mean(np.array(found) <= 7) >= 0.85
    assert np.median(ratios) == pytest.approx(factor, rel=0.05)


def test_a_trebled_day_is_found() -> None:
    """One day of three times its mean, at a mean of 50 and a dispersion of 2: found in 95 of 100 series."""
    random = np.random.default_rng(11)
    series = draw(random, repeats=150, days=90, mean=50, dispersion=2)
    series[:, 45] = vary(random, np.full(150, 150 * WEEKDAYS[45 % 7]), 2)
    hits = 0
    for values in series:
        anomalies, _ = find_unusual(
            {"conversions": list(values)}, list(np.arange(90) % 7), shortest=7, units={}
        )
        hits += any(anomaly.place == 45 and anomaly.direction == "high" for anomaly in anomalies)
    assert hits / 150 >= 0.95


@pytest.mark.parametrize("size", [90, 1098])
def test_a_level_that_comes_and_goes_is_two_changes(size: int) -> None:
    """Without noise the places are exact, on the grid of long series too."""
    values = np.zeros(size)
    values[31:52] = 5.0
    assert list(find_change_points(values, shortest=7)) == [31, 52]
    assert find_change_points(np.zeros(size), shortest=7) == []


def test_outliers_are_no_change_of_level() -> None:
    random = np.random.default_rng(3)
    values = draw(random, repeats=1, days=90, mean=50, dispersion=1)[0]
    values[[20, 21, 60]] = 500
    anomalies, changes = find_unusual(
        {"conversions": list(values)}, list(np.arange(90) % 7), shortest=7, units={}
    )
    assert changes == []
    assert {anomaly.place for anomaly in anomalies} == {20, 21, 60}
