"""What held-out rows say of anchored predictions: the market's drift, and the lean of audiences."""

from datetime import date, timedelta

import numpy as np
import pytest

from services.optimizer.domain.features import Float32Array, FloatArray, daily_table, fit_encoding
from services.optimizer.domain.response.offer_cells import CellRow, offer_cells
from services.optimizer.domain.response.response import TypeResponse, logistic, logit
from services.optimizer.domain.response.support import survey_support
from services.optimizer.training.evaluation import (
    AnchoredModel,
    AnchoredPredictions,
    audience_lean,
    measure_drift,
    predict_anchored,
)
from services.optimizer.training.forest import fit_forest
from services.optimizer.training.response_fit import fit_response
from tests.unit.optimizer.synthetic import build_world

UNIT = 1_000_000
DAY = date(2026, 3, 2)


def predictions(rows: np.ndarray, rates: np.ndarray) -> AnchoredPredictions:
    return AnchoredPredictions(rows=rows, rates=rates, daily_views=np.full(len(rows), 10.0))


def test_the_drift_is_what_the_logits_lack() -> None:
    """Outcomes that are exactly those of logits 0.3 higher than predicted."""
    rates = np.array([0.1, 0.3, 0.6])
    views = 1_000_000
    outcomes = np.rint(views * logistic(logit(rates) + 0.3)).astype(int)
    table = daily_table([("a", DAY, 5 * UNIT, views, views, int(each), 1, 1) for each in outcomes])
    assert measure_drift(table, predictions(np.arange(3), rates)) == pytest.approx(0.3, abs=1e-5)


@pytest.mark.parametrize(("predicted", "level"), [(0.01, 0.9), (0.001, 0.7), (0.3, -0.8), (0.98, -0.9)])
@pytest.mark.parametrize("views", [1_000_000, 2_000_000_000])
def test_the_drift_is_found_far_from_even_odds(predicted: float, level: float, views: int) -> None:
    rates = np.array([predicted, predicted / 2.0])
    outcomes = np.rint(views * logistic(logit(rates) + level)).astype(int)
    table = daily_table([("a", DAY, 5 * UNIT, views, views, int(each), 1, 1) for each in outcomes])
    assert measure_drift(table, predictions(np.arange(2), rates)) == pytest.approx(level, abs=3e-3)


@pytest.mark.parametrize(
    ("predicted", "rate", "drift"), [(0.05, 0.55, 1.0), (0.01, 0.5, 1.0), (0.9, 0.01, -1.0)]
)
def test_a_drift_beyond_the_bound_keeps_its_sign(predicted: float, rate: float, drift: float) -> None:
    """Newton's method from 0 stepped so far past the first that it came back beyond the other bound."""
    views = 10_000
    table = daily_table([("a", DAY, 5 * UNIT, views, views, int(views * rate), 1, 1)])
    assert measure_drift(table, predictions(np.arange(1), np.array([predicted]))) == pytest.approx(drift)


def test_without_predictions_nothing_drifted_and_no_drift_is_without_bound() -> None:
    table = daily_table([("a", DAY, 5 * UNIT, 50, 50, 50, 1, 1)])
    assert measure_drift(table, predictions(np.zeros(0, dtype=np.int64), np.zeros(0))) == 0.0
    assert measure_drift(table, predictions(np.arange(1), np.array([0.1]))) == 1.0


def test_an_offers_audience_leans_from_its_campaigns() -> None:
    """By hand: campaign a is viewed by 60 of effect 1 and 60 of effect -1; its offer of 5 by 45 and 15."""
    table = daily_table(
        [
            ("a", DAY, 5 * UNIT, 90, 60, 6, 1, 1),
            ("a", DAY, 9 * UNIT, 90, 60, 6, 1, 1),
            ("a", DAY, 11 * UNIT, 90, 60, 6, 1, 1),
            ("b", DAY, 5 * UNIT, 90, 60, 6, 1, 1),
        ]
    )
    rows: list[CellRow] = [
        ("a", DAY, 5 * UNIT, 1, None, 45, 0, 5 * UNIT),
        ("a", DAY, 5 * UNIT, 2, None, 15, 0, 5 * UNIT),
        ("a", DAY, 9 * UNIT, 1, None, 15, 0, 9 * UNIT),
        ("a", DAY, 9 * UNIT, 2, None, 45, 0, 9 * UNIT),
    ]
    cells = offer_cells(rows, table).select(np.array([True] * 4 + [False] * 2))
    lean = audience_lean(cells, table, {1: 1.0, 2: -1.0})
    assert lean.tolist() == [0.5, -0.5, 0.0, 0.0]


def test_rows_without_such_a_past_are_left_out() -> None:
    table = build_world(campaigns=6, days=30).table
    encoding = fit_encoding(table)
    forest = fit_forest(
        np.zeros((len(table), 7), dtype=np.float32),
        table.conversion_rate,
        table.views.astype(np.float64),
        on_progress=lambda _share: None,
        trees=10,
    )
    model = AnchoredModel(
        predictor=forest,
        encoding=encoding,
        response=fit_response(offer_cells((), table), survey_support(table)).types,
        lean=np.zeros(len(table)),
    )
    held_out = table.day >= table.day.max() - 4
    near = predict_anchored(table, held_out, model)
    ahead = predict_anchored(table, held_out, model, unseen_days=7)
    assert len(near.rows) == len(ahead.rows) == int(held_out.sum())
    assert near.daily_views == pytest.approx(150.0, rel=0.1)
    assert len(predict_anchored(table, held_out, model, unseen_days=42).rows) == 0


class WeekdayForest:
    """A forest whose logits are the weekday's number."""

    def predict(self, features: Float32Array) -> FloatArray:
        return logistic(features[:, 1].astype(np.float64))


def test_levels_over_the_week_are_means_over_the_weekdays_seen() -> None:
    """By hand: seen on Mondays and Thursdays (0 and 3), whichever day the row is of."""
    days = [DAY + timedelta(days=ahead) for ahead in (0, 3, 7, 10, 15)]
    table = daily_table([("a", day, 5 * UNIT, 90, 60, 6, 1, 1) for day in days])
    model = AnchoredModel(
        predictor=WeekdayForest(),
        encoding=fit_encoding(table),
        response={1: TypeResponse(coefficients=np.zeros(3), covariance=np.zeros((3, 3)))},
        lean=np.zeros(len(table)),
    )
    held_out = table.day == days[-1].toordinal()  # a Tuesday
    assert logit(predict_anchored(table, held_out, model).rates) == pytest.approx([1.0])
    assert logit(predict_anchored(table, held_out, model, over_week=True).rates) == pytest.approx([1.5])
