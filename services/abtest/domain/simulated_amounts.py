"""Simulated revenue: what the users who convert spend, as far as a mean per user needs it."""

from dataclasses import dataclass

import numpy as np

from services.abtest.domain.contrasts import SMALL_EXPECTED_COUNT
from services.abtest.domain.simulated_counts import Floats, SimulatedCounts, SimulatedScores

_TINY = np.finfo(np.float64).tiny


@dataclass(frozen=True, kw_only=True)
class RevenueModel:
    """What one converting user spends: gamma with this mean, above 0, and standard deviation, at least 0."""

    mean: float
    standard_deviation: float


@dataclass(frozen=True, kw_only=True)
class SimulatedAmounts:
    """Sums of users' amounts and of their squares by test, look and group, as they stand at each look."""

    totals: Floats
    squares: Floats


def draw_amounts(
    generator: np.random.Generator, counts: SimulatedCounts, model: RevenueModel
) -> SimulatedAmounts:
    """Return what the converting users of `counts` spend, each on their own."""
    converted = np.diff(counts.conversions, axis=1, prepend=0)
    users = int(converted.sum())
    if model.standard_deviation:
        shape = (model.mean / model.standard_deviation) ** 2
        amounts = generator.gamma(shape, model.mean / shape, size=users)
    else:
        amounts = np.full(users, model.mean)
    return SimulatedAmounts(totals=_add_up(amounts, converted), squares=_add_up(amounts**2, converted))


def _add_up(values: Floats, counts: "np.ndarray[tuple[int, ...], np.dtype[np.int64]]") -> Floats:
    """Return the sums of so many values each, in order, cumulated over looks."""
    sums = np.concatenate(([0.0], np.cumsum(values)))
    ends = np.cumsum(counts.ravel())
    by_cell = sums[ends] - sums[ends - counts.ravel()]
    return np.asarray(by_cell.reshape(counts.shape).cumsum(axis=1))


def squared_deviations(counts: SimulatedCounts, amounts: SimulatedAmounts) -> Floats:
    """Return the squared deviations from each group's mean per user."""
    return np.asarray(np.maximum(0.0, amounts.squares - amounts.totals**2 / np.maximum(1, counts.users)))


def score_amounts(counts: SimulatedCounts, amounts: SimulatedAmounts) -> SimulatedScores:
    """Return every variant's mean per user against control's at every look.

    Source: as `contrasts.contrast_metric` has it for means in a single weight epoch; Student's t is never
    surer than the standard normal, so the latter bounds Welch's test.
    """
    users = np.maximum(2.0, counts.users)
    means = amounts.totals / users
    squared_errors = squared_deviations(counts, amounts) / (users - 1.0) / users
    n0, n1 = users[..., :1], users[..., 1:]
    e0, e1 = squared_errors[..., :1], squared_errors[..., 1:]
    own = np.maximum(_TINY, e0 + e1)
    common = (e0 * n0 * (n0 - 1.0) + e1 * n1 * (n1 - 1.0)) / (n0 + n1 - 2.0) * (1.0 / n0 + 1.0 / n1)
    variance = own * np.maximum(1.0, common / own)
    control = means[..., :1]
    difference = means[..., 1:] - control
    total = amounts.totals[..., :1] + amounts.totals[..., 1:]
    squares = np.maximum(_TINY, amounts.squares[..., :1] + amounts.squares[..., 1:])
    contributors = np.minimum(n0, n1) / (n0 + n1) * total**2 / squares
    return SimulatedScores(
        relative_lift=np.where(control > 0.0, means[..., 1:] / np.maximum(_TINY, control) - 1.0, np.nan),
        z=difference / np.sqrt(variance),
        fixed_z=np.abs(difference) / np.sqrt(own),
        effective_users=(e0 * n0 + e1 * n1) / variance,
        information=(n0 * n1 / (n0 + n1)) ** 2 * (e0 + e1),
        ready=(contributors >= SMALL_EXPECTED_COUNT) & (e0 + e1 > 0.0),
    )
