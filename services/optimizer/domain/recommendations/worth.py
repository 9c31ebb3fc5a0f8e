"""What a campaign earned per view or impression before and after a change, with intervals.

Profit is the objective's (`domain/objectives.py`): gross margin rate x revenue less the offers that
conversions redeemed. A mean R = sum(y) / sum(x) is linearised (Cochran 1977, eq. 6.13); its variance adds up
what a user does, and what a day does, since neither's events are independent (two-way clustering: Cameron,
Gelbach & Miller 2011, eq. 2.13; no less than the lesser of both, where that comes out below). The same users
and days may be on both sides, so that a change's variance has their covariance. The relative change is R1 /
R0 - 1, with Fieller's interval (Fieller, "Some Problems in Interval Estimation", JRSS B 16 (1954)).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Self

import numpy as np
from scipy.special import stdtrit

from services.optimizer.domain.features import FloatArray
from services.optimizer.domain.offers.answer import INTERVAL_LEVEL, Interval

FEWEST_CONVERSIONS: Final = 10
"""With fewer conversions on a side nothing is said of how sure its mean is: the normal error fails."""
_FEWEST: Final = 2
_SIDES: Final = 2
_MEASURES: Final = 3


class Clustering(StrEnum):
    """What a variance adds up: users and days, or days alone where events are not kept, or too many."""

    USERS_AND_DAYS = "users_and_days"
    DAYS = "days"


class Level(StrEnum):
    """A way to cluster what happened."""

    USER = "user"
    DAY = "day"
    USER_DAY = "user_day"


@dataclass(frozen=True, kw_only=True)
class Moments:
    """Sums over clusters: `clusters` that tried anything by side (2), and what they brought.

    The measures are trials, revenue and redeemed offers (currency units) before, then the same after: `sums`
    (6), and sums of their `products` (6, 6).
    """

    clusters: tuple[int, int]
    sums: FloatArray
    products: FloatArray

    @classmethod
    def of(cls, clusters: Sequence[int], sums: Sequence[float], products: Sequence[float]) -> Self:
        """Return the moments of lists; of the products the upper triangle, row by row."""
        matrix = np.zeros((len(sums), len(sums)))
        matrix[np.triu_indices(len(sums))] = products
        return cls(
            clusters=(clusters[0], clusters[1]),
            sums=np.array(sums, dtype=np.float64),
            products=matrix + np.triu(matrix, 1).T,
        )


@dataclass(frozen=True, kw_only=True)
class EarningMoments:
    """What happened before and after, by level; without users where events are not kept.

    `conversions`, and those without a known offer (`unpriced`), by side.
    """

    levels: Mapping[Level, Moments]
    conversions: tuple[int, int]
    unpriced: tuple[int, int]

    @property
    def trials(self) -> tuple[int, int]:
        """Views or impressions by side."""
        sums = self.levels[Level.DAY].sums
        return round(float(sums[0])), round(float(sums[_MEASURES]))

    @property
    def clustering(self) -> Clustering:
        """What intervals add up."""
        return Clustering.USERS_AND_DAYS if Level.USER in self.levels else Clustering.DAYS

    @property
    def users(self) -> tuple[int, int] | None:
        """Users who viewed (or were reached), by side; None where events are not kept."""
        return self.levels[Level.USER].clusters if Level.USER in self.levels else None


@dataclass(frozen=True, kw_only=True)
class Figure:
    """A figure with its 90 % interval, None where that cannot be said."""

    value: float
    interval: Interval | None = None


def told(figure: Figure | None) -> Figure | None:
    """Return an estimate as it may be told: with its interval, or not at all."""
    return None if figure is None or figure.interval is None else figure


@dataclass(frozen=True, kw_only=True)
class BeforeAfter:
    """A mean per trial after and before, its change, and that over before; None where not to be said.

    The means were counted, and are there without an interval too; the changes never are.
    """

    observed: Figure | None
    previous: Figure | None
    change: Figure | None
    effect: Figure | None


@dataclass(frozen=True, kw_only=True)
class Worth:
    """What was earned per view or impression; None where revenue, and for profit the margin, is unknown.

    `gross_margin_rate` is as of the recommendation (of an A/B test: the variant's as of its end). The profits
    predicted are of the offer, and of the previous one; None for all but offers. The trials are the views or
    impressions that means are over; None for what was kept before they were.
    """

    currency_code: str
    gross_margin_rate: float | None
    clustering: Clustering
    observed_users: int | None
    previous_users: int | None
    profit: BeforeAfter | None
    revenue: BeforeAfter | None
    predicted_profit: float | None = None
    previous_predicted_profit: float | None = None
    observed_trials: int | None = None
    previous_trials: int | None = None


def measure_worth(
    moments: EarningMoments,
    *,
    margins: tuple[float | None, float | None],
    currency_code: str,
) -> Worth:
    """Return what was earned; `margins` before and after."""
    has_revenue = _has_revenue(moments)
    before, after = margins
    profit = None
    if has_revenue and before is not None and after is not None and not any(moments.unpriced):
        profit = _compare(moments, before=(before, -1.0), after=(after, -1.0))
    users = moments.users
    return Worth(
        currency_code=currency_code,
        gross_margin_rate=after,
        clustering=moments.clustering,
        observed_users=None if users is None else users[1],
        previous_users=None if users is None else users[0],
        profit=profit,
        revenue=_compare(moments, before=(1.0, 0.0), after=(1.0, 0.0)) if has_revenue else None,
        observed_trials=moments.trials[1],
        previous_trials=moments.trials[0],
    )


def _has_revenue(moments: EarningMoments) -> bool:
    """Return whether revenue is known: conversions that brought nothing at all are of unknown revenue."""
    revenue = moments.levels[Level.DAY].sums[[1, 1 + _MEASURES]].tolist()
    return any(revenue) and all(
        brought or not count for brought, count in zip(revenue, moments.conversions, strict=True)
    )


def _compare(
    moments: EarningMoments, *, before: tuple[float, float], after: tuple[float, float]
) -> BeforeAfter:
    """Compare means per trial; a side's pair weighs its revenue and its redeemed offers."""
    sums = moments.levels[Level.DAY].sums
    means, influence = np.full(_SIDES, np.nan), np.zeros((_SIDES, _SIDES * _MEASURES))
    for side, weights in enumerate((before, after)):
        place = side * _MEASURES
        if trials := float(sums[place]):
            means[side] = sums[place + 1 : place + _MEASURES] @ np.array(weights) / trials
            influence[side, place : place + _MEASURES] = np.array([-means[side], *weights]) / trials
    spread = _Spread(moments, influence)
    sides = [_figure(float(means[side]), spread, side) for side in range(_SIDES)]
    previous, observed = sides
    if previous is None or observed is None:
        return BeforeAfter(observed=observed, previous=previous, change=None, effect=None)
    return BeforeAfter(
        observed=observed,
        previous=previous,
        change=_change(observed.value - previous.value, spread),
        effect=_effect(observed.value, previous.value, spread),
    )


class _Spread:
    """Variances of means and of their difference."""

    def __init__(self, moments: EarningMoments, influence: FloatArray) -> None:
        self._moments = moments
        self._covariances = {
            level: _covariance(of_level, influence) for level, of_level in moments.levels.items()
        }

    def variance(self, contrast: FloatArray) -> float:
        """Return the variance of a combination (2) of the means."""
        parts = {  # rounding may take what is 0 below it
            level: max(float(contrast @ covariance @ contrast), 0.0)
            for level, covariance in self._covariances.items()
        }
        by_day = parts[Level.DAY]
        if Level.USER not in parts:
            return by_day
        both = by_day + parts[Level.USER] - parts[Level.USER_DAY]
        return max(both, min(by_day, parts[Level.USER]))

    def quantile(self, *sides: int) -> float | None:
        """Return Student's t, by one less than the fewest clusters; None where the sides say too little."""
        kinds = [
            self._moments.levels[level] for level in (Level.DAY, Level.USER) if level in self._moments.levels
        ]
        fewest = min(kind.clusters[side] for kind in kinds for side in sides)
        conversions = min(self._moments.conversions[side] for side in sides)
        if fewest < _FEWEST or conversions < FEWEST_CONVERSIONS:
            return None
        return float(stdtrit(fewest - 1.0, (1.0 + INTERVAL_LEVEL) / 2.0))


def _covariance(moments: Moments, influence: FloatArray) -> FloatArray:
    """Return the covariance of both means by one way to cluster, corrected for the number of clusters."""
    correction = np.sqrt([count / max(count - 1, 1) for count in moments.clusters])
    return np.asarray((influence @ moments.products @ influence.T) * np.outer(correction, correction))


def _figure(mean: float, spread: _Spread, side: int) -> Figure | None:
    if math.isnan(mean):
        return None
    return _with_interval(mean, spread, np.eye(_SIDES)[side], spread.quantile(side))


def _change(change: float, spread: _Spread) -> Figure | None:
    return told(_with_interval(change, spread, np.array([-1.0, 1.0]), spread.quantile(0, 1)))


def _with_interval(value: float, spread: _Spread, contrast: FloatArray, quantile: float | None) -> Figure:
    if quantile is None:
        return Figure(value=value)
    half = quantile * math.sqrt(spread.variance(contrast))
    return Figure(value=value, interval=Interval(lower=value - half, upper=value + half))


def _effect(observed: float, previous: float, spread: _Spread) -> Figure | None:
    """Return the relative change; None where nothing, or hardly anything, was earned before.

    Fieller's interval holds the ratios q with (observed - q previous)^2 <= t^2 var(observed - q previous);
    it is bounded where previous is surely above 0, and elsewhere no ratio is told.
    """
    if previous <= 0.0:
        return None
    effect, quantile = observed / previous - 1.0, spread.quantile(0, 1)
    if quantile is None:
        return None
    after, before = spread.variance(np.array([0.0, 1.0])), spread.variance(np.array([1.0, 0.0]))
    shared = (after + before - spread.variance(np.array([-1.0, 1.0]))) / 2.0
    square = quantile**2
    leading = previous**2 - square * before
    if leading <= 0.0:
        return None
    middle = observed * previous - square * shared
    root = math.sqrt(max(middle**2 - leading * (observed**2 - square * after), 0.0))
    return Figure(
        value=effect,
        interval=Interval(lower=(middle - root) / leading - 1.0, upper=(middle + root) / leading - 1.0),
    )
