"""Scores on held-out rows: the forest, the anchored response, the baselines beside them."""

from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np

from services.optimizer.domain.features import (
    HISTORY_DAYS,
    MICROS_PER_UNIT,
    BoolArray,
    DailyTable,
    Encoding,
    Float32Array,
    FloatArray,
    History,
    IntArray,
    feature_matrix,
)
from services.optimizer.domain.response import ResponseModel, logistic, logit, saturating_terms

_EVALUATED_ROWS: Final = 5_000
_SEED: Final = 7


class Predictor(Protocol):
    """What predicts rates (rows,) from features (rows, 7): the forest, or its export."""

    def predict(self, features: Float32Array) -> FloatArray:
        """Return the predicted rates."""
        ...


@dataclass(frozen=True, kw_only=True)
class Baselines:
    """Rates that need no model, learned from the fitted rows."""

    overall: float
    by_type: dict[int, float]

    def predict_overall(self, table: DailyTable) -> FloatArray:
        """Return the overall rate for every row."""
        return np.full(len(table), self.overall)

    def predict_by_type(self, table: DailyTable) -> FloatArray:
        """Return the rate of every row's campaign type; the overall rate for a type not seen before."""
        return np.array([self.by_type.get(int(kind), self.overall) for kind in table.campaign_type])


def fit_baselines(table: DailyTable) -> Baselines:
    """Return the exposure-weighted mean conversion rates of the (usable) rows."""
    weighted = table.conversion_rate * table.views
    types, inverse = np.unique(table.campaign_type, return_inverse=True)
    rates = np.bincount(inverse, weights=weighted) / np.bincount(inverse, weights=table.views)
    return Baselines(
        overall=float(weighted.sum() / table.views.sum()),
        by_type={int(kind): float(rate) for kind, rate in zip(types, rates, strict=True)},
    )


@dataclass(frozen=True, kw_only=True)
class AnchoredPredictions:
    """What recommendations would have said on some held-out rows: positions in the table, and rates."""

    rows: IntArray
    rates: FloatArray


def predict_anchored(
    table: DailyTable,
    history: History,
    held_out: BoolArray,
    *,
    predictor: Predictor,
    encoding: Encoding,
    response: ResponseModel,
) -> AnchoredPredictions:
    """Return the anchored response's rates at the offers sent, for held-out rows of identified types.

    As in serving, a row's curve is anchored at the offers that its campaign sent in the `HISTORY_DAYS` days
    before the row's day, weighted by their views; rows without such a past are left out, as are rows over
    a fixed number (a seeded sample is kept).
    """
    order, start, end = _past_ranges(table)
    wanted = (
        held_out & (end > start) & np.isin(table.campaign_type, np.array(sorted(response), dtype=np.int64))
    )
    rows = np.flatnonzero(wanted)
    if len(rows) > _EVALUATED_ROWS:
        rows = np.sort(np.random.default_rng(_SEED).choice(rows, _EVALUATED_ROWS, replace=False))
    counts = end[rows] - start[rows]
    target = np.repeat(np.arange(len(rows)), counts)
    offsets = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    past = order[np.repeat(start[rows], counts) + offsets]
    taught = table.is_usable[past]
    target, past = target[taught], past[taught]
    features = feature_matrix(
        offer_micros=table.offer_micros[past],
        day=table.day[rows][target],
        campaign_type=table.campaign_type[rows][target],
        merchant_id=table.merchant_id[rows][target],
        history=History(
            impressions=history.impressions[rows][target], conversions=history.conversions[rows][target]
        ),
        encoding=encoding,
    )
    effect = _response_effect(table, response)
    gap = logit(predictor.predict(features)) - effect[past]
    weights = table.views[past].astype(np.float64)
    seen = np.bincount(target, weights=weights, minlength=len(rows))
    level = np.bincount(target, weights=weights * gap, minlength=len(rows)) / np.maximum(seen, 1.0)
    anchored = seen > 0
    return AnchoredPredictions(rows=rows[anchored], rates=logistic(level + effect[rows])[anchored])


def _response_effect(table: DailyTable, response: ResponseModel) -> FloatArray:
    """Return what each row's offer adds to the logit; 0 for types without a response."""
    terms = saturating_terms(np.maximum(table.offer_micros, 0) / MICROS_PER_UNIT)
    effect = np.zeros(len(table))
    for campaign_type, of_type in response.items():
        chosen = table.campaign_type == campaign_type
        effect[chosen] = terms[chosen] @ of_type.coefficients
    return effect


def _past_ranges(table: DailyTable) -> tuple[IntArray, IntArray, IntArray]:
    """Return an order of the rows and, per row, the range of it that holds the campaign's past days."""
    order = np.lexsort((table.day, table.campaign))
    earliest = int(table.day.min()) - HISTORY_DAYS
    width = int(table.day.max()) - earliest + 1
    key = table.campaign * width + (table.day - earliest)
    return (
        order,
        np.searchsorted(key[order], key - HISTORY_DAYS, side="left"),
        np.searchsorted(key[order], key, side="left"),
    )
