"""A training from rows to verdict, without a database and without a repository."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np

from services.optimizer.domain.features import (
    MERCHANT_COLUMN,
    DailyTable,
    Encoding,
    Float32Array,
    FloatArray,
    History,
    cross_fit_merchants,
    fit_encoding,
    table_features,
    trailing_history,
)
from services.optimizer.domain.models.promotion import HeldOut, LiveComparison, Verdict, decide_promotion
from services.optimizer.domain.models.serving_parameters import ServingParameters
from services.optimizer.domain.models.version import Importance, Scores, TrainingData
from services.optimizer.domain.response.between_campaigns import survey_campaigns
from services.optimizer.domain.response.metrics import (
    Conformal,
    calibrate,
    mean_absolute_error,
    noise_ceiling,
    r2_score,
)
from services.optimizer.domain.response.offer_cells import (
    OfferCells,
    offer_cells,
    sample_campaigns,
    survey_drawn_offers,
)
from services.optimizer.domain.response.support import survey_support
from services.optimizer.domain.training_window import Split, TrainingWindow, split_by_time
from services.optimizer.training.backend import LOCAL, Backend
from services.optimizer.training.evaluation import (
    AnchoredModel,
    AnchoredPredictions,
    audience_lean,
    fit_baselines,
    measure_drift,
    predict_anchored,
)
from services.optimizer.training.forest import (
    LARGEST_SAMPLE,
    ExportedForest,
    export_forest,
    fit_forest,
    measure_importance,
    measure_parity,
)
from services.optimizer.training.report import HeldOutReport, report_held_out
from services.optimizer.training.response_fit import FittedResponse, fit_response

Progress = Callable[[str, float], None]
"""Hears the stage under way and the share of the whole training that is done."""
DAYS_AHEAD: Final = 7
"""How far ahead intervals are calibrated to look: an offer is made for the days to come. What the market's
level has moved since the fit is taken out of the answers and left in the calibration: it will move on."""
PAUSED_DAYS: Final = 42
"""How long campaigns are taken to have paused when the intervals of paused ones are calibrated."""
FEWEST_PAUSED_ROWS: Final = 100


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
    report: HeldOutReport


def train(
    table: DailyTable,
    window: TrainingWindow,
    *,
    live: LiveModel | None,
    on_progress: Progress,
    cells: OfferCells | None = None,
    max_samples: int = LARGEST_SAMPLE,
    backend: Backend = LOCAL,
) -> TrainedModel:
    """Fit, export, check and judge a version on the rows of `window` (and the history before it).

    `cells` are the same outcomes, or those of some campaigns, by audience; without them all of an offer's
    users are taken for alike.
    `max_samples` and `backend` are `fit_forest`'s.

    Raises:
        FailedPreconditionError: DATA_INSUFFICIENT.
    """
    on_progress("build_features", 0.05)
    split = split_by_time(table, window)
    fitted = table.select(split.fitted)
    history = trailing_history(table)
    encoding = fit_encoding(fitted)
    features = table_features(table, history, encoding)
    features[split.fitted, MERCHANT_COLUMN] = cross_fit_merchants(fitted)
    forest = fit_forest(
        features[split.fitted],
        fitted.conversion_rate,
        fitted.views.astype(np.float64),
        on_progress=lambda share: on_progress("fit_forest", 0.1 + 0.5 * share),
        max_samples=max_samples,
        backend=backend,
    )
    on_progress("fit_response", 0.6)
    cells = cells or offer_cells((), sample_campaigns(table))
    response = _fit_response(cells, fitted, split)
    on_progress("export", 0.7)
    model = export_forest(forest)
    exported = ExportedForest(model)
    held_out = table.select(split.held_out)
    held_out_features = features[split.held_out]
    parity_error = measure_parity(forest, exported, held_out_features)
    on_progress("evaluate", 0.8)
    anchored_model = AnchoredModel(
        predictor=forest,
        encoding=encoding,
        response=response.types,
        lean=audience_lean(_before(cells, split), table, response.segment_effects),
    )
    anchored = predict_anchored(table, split.held_out, anchored_model)
    predicted = exported.predict(held_out_features)
    comparison = _compare_with_live(live, table, history, split)
    baselines = fit_baselines(fitted)
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
        parameters=_survey(table, split, cells, response, anchored_model, predicted=predicted),
        importances=measure_importance(
            forest, held_out_features, held_out.conversion_rate, held_out.views.astype(np.float64)
        ),
        verdict=decide_promotion(
            _compared_rows(held_out),
            predicted=predicted,
            baseline=baselines.predict_by_type(held_out),
            parity_error=parity_error,
            live=comparison,
        ),
        report=report_held_out(
            held_out=held_out, features=held_out_features, predicted=predicted, baselines=baselines
        ),
    )


def _survey(
    table: DailyTable,
    split: Split,
    cells: OfferCells,
    response: FittedResponse,
    model: AnchoredModel,
    *,
    predicted: FloatArray,
) -> ServingParameters:
    """Return what serving has to know beside the forest, which predicts `predicted` of what is held out."""
    fitted = table.select(split.fitted)
    ahead = predict_anchored(table, split.held_out, model, unseen_days=DAYS_AHEAD, over_week=True)
    return ServingParameters(
        encoding=model.encoding,
        response=response.types,
        segment_effects=response.segment_effects,
        drawn_offers=survey_drawn_offers(_before(cells, split)),
        false_slope=response.false_slope,
        support=survey_support(fitted),
        level_drift=measure_drift(table, ahead),
        conformal=_calibrate(table, split, ahead, predicted),
        paused_conformal=_calibrate_paused(table, split, model),
        between=survey_campaigns(table.select(split.fitted | split.held_out), response.types),
    )


def _compared_rows(held_out: DailyTable) -> HeldOut:
    return HeldOut(
        observed=held_out.conversion_rate,
        campaign=held_out.campaign,
        day=held_out.day,
        views=held_out.views,
    )


def _before(cells: OfferCells, split: Split) -> OfferCells:
    """Return the cells of days that are fitted."""
    return cells.select(cells.day < split.split_day.toordinal())


def _fit_response(cells: OfferCells, fitted: DailyTable, split: Split) -> FittedResponse:
    """Fit the response on the window's fitted days."""
    inside = _before(cells, split)
    inside = inside.select(inside.day >= int(fitted.day.min()))
    return fit_response(inside, survey_support(fitted))


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
    table: DailyTable, split: Split, anchored: AnchoredPredictions, predicted: FloatArray
) -> Conformal:
    """Calibrate on what recommendations would have said; on the forest where they would have said little."""
    if len(anchored.rows) * 2 < int(split.held_out.sum()):
        held_out = table.select(split.held_out)
        return calibrate(held_out.conversion_rate, predicted, held_out.views)
    return _calibrate_anchored(table, anchored)


def _calibrate_paused(table: DailyTable, split: Split, model: AnchoredModel) -> Conformal | None:
    """Calibrate what would have been said of campaigns that pause; None where too few have such a past."""
    anchored = predict_anchored(table, split.held_out, model, unseen_days=PAUSED_DAYS, over_week=True)
    if len(anchored.rows) < FEWEST_PAUSED_ROWS:
        return None
    return _calibrate_anchored(table, anchored)


def _calibrate_anchored(table: DailyTable, anchored: AnchoredPredictions) -> Conformal:
    return calibrate(
        table.conversion_rate[anchored.rows],
        anchored.rates,
        table.views[anchored.rows],
        expected_views=anchored.daily_views,
    )


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
