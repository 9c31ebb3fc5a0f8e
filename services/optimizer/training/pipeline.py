"""A training from rows to verdict, without a database and without a repository."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from services.optimizer.domain.features import (
    DailyTable,
    Encoding,
    Float32Array,
    FloatArray,
    History,
    fit_encoding,
    table_features,
    trailing_history,
)
from services.optimizer.domain.metrics import (
    Conformal,
    calibrate,
    mean_absolute_error,
    noise_ceiling,
    r2_score,
)
from services.optimizer.domain.model_version import Importance, Scores, TrainingData
from services.optimizer.domain.promotion import HeldOut, LiveComparison, Verdict, decide_promotion
from services.optimizer.domain.serving_parameters import ServingParameters
from services.optimizer.domain.support import survey_support
from services.optimizer.domain.training_window import Split, TrainingWindow, split_by_time
from services.optimizer.training.evaluation import (
    AnchoredPredictions,
    fit_baselines,
    predict_anchored,
)
from services.optimizer.training.forest import (
    ExportedForest,
    export_forest,
    fit_forest,
    measure_importance,
    measure_parity,
)
from services.optimizer.training.response_fit import fit_response

Progress = Callable[[str, float], None]
"""Hears the stage under way and the share of the whole training that is done."""


@dataclass(frozen=True, kw_only=True)
class LiveModel:
    """The live version, to be compared with.

    `split_day` is the first day (ordinal) that it was not fitted on.
    """

    version: int
    forest: ExportedForest
    encoding: Encoding
    split_day: int


@dataclass(frozen=True, kw_only=True)
class TrainedModel:
    """What a training made, and what it is worth."""

    model: bytes
    data: TrainingData
    scores: Scores
    parity_error: float
    parameters: ServingParameters
    importances: tuple[Importance, ...]
    verdict: Verdict


def train(
    table: DailyTable, window: TrainingWindow, *, live: LiveModel | None, on_progress: Progress
) -> TrainedModel:
    """Fit, export, check and judge a version on the rows of `window` (and the history before it).

    Raises:
        FailedPreconditionError: DATA_INSUFFICIENT.
    """
    on_progress("build_features", 0.05)
    split = split_by_time(table, window)
    fitted = table.select(split.fitted)
    history = trailing_history(table)
    encoding = fit_encoding(fitted)
    features = table_features(table, history, encoding)
    forest = fit_forest(
        features[split.fitted],
        fitted.conversion_rate,
        fitted.views.astype(np.float64),
        on_progress=lambda share: on_progress("fit_forest", 0.1 + 0.5 * share),
    )
    on_progress("fit_response", 0.6)
    support = survey_support(fitted)
    response = fit_response(fitted, support)
    on_progress("export", 0.7)
    model = export_forest(forest)
    exported = ExportedForest(model)
    held_out = table.select(split.held_out)
    held_out_features = features[split.held_out]
    parity_error = measure_parity(forest, exported, held_out_features)
    on_progress("evaluate", 0.8)
    anchored = predict_anchored(
        table, history, split.held_out, predictor=forest, encoding=encoding, response=response
    )
    predicted = exported.predict(held_out_features)
    comparison = _compare_with_live(live, table, history, split)
    by_type = fit_baselines(fitted).predict_by_type(held_out)
    rows = HeldOut(observed=held_out.conversion_rate, day=held_out.day, views=held_out.views)
    return TrainedModel(
        model=model,
        data=_describe_data(fitted, held_out, window, split),
        scores=_score(
            fitted=fitted,
            held_out=held_out,
            predicted=predicted,
            table=table,
            anchored=anchored,
            live=comparison,
        ),
        parity_error=parity_error,
        parameters=ServingParameters(
            encoding=encoding,
            response=response,
            support=support,
            conformal=_calibrate(table, held_out, predicted, anchored),
        ),
        importances=measure_importance(
            forest, held_out_features, held_out.conversion_rate, held_out.views.astype(np.float64)
        ),
        verdict=decide_promotion(
            rows, predicted=predicted, baseline=by_type, parity_error=parity_error, live=comparison
        ),
    )


def _compare_with_live(
    live: LiveModel | None, table: DailyTable, history: History, split: Split
) -> LiveComparison | None:
    """Return the live version's predictions on the held-out rows that it was not fitted on either."""
    if live is None:
        return None
    held_out = np.flatnonzero(split.held_out)
    rows = np.flatnonzero(table.day[held_out] >= live.split_day)
    features: Float32Array = table_features(table, history, live.encoding)[held_out[rows]]
    predicted = live.forest.predict(features) if len(rows) else np.zeros(0)
    return LiveComparison(version=live.version, rows=rows, predicted=predicted)


def _calibrate(
    table: DailyTable, held_out: DailyTable, predicted: FloatArray, anchored: AnchoredPredictions
) -> Conformal:
    """Calibrate on what recommendations would have said; on the forest where they would have said little."""
    if len(anchored.rows) * 2 < len(held_out):
        return calibrate(held_out.conversion_rate, predicted, held_out.views)
    return calibrate(table.conversion_rate[anchored.rows], anchored.rates, table.views[anchored.rows])


def _describe_data(
    fitted: DailyTable, held_out: DailyTable, window: TrainingWindow, split: Split
) -> TrainingData:
    return TrainingData(
        first_day=window.first_day,
        split_day=split.split_day,
        end_day=window.end_day,
        fitted_rows=len(fitted),
        held_out_rows=len(held_out),
        views=int(fitted.views.sum() + held_out.views.sum()),
        conversions=int(fitted.conversions.sum() + held_out.conversions.sum()),
    )


def _score(
    *,
    fitted: DailyTable,
    held_out: DailyTable,
    predicted: FloatArray,
    table: DailyTable,
    anchored: AnchoredPredictions,
    live: LiveComparison | None,
) -> Scores:
    observed, weights = held_out.conversion_rate, held_out.views.astype(np.float64)
    baselines = fit_baselines(fitted)
    overall, by_type = baselines.predict_overall(held_out), baselines.predict_by_type(held_out)
    live_score = None
    if live is not None and len(live.rows):
        live_score = r2_score(observed[live.rows], live.predicted, weights[live.rows])
    return Scores(
        r2_score=r2_score(observed, predicted, weights),
        mae=mean_absolute_error(observed, predicted, weights),
        response_r2_score=_score_anchored(table, anchored),
        global_mean_r2_score=r2_score(observed, overall, weights),
        global_mean_mae=mean_absolute_error(observed, overall, weights),
        type_mean_r2_score=r2_score(observed, by_type, weights),
        type_mean_mae=mean_absolute_error(observed, by_type, weights),
        noise_ceiling=noise_ceiling(observed, predicted, held_out.views),
        live_r2_score=live_score,
    )


def _score_anchored(table: DailyTable, anchored: AnchoredPredictions) -> float | None:
    if len(anchored.rows) == 0:
        return None
    observed = table.conversion_rate[anchored.rows]
    return r2_score(observed, anchored.rates, table.views[anchored.rows].astype(np.float64))
