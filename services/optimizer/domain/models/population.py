"""How far what campaigns do has moved from what a model was measured on: the population stability index.

    PSI = sum over bins of (share now - share then) * ln(share now / share then)

(Siddiqi 2006, "Credit Risk Scorecards", chapter 12: above 0.1 is a moderate move, above 0.25 a large one.)
Chance alone moves it: under no change PSI / (1/n + 1/m) is about chi-squared with one degree of freedom less
than there are bins (Yurdakul and Naranjo 2020, "Statistical properties of the population stability index",
theorem 1). What counts as n and m here are campaigns and not rows, since a campaign's days are alike, and of
unequal campaigns Kish's effective number: a bin's share moves with the few that are large.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import numpy as np
from scipy.special import chdtri

from services.optimizer.domain.clusters import effective_clusters
from services.optimizer.domain.features import FEATURE_NAMES, Float32Array, FloatArray, IntArray

MODERATE_MOVE: Final = 0.1
LARGE_MOVE: Final = 0.25
SIGNIFICANCE: Final = 0.001
"""How often chance may pass for a move, per feature."""
PREDICTION: Final = "prediction"
CALENDAR_FEATURES: Final = frozenset({"day_of_week", "month"})
"""They move because time passes; they are reported, and decide nothing."""
_MOST_VALUES: Final = 20
"""A feature with at most so many values has a bin for each."""
_BINS: Final = 10
_SMOOTHING: Final = 0.5


class Move(StrEnum):
    """How far a feature has moved; `stable` also where chance explains it."""

    STABLE = "stable"
    MODERATE = "moderate"
    LARGE = "large"


@dataclass(frozen=True, kw_only=True)
class Histogram:
    """Shares by exposure of a feature's values in the bins (-inf, edge 1], (edge 1, edge 2], … (…, inf)."""

    edges: tuple[float, ...]
    shares: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class Population:
    """How features and predictions were spread, over how many campaigns (Kish's effective number)."""

    campaigns: float
    histograms: Mapping[str, Histogram]


@dataclass(frozen=True, kw_only=True)
class Stability:
    """How far one feature has moved; `limit` is the index that chance passes once in a thousand times."""

    name: str
    index: float
    limit: float
    move: Move

    @property
    def bound(self) -> float:
        """The index above which the move is large."""
        return max(LARGE_MOVE, self.limit)

    @property
    def decides(self) -> bool:
        """Whether a large move calls for another training."""
        return self.name not in CALENDAR_FEATURES


@dataclass(frozen=True, kw_only=True)
class Exposed:
    """Rows of features (rows, 7) with their predicted rates, views, and campaigns (positions)."""

    features: Float32Array
    predicted: FloatArray
    views: FloatArray
    campaign: IntArray

    def columns(self) -> dict[str, FloatArray]:
        """Return the features and the prediction by name."""
        named = {name: self.features[:, index].astype(np.float64) for index, name in enumerate(FEATURE_NAMES)}
        return {**named, PREDICTION: self.predicted}


def describe_population(rows: Exposed) -> Population:
    """Return how the rows that a model was measured on are spread."""
    histograms = {}
    for name, values in rows.columns().items():
        edges = _edges(values, rows.views)
        shares = _shares(values, rows.views, edges)
        histograms[name] = Histogram(
            edges=tuple(edges.tolist()), shares=tuple(float(share) for share in shares)
        )
    return Population(campaigns=effective_clusters(rows.campaign, rows.views), histograms=histograms)


def measure_stability(then: Population, now: Exposed) -> tuple[Stability, ...]:
    """Return how far each feature and the prediction have moved, in the order of the features."""
    campaigns = effective_clusters(now.campaign, now.views)
    columns = now.columns()
    scale = 1.0 / then.campaigns + 1.0 / campaigns
    measured = []
    for name in (*FEATURE_NAMES, PREDICTION):
        histogram = then.histograms[name]
        shares = _shares(columns[name], now.views, np.array(histogram.edges))
        before = _smooth(np.array(histogram.shares), then.campaigns)
        after = _smooth(shares, campaigns)
        index = float(np.sum((after - before) * np.log(after / before)))
        freedom = len(shares) - 1
        limit = float(chdtri(freedom, SIGNIFICANCE)) * scale if freedom > 0 else 0.0
        measured.append(Stability(name=name, index=index, limit=limit, move=_judge(index, limit)))
    return tuple(measured)


def _judge(index: float, limit: float) -> Move:
    if index <= max(MODERATE_MOVE, limit):
        return Move.STABLE
    return Move.LARGE if index > LARGE_MOVE else Move.MODERATE


def _smooth(shares: FloatArray, campaigns: float) -> FloatArray:
    """Return shares as if half a campaign more had been seen in every bin: an empty one is no proof."""
    return (shares * campaigns + _SMOOTHING) / (campaigns + _SMOOTHING * len(shares))


def _edges(values: FloatArray, views: FloatArray) -> FloatArray:
    """Return inner edges: halfway between values that are few, or else at tenths of the exposure."""
    distinct = np.unique(values)
    if len(distinct) <= _MOST_VALUES:
        return (distinct[:-1] + distinct[1:]) / 2.0
    order = np.argsort(values, kind="stable")
    below = np.cumsum(views[order]) / views.sum()
    wanted = np.arange(1, _BINS) / _BINS
    return np.unique(values[order][np.searchsorted(below, wanted)])


def _shares(values: FloatArray, views: FloatArray, edges: FloatArray) -> FloatArray:
    counts = np.bincount(np.searchsorted(edges, values), weights=views, minlength=len(edges) + 1)
    return np.asarray(counts / counts.sum())
