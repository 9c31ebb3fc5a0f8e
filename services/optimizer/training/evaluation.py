"""Scores on held-out rows: the forest, the anchored response, the baselines beside them."""

from collections.abc import Mapping
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
from services.optimizer.domain.response.level import solve_level
from services.optimizer.domain.response.offer_cells import OfferCells
from services.optimizer.domain.response.response import ResponseModel, logistic, logit

_EVALUATED_ROWS: Final = 5_000
_SEED: Final = 7
_LARGEST_DRIFT: Final = 1.0
_WEEK: Final = 7


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
    """What recommendations would have said on some held-out rows, as parallel arrays.

    `rows` are positions in the table, `rates` the predictions, and `daily_views` the size of the day that an
    interval would have been made for: the campaign's mean views of an offer and day lately.
    """

    rows: IntArray
    rates: FloatArray
    daily_views: FloatArray


def measure_drift(table: DailyTable, predictions: AnchoredPredictions) -> float:
    """Return what the logits of predictions lack, over all held-out rows: the market since the fit.

    The logistic regression of the outcomes on a constant beside the predictions, within +-`_LARGEST_DRIFT`;
    0 where there are none.
    """
    if len(predictions.rows) == 0:
        return 0.0
    views = table.views[predictions.rows].astype(np.float64)
    conversions = np.minimum(table.conversions[predictions.rows], views)
    return solve_level(
        logit(predictions.rates), views, float(conversions.sum()), within=(-_LARGEST_DRIFT, _LARGEST_DRIFT)
    )


@dataclass(frozen=True, kw_only=True)
class AnchoredModel:
    """What predicts as recommendations do: a forest for the level, a response for the shape."""

    predictor: Predictor
    encoding: Encoding
    response: ResponseModel
    lean: FloatArray
    """What the audience of each row's offer adds to the logit, beside the campaign's whole audience."""


def predict_anchored(
    table: DailyTable,
    held_out: BoolArray,
    model: AnchoredModel,
    *,
    unseen_days: int = 0,
    over_week: bool = False,
) -> AnchoredPredictions:
    """Return the anchored response's rates at the offers sent, for held-out rows of identified types.

    As in serving, a row's curve is anchored at the offers that its campaign sent in the `HISTORY_DAYS` days
    before the row's day, weighted by their views; with `unseen_days` these days end so many days earlier, as
    for a campaign that has paused since. The level is the forest's of the row's own day; with `over_week`, as
    in serving, its mean over those days of a week on which the campaign was seen. Rows without such a past
    are left out, as are rows over a fixed number (a seeded sample is kept).
    """
    past = _past_of(table, unseen_days)
    types = np.array(sorted(model.response), dtype=np.int64)
    rows = np.flatnonzero(held_out & (past.end > past.start) & np.isin(table.campaign_type, types))
    if len(rows) > _EVALUATED_ROWS:
        rows = np.sort(np.random.default_rng(_SEED).choice(rows, _EVALUATED_ROWS, replace=False))
    target, seen = past.pairs(rows)
    taught = table.is_usable[seen]
    target, seen = target[taught], seen[taught]
    history = past.history(table, rows)
    ahead = np.zeros((len(rows), _WEEK), dtype=np.bool_)
    if over_week:
        ahead[target, (table.day[seen] - table.day[rows][target]) % _WEEK] = True
    else:
        ahead[:, 0] = True
    effect = _response_effect(table, model.response)
    level = _levels(table, model, rows=rows, target=target, seen=seen, history=history, ahead=ahead)
    gap = level - effect[seen] - model.lean[seen]
    weights = table.views[seen].astype(np.float64)
    views = np.bincount(target, weights=weights, minlength=len(rows))
    mean_gap = np.bincount(target, weights=weights * gap, minlength=len(rows)) / np.maximum(views, 1.0)
    offers_and_days = np.bincount(target, minlength=len(rows))
    anchored = views > 0
    return AnchoredPredictions(
        rows=rows[anchored],
        rates=logistic(mean_gap + effect[rows])[anchored],
        daily_views=views[anchored] / offers_and_days[anchored],
    )


def _levels(
    table: DailyTable,
    model: AnchoredModel,
    *,
    rows: IntArray,
    target: IntArray,
    seen: IntArray,
    history: History,
    ahead: BoolArray,
) -> FloatArray:
    """Return the forest's logits for `rows[target]` at the offers of `seen`: means over the days `ahead`.

    `ahead` (rows, 7) tells which days from a row's own on count. Every row, offer and day is predicted once.
    """
    asked, place = np.unique(
        np.column_stack((target, table.offer_micros[seen])).reshape(-1, 2), axis=0, return_inverse=True
    )
    pair, days = np.nonzero(ahead[asked[:, 0]])
    of_row = asked[pair, 0]
    if len(pair) == 0:
        return np.zeros(0)
    features = feature_matrix(
        offer_micros=asked[pair, 1],
        day=table.day[rows][of_row] + days,
        campaign_type=table.campaign_type[rows][of_row],
        merchant_id=table.merchant_id[rows][of_row],
        history=History(impressions=history.impressions[of_row], conversions=history.conversions[of_row]),
        encoding=model.encoding,
    )
    logits = np.bincount(pair, weights=logit(model.predictor.predict(features)), minlength=len(asked))
    return np.asarray((logits / np.bincount(pair, minlength=len(asked)))[place.reshape(-1)])


def audience_lean(cells: OfferCells, table: DailyTable, segment_effects: Mapping[int, float]) -> FloatArray:
    """Return what the audience of each row's offer adds to the logit, beside its campaign's whole audience.

    Audiences are those of `cells`; an offer that has none there counts as sent to the whole audience.
    """
    effect = np.array([segment_effects.get(int(kind), 0.0) for kind in cells.segment_set_id])
    pairs, inverse = np.unique(
        np.concatenate(
            [
                np.column_stack((cells.campaign, cells.offer_micros)),
                np.column_stack((table.campaign, table.offer_micros)),
            ]
        ),
        axis=0,
        return_inverse=True,
    )
    of_cells, of_rows = np.split(inverse.reshape(-1), [len(cells)])

    def mean_effect(places: IntArray, width: int) -> FloatArray:
        views = np.bincount(places, weights=cells.views, minlength=width)
        total = np.bincount(places, weights=cells.views * effect, minlength=width)
        return np.where(views > 0, total / np.maximum(views, 1.0), np.nan)

    at_offer = mean_effect(of_cells, len(pairs))[of_rows]
    of_campaign = mean_effect(cells.campaign, len(table.campaign_ids))[table.campaign]
    return np.nan_to_num(at_offer - of_campaign, nan=0.0)


def _response_effect(table: DailyTable, response: ResponseModel) -> FloatArray:
    """Return what each row's offer adds to the logit; 0 for types without a response."""
    offers = np.maximum(table.offer_micros, 0) / MICROS_PER_UNIT
    effect = np.zeros(len(table))
    for campaign_type, of_type in response.items():
        chosen = table.campaign_type == campaign_type
        effect[chosen] = of_type.effect(offers[chosen])
    return effect


@dataclass(frozen=True, kw_only=True)
class _Past:
    """An order of the rows and, per row, the range [start, end) of it that holds the campaign's past days."""

    order: IntArray
    start: IntArray
    end: IntArray

    def pairs(self, rows: IntArray) -> tuple[IntArray, IntArray]:
        """Return, for every past row of every one of `rows`, the place in `rows` and the past row."""
        counts = self.end[rows] - self.start[rows]
        target = np.repeat(np.arange(len(rows)), counts)
        offsets = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        return target, self.order[np.repeat(self.start[rows], counts) + offsets]

    def history(self, table: DailyTable, rows: IntArray) -> History:
        """Return what the campaigns of `rows` did in their past days."""

        def total(values: IntArray) -> IntArray:
            running = np.concatenate(([0], np.cumsum(values[self.order])))
            return np.asarray(running[self.end[rows]] - running[self.start[rows]])

        return History(impressions=total(table.impressions), conversions=total(table.conversions))


def _past_of(table: DailyTable, unseen_days: int) -> _Past:
    order = np.lexsort((table.day, table.campaign))
    earliest = int(table.day.min()) - HISTORY_DAYS - unseen_days
    width = int(table.day.max()) - earliest + 1
    key = table.campaign * width + (table.day - earliest)
    return _Past(
        order=order,
        start=np.searchsorted(key[order], key - HISTORY_DAYS - unseen_days, side="left"),
        end=np.searchsorted(key[order], key - unseen_days, side="left"),
    )
