"""Intervals around paths: how far off each method was before, and what that says of the days to come."""

from typing import Final

import numpy as np
from scipy import special, stats

from services.analytics.forecasting.paths import Paths
from services.analytics.forecasting.series import (
    HORIZON,
    WEEK,
    Bools,
    Floats,
    Ints,
    Series,
    coming,
    targets_of,
)

LEVELS: Final = np.array([0.025, 0.1, 0.5, 0.9, 0.975])
"""The levels of every row of quantiles: the 95 % and 80 % intervals around the median."""
_HALF_LIFE_DAYS = 42.0
_WEEK_PRIOR = 200.0
_WEEK_GROWTH = 1.03
_SMALLEST = 1e-9
_FEWEST_ERRORS = 4 * WEEK
_LEAST_DAYS = 3.0
_MOST_LASTING = 0.9


def predict_quantiles(series: Series, paths: Paths, origins: Ints) -> Floats:
    """Return (origins, HORIZON, levels) the quantiles that a method gave at the end of each origin day.

    They use the errors of paths whose days were over at the origin, and nothing later. Dense series take the
    errors as they were (split conformal prediction), sparse ones and short histories a distribution that fits
    them.
    """
    paths = paths.times(coming(series.presence))
    targets = targets_of(series.values)
    if not series.is_dense:
        return _distribute(series, paths, targets, origins)
    conformed = {index: _conform(paths, targets, int(origin)) for index, origin in enumerate(origins)}
    quantiles = np.empty((len(origins), HORIZON, len(LEVELS)))
    short = [index for index, found in conformed.items() if found is None]
    if short:
        quantiles[short] = _distribute(series, paths, targets, origins[short])
    for index, found in conformed.items():
        if found is not None:
            quantiles[index] = found
    return quantiles


def _conform(paths: Paths, targets: Floats, origin: int) -> Floats | None:
    """Return (HORIZON, levels) quantiles from past errors in units of their expected spread; None of too few.

    Split conformal prediction over rolling origins (Stankeviciute, Alaa & van der Schaar 2021; FPP3, section
    5.5), with weights that halve every six weeks, because the world drifts (Barber, Candes, Ramdas &
    Tibshirani 2023). The spread of each week ahead is estimated from its own errors, drawn towards the week
    before while these are few.
    """
    day = np.arange(len(targets))[:, np.newaxis]
    ahead = np.arange(1, HORIZON + 1)
    over = (day + ahead <= origin) & np.isfinite(paths.mean) & (paths.variance > _SMALLEST)
    if np.count_nonzero(over) < _FEWEST_ERRORS:
        return None
    weights = np.where(over, 0.5 ** ((origin - day - ahead) / _HALF_LIFE_DAYS), 0.0)
    errors = np.zeros_like(targets)
    errors[over] = (targets - paths.mean)[over] / np.sqrt(paths.variance[over])
    scale = np.sqrt(np.maximum(_variance_by_week(errors, weights), _SMALLEST))
    scaled = errors / scale
    levels = weighted_quantiles(scaled[over], weights[over])
    judged_days = np.zeros(len(targets))
    np.maximum.at(judged_days, (day + ahead)[over], weights[over])
    independent = _independent_share(_mean_by_day(scaled, over, day + ahead))
    few = _allow_for_few(float(judged_days.sum()) * independent)
    spread = scale * np.sqrt(few * np.maximum(paths.variance[origin], 0.0))
    quantiles = paths.mean[origin][:, np.newaxis] + spread[:, np.newaxis] * levels
    return np.asarray(np.maximum(quantiles, 0.0), dtype=np.float64)


def _mean_by_day(errors: Floats, over: Bools, days: Ints) -> Floats:
    """Return the mean error of each day that was forecast, in order."""
    sums, counts = np.zeros(len(errors)), np.zeros(len(errors))
    np.add.at(sums, days[over], errors[over])
    np.add.at(counts, days[over], 1.0)
    return np.asarray(sums[counts > 0] / counts[counts > 0], dtype=np.float64)


def _independent_share(errors: Floats) -> float:
    """Return what share of so many days' errors would tell as much if they were independent.

    (1 - r) / (1 + r) with the correlation r of a day's error with the next one's (Bayley & Hammersley 1946),
    of 0 to 0.9: errors that last, as those of a level do, tell less of what a coming month may bring.
    """
    square = float((errors**2).sum())
    if square <= 0:
        return 1.0
    lasting = min(max(float((errors[1:] * errors[:-1]).sum()) / square, 0.0), _MOST_LASTING)
    return (1 - lasting) / (1 + lasting)


def _variance_by_week(errors: Floats, weights: Floats) -> Floats:
    """Return (HORIZON) the mean square of the errors by week ahead, never less than the week before."""
    variances: list[float] = []
    for week in range(HORIZON // WEEK):
        columns = slice(week * WEEK, (week + 1) * WEEK)
        weight = float(weights[:, columns].sum())
        square = float((weights * errors**2)[:, columns].sum() / weight) if weight > 0 else 0.0
        if not variances:
            variances.append(square)
            continue
        trust = weight / (weight + _WEEK_PRIOR)
        before = variances[-1]
        variances.append(max(trust * square + (1 - trust) * before * _WEEK_GROWTH, before))
    return np.repeat(variances, WEEK)


def weighted_quantiles(values: Floats, weights: Floats) -> Floats:
    """Return the quantiles at LEVELS of weighted values, interpolated between the middles of weights."""
    order = np.argsort(values)
    ordered = weights[order]
    middles = (np.cumsum(ordered) - ordered / 2) / ordered.sum()
    return np.asarray(np.interp(LEVELS, middles, values[order]), dtype=np.float64)


def _distribute(series: Series, paths: Paths, targets: Floats, origins: Ints) -> Floats:
    """Return quantiles of a count's negative binomial, or of a sum of payments' gamma with a mass at zero.

    The variance is a common multiple of the paths' own; the multiple is that of the squared errors to the
    variances expected, with weights that halve every six weeks.
    """
    dispersion = _dispersions(paths, targets)[origins]
    mean = np.maximum(paths.mean[origins], 0.0)[:, :, np.newaxis]
    variance = dispersion[:, np.newaxis] * np.maximum(paths.variance[origins], _SMALLEST)
    quantiles = count_quantiles if series.is_count else payment_quantiles
    found = quantiles(np.maximum(mean, _SMALLEST), variance[:, :, np.newaxis])
    return np.where(mean > _SMALLEST, found, 0.0)


def _dispersions(paths: Paths, targets: Floats) -> Floats:
    """Return (n) the dispersion as known at the end of each day, 1 before anything is known."""
    days = len(targets)
    judged = np.isfinite(targets) & np.isfinite(paths.mean) & (paths.mean > _SMALLEST)
    squares = np.where(judged, (targets - paths.mean) ** 2, 0.0)
    expected = np.where(judged, paths.variance, 0.0)
    square_by_day, expected_by_day = np.zeros(days), np.zeros(days)
    for ahead in range(1, min(HORIZON, days - 1) + 1):
        square_by_day[ahead:] += squares[: days - ahead, ahead - 1]
        expected_by_day[ahead:] += expected[: days - ahead, ahead - 1]
    kept = 0.5 ** (1 / _HALF_LIFE_DAYS)
    dispersions = np.ones(days)
    square_sum = expected_sum = count = 0.0
    for day in range(days):
        square_sum = kept * square_sum + square_by_day[day]
        expected_sum = kept * expected_sum + expected_by_day[day]
        count = kept * count + float(expected_by_day[day] > 0)
        if square_sum > 0 and expected_sum > 0:
            dispersions[day] = _allow_for_few(count) * square_sum / expected_sum
    return dispersions


def _allow_for_few(days: float) -> float:
    """Return by how much a variance is raised that so many days tell of, as n / (n - 1) does.

    Many paths judge the same day, and together tell no more of it than one.
    """
    days = max(days, _LEAST_DAYS)
    return (days + 1) / (days - 1)


def count_quantiles(mean: Floats, variance: Floats) -> Floats:
    """Return quantiles at LEVELS (last axis) of negative binomials; nearly Poisson below its variance."""
    variance = np.maximum(variance, mean * 1.001)
    size, chance = mean**2 / (variance - mean), mean / variance
    return np.asarray(stats.nbinom.ppf(LEVELS, size, chance), dtype=np.float64)


def payment_quantiles(mean: Floats, variance: Floats) -> Floats:
    """Return quantiles at LEVELS (last axis) of sums of payments: zero, or gamma, with these moments.

    Zero has the probability exp(-mean² / variance), that of no payment where payments come as a Poisson
    process and are of one size: a compound Poisson distribution with the same mean and variance (Jorgensen
    1987) has at least about this much.
    """
    paid = -np.expm1(-(mean**2) / variance)  # 1 - zero, which may be too small for a difference
    positive_mean = mean / paid
    positive_variance = np.maximum((variance + mean**2) / paid - positive_mean**2, _SMALLEST)
    shape = positive_mean**2 / positive_variance
    level = np.clip((LEVELS - (1 - paid)) / paid, 0.0, 1.0)
    return np.asarray(special.gammaincinv(shape, level) * positive_variance / positive_mean, dtype=np.float64)
