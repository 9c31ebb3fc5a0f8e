"""What is out of the ordinary in a campaign's counts: single periods, and lasting changes of level.

Counts vary more the larger they are, so everything happens on Anscombe's scale, u = 2 sqrt(y + 3/8), where
Poisson counts have a variance of 1 and counts k times as variable one of k at any mean (F. J. Anscombe, "The
transformation of Poisson, binomial and negative-binomial data", Biometrika 35, 1948): quasi-Poisson, as in C.
P. Farrington et al., "A statistical algorithm for the early detection of outbreaks of infectious disease",
JRSS A 159, 1996. Revenue is counted in mean conversions, which makes it a count that is more variable.

1. The season (the weekday of days; the hour of the day, and with four weeks of the week, of hours) is the
   mean distance from the running median, without those over three standard deviations from their median.
2. Lasting changes are found in what is left, see `change_points.py`, on the scale of its long-run variance:
   neighbours that are alike make a level that wanders, not one that changes. Between changes the level is a
   mean, outliers pulled in to three standard deviations.
3. The spread is 1.4826 times the median absolute residual, at least 1 (Poisson).
4. A period is an anomaly where it lies outside the negative binomial's quantiles at 5 % divided by twice the
   number of periods and measures looked at (Bonferroni). The distribution has the expected mean and the
   spread, widened as much as Student's t is wider than the normal with as many degrees of freedom as a median
   absolute deviation is worth (0.37 of those of the residuals, its efficiency: P. J. Rousseeuw and C. Croux,
   "Alternatives to the median absolute deviation", JASA 88, 1993). High revenue must lie beyond
   a Pareto tail through the other periods' largest as well: amounts are spread wider than counts. Where
   periods are independent given their season, at most 5 % of answers hold any anomaly. What recurs
   otherwise, such as paydays, is out of the ordinary.

A measure with fewer than `MINIMUM_MEAN` per period on average, or with nothing in more than a third of its
periods, is too sparse for that: there only excesses are found, by the negative binomial with the mean of the
other periods and their dispersion (A. Noufaily et al., "An improved algorithm for outbreak detection in
multiple surveillance systems", Statistics in Medicine 32, 2013), and no change points. The expected value is
what the other periods of the range would have led one to expect, those after it included: it looks back, it
does not forecast.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from math import exp, sqrt
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import betainc, ndtri, stdtrit

from services.analytics.domain.change_points import find_change_points
from services.analytics.domain.intervals import ConfidenceInterval

Floats = NDArray[np.float64]
FALSE_ALARM_RATE = 0.05
MINIMUM_MEAN = 5.0
_MINIMUM_FILLED = 2 / 3
"""Part of the periods that must have a count: of what comes in bursts, a median knows nothing."""
_FAR_AWAY = 3.0
_EFFICIENCY = 0.37
_ANSCOMBE = 3 / 8
_FAR = 0.75
"""Part of the quantile beyond which a residual is looked at more closely."""
_LEAST_EXPECTED = 1.3
"""On Anscombe's scale, where 2 sqrt(3/8) is a count of 0."""
_NEAR_POISSON = 1e-9
_MAXIMUM_CORRELATION = 0.9
_TAIL = 0.2
"""Part of the periods whose amounts tell how the largest are spread."""


@dataclass(frozen=True, kw_only=True)
class Anomaly:
    """A period, by its place in the series, whose count the others do not explain."""

    place: int
    metric: str
    direction: Literal["high", "low"]
    expected: float
    interval: ConfidenceInterval


@dataclass(frozen=True, kw_only=True)
class Change:
    """A new level from a period on, by its place; levels are means per period up to the next change."""

    place: int
    metric: str
    level_before: float
    level_after: float


def find_unusual(
    series: Mapping[str, Sequence[float]],
    seasons: Sequence[int],
    *,
    shortest: int,
    units: Mapping[str, float],
) -> tuple[Sequence[Anomaly], Sequence[Change]]:
    """Return the anomalies and the changes of level of some measures over the same whole periods.

    Args:
        series: values per period, not negative, by measure.
        seasons: the season of each period, numbered from 0.
        shortest: the fewest periods that make a level.
        units: what one of a measure is worth, where it is not a count; measures without one are counts.
    """
    anomalies: list[Anomaly] = []
    changes: list[Change] = []
    labels = np.asarray(seasons, dtype=np.int64)
    hot = np.zeros((labels.size, int(labels.max()) + 1))
    hot[np.arange(labels.size), labels] = 1.0
    rate = FALSE_ALARM_RATE / (2 * labels.size * len(series))
    for metric, given in series.items():
        values = np.asarray(given, dtype=np.float64) / units.get(metric, 1.0)
        if _is_dense(values):
            model = _fit(values, hot, shortest)
            found = _list_outliers(values, model, rate)
            if metric in units:
                found = _keep_beyond_heavy_tail(found, values, model, rate)
            changes += _list_changes(values * units.get(metric, 1.0), model.changes, metric)
        elif metric not in units:
            found = _list_excesses(values, rate)
        else:
            found = []
        anomalies += [_name(one, metric, units.get(metric, 1.0)) for one in found]
    return sorted(anomalies, key=lambda a: a.place), sorted(changes, key=lambda c: c.place)


def _is_dense(values: Floats) -> bool:
    """Return whether a series is neither low nor, from its first to its last count, 0 too often."""
    counted = np.flatnonzero(values)
    if values.mean() < MINIMUM_MEAN:
        return False
    return bool(counted.size >= _MINIMUM_FILLED * (counted[-1] - counted[0] + 1))


@dataclass(frozen=True, kw_only=True)
class _Model:
    """A fitted series on Anscombe's scale."""

    expected: Floats
    residuals: Floats
    spread: float
    parameters: int
    changes: Sequence[int]


def _fit(values: Floats, hot: Floats, shortest: int) -> _Model:
    scaled = 2 * np.sqrt(values + _ANSCOMBE)
    season = np.zeros(values.size)
    kinds = int(np.count_nonzero(hot.any(axis=0)))
    if kinds > 1:
        away = scaled - _running_median(scaled, hot.shape[1])
        distances = np.abs(away - hot @ _find_medians(away, hot))
        kept = distances <= _FAR_AWAY * max(1.4826 * float(np.median(distances)), 1.0)
        means = ((away * kept) @ hot) / np.maximum(kept @ hot, 1)
        season = hot @ (means - means[hot.any(axis=0)].mean())
    rest = scaled - season
    noise = max(1.4826 / sqrt(2) * float(np.median(np.abs(np.diff(rest)))), 1.0)
    middle = _running_median(rest, shortest)
    calm = middle + np.clip(rest - middle, -_FAR_AWAY * noise, _FAR_AWAY * noise)
    changes = find_change_points(calm / (noise * _estimate_inflation(calm)), shortest=shortest)
    level = np.empty(values.size)
    for begin, end in _list_parts(changes, values.size):
        part = rest[begin:end]
        centre = float(np.median(part))
        level[begin:end] = np.clip(part, centre - _FAR_AWAY * noise, centre + _FAR_AWAY * noise).mean()
    residuals = rest - level
    parameters = kinds + len(changes)
    spread = 1.4826 * float(np.median(np.abs(residuals)))
    spread *= sqrt(values.size / max(values.size - parameters, 1))
    return _Model(
        expected=level + season,
        residuals=residuals,
        spread=max(spread, 1.0),
        parameters=parameters,
        changes=changes,
    )


def _estimate_inflation(calm: Floats) -> float:
    """Return by how much a lasting mean varies more than it would among independent periods.

    Half the mean square of differences at a lag estimates s^2 (1 - rho) at one and s^2 (1 - rho^2) at two,
    whatever the level does now and then; a mean over many periods has a long-run variance of
    s^2 (1 + rho) / (1 - rho) (AR(1); D. W. K. Andrews, "Heteroskedasticity and autocorrelation consistent
    covariance matrix estimation", Econometrica 59, 1991). The caller's spread is that of differences at one.
    """
    near, far = (float(np.mean((calm[lag:] - calm[:-lag]) ** 2)) for lag in (1, 2))
    if near <= 0:
        return 1.0
    correlation = float(np.clip(far / near - 1, 0.0, _MAXIMUM_CORRELATION))
    return sqrt(1 + correlation) / (1 - correlation)


def _find_medians(values: Floats, hot: Floats) -> Floats:
    """Return the median of each season's values; 0 for a season without any."""
    sizes = hot.sum(axis=0).astype(np.int64)
    ordered = values[np.lexsort((values, hot.argmax(axis=1)))]
    ends = np.cumsum(sizes)
    begins = ends - sizes
    low = np.minimum(begins + np.maximum(sizes - 1, 0) // 2, values.size - 1)
    high = np.minimum(begins + sizes // 2, values.size - 1)
    medians: Floats = np.where(sizes > 0, (ordered[low] + ordered[high]) / 2, 0.0)
    return medians


def _running_median(values: Floats, width: int) -> Floats:
    """Return the median around each value; a width that is even takes one more."""
    half = min(width, values.size - 1) // 2
    before, behind = np.median(values[: half + 1]), np.median(values[-half - 1 :])
    padded = np.concatenate([np.full(half, before), values, np.full(half, behind)])
    windows = np.lib.stride_tricks.sliding_window_view(padded, 2 * half + 1)
    medians: Floats = np.median(windows, axis=1)
    return medians


def _list_parts(changes: Sequence[int], size: int) -> Sequence[tuple[int, int]]:
    edges = [0, *changes, size]
    return list(pairwise(edges))


@dataclass(frozen=True, kw_only=True)
class _Outlier:
    place: int
    is_high: bool
    expected: float
    lower: float
    upper: float


def _list_outliers(values: Floats, model: _Model, rate: float) -> list[_Outlier]:
    """Return what is beyond the negative binomial's quantiles, of what is far out on Anscombe's scale."""
    widening = _widen(rate, _EFFICIENCY * (values.size - model.parameters))
    unsure = 1 + model.parameters / values.size  # the expected value is estimated too
    dispersion = model.spread**2 * widening * unsure + _NEAR_POISSON
    far = -_FAR * float(ndtri(rate)) * sqrt(widening) * model.spread
    found = []
    for place in np.flatnonzero(np.abs(model.residuals) > far).tolist():
        expected = max(float(model.expected[place]), _LEAST_EXPECTED) ** 2 / 4 - _ANSCOMBE
        lower, upper = _find_bounds(expected, dispersion, rate)
        if not lower <= values[place] <= upper:
            is_high = bool(values[place] > upper)
            found.append(_Outlier(place=place, is_high=is_high, expected=expected, lower=lower, upper=upper))
    return found


def _keep_beyond_heavy_tail(
    found: Sequence[_Outlier], values: Floats, model: _Model, rate: float
) -> list[_Outlier]:
    """Return what is low, or beyond a Pareto tail through the largest of the other periods.

    The largest fifth of value / expected is taken for Pareto (B. M. Hill, "A simple general approach to
    inference about the tail of a distribution", Ann. Statist. 3, 1975): its logarithms exceed their smallest
    by exponential amounts, of which the next exceeds k others' mean c times with the chance (1 + c / k)^-k.
    """
    expected = np.maximum(model.expected, _LEAST_EXPECTED) ** 2 / 4 - _ANSCOMBE
    logs = np.log(np.maximum(values / expected, 1e-9))
    kept = []
    for one in found:
        largest = np.sort(np.delete(logs, one.place))[::-1]
        count = max(int(_TAIL * largest.size), 1)
        excess = float(largest[:count].mean() - largest[count])
        times = count * ((count / largest.size / rate) ** (1 / count) - 1)
        upper = max(one.expected * exp(min(float(largest[count]) + times * excess, 300.0)), one.upper)
        if not one.is_high or values[one.place] > upper:
            kept.append(replace(one, upper=upper))
    return kept


def _widen(rate: float, freedom: float) -> float:
    """Return by how much a variance must be larger for a normal tail to be that of Student's t."""
    return float(stdtrit(max(freedom, 3.0), rate) / ndtri(rate)) ** 2


def _list_excesses(values: Floats, rate: float) -> list[_Outlier]:
    """Return the excesses of a sparse count; its largest value does not count for the dispersion."""
    size, total = values.size, float(values.sum())
    if total <= 1:
        return []
    means = np.maximum((total - values) / (size - 1), 1 / size)
    pearson = np.sort((values - means) ** 2 / means)[:-1]
    dispersion = max(float(pearson.sum()) / max(size - 2, 1), 1.0)
    dispersion = dispersion * _widen(rate, (size - 2) / 2) + _NEAR_POISSON
    return [
        _Outlier(
            place=place,
            is_high=True,
            expected=float(means[place]),
            lower=0.0,
            upper=_find_bounds(float(means[place]), dispersion, rate)[1],
        )
        for place in np.flatnonzero(_tail(values, means, dispersion) < rate).tolist()
    ]


def _tail(values: Floats, means: Floats, dispersion: float) -> Floats:
    """Return P(Y >= values) of the negative binomial with these means and variance = dispersion * mean."""
    beyond = betainc(np.maximum(values, 1e-9), means / (dispersion - 1), 1 - 1 / dispersion)
    tails: Floats = np.where(values > 0, beyond, 1.0)
    return tails


def _find_bounds(mean: float, dispersion: float, rate: float) -> tuple[float, float]:
    """Return the smallest and the largest whole count that are in neither tail of `rate`."""
    means = np.array([mean])

    def is_reached(count: int, least: float) -> bool:
        return bool(_tail(np.array([float(count)]), means, dispersion)[0] >= least)

    # P(Y <= k) >= rate where P(Y >= k + 1) <= 1 - rate.
    return float(_find_last(lambda count: is_reached(count, 1 - rate))), float(
        _find_last(lambda count: is_reached(count, rate))
    )


def _find_last(holds: Callable[[int], bool]) -> int:
    """Return the last whole number for which something holds that holds for 0 and ends once."""
    low, high = 0, 1
    while holds(high):
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if holds(middle) else (low, middle)
    return low


def _name(outlier: _Outlier, metric: str, unit: float) -> Anomaly:
    return Anomaly(
        place=outlier.place,
        metric=metric,
        direction="high" if outlier.is_high else "low",
        expected=outlier.expected * unit,
        interval=ConfidenceInterval(lower=outlier.lower * unit, upper=outlier.upper * unit),
    )


def _list_changes(values: Floats, places: Sequence[int], metric: str) -> list[Change]:
    parts = _list_parts(places, values.size)
    return [
        Change(
            place=after[0],
            metric=metric,
            level_before=float(values[slice(*before)].mean()),
            level_after=float(values[slice(*after)].mean()),
        )
        for before, after in pairwise(parts)
    ]
