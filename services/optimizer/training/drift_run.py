"""Measures how the live version does since its training, from the database and the model repository."""

from datetime import UTC, date, datetime, timedelta
from typing import Final

import numpy as np

from services.common.database import Database
from services.common.errors import FailedPreconditionError
from services.optimizer.domain.features import (
    HISTORY_DAYS,
    DailyTable,
    FloatArray,
    History,
    table_features,
    trailing_history,
)
from services.optimizer.domain.models.drift import (
    MOST_DAYS,
    Drift,
    Reference,
    compare_errors,
    compare_with_baseline,
    judge_drift,
    measure_errors,
)
from services.optimizer.domain.models.population import Exposed, Stability, measure_stability
from services.optimizer.domain.models.version import CONVERSION_MODEL, ModelVersion
from services.optimizer.domain.response.calibration import Outcomes
from services.optimizer.model_repository import ModelRepository
from services.optimizer.settings import OptimizerSettings
from services.optimizer.store import models, outcomes
from services.optimizer.training.evaluation import Baselines
from services.optimizer.training.forest import ExportedForest, read_forest

_READ_SECONDS: Final = 600.0


async def measure_live_drift(settings: OptimizerSettings, end_day: date) -> int:
    """Measure the live version on the days since its training and before `end_day`, and keep what was found.

    Returns:
        The version.

    Raises:
        FailedPreconditionError: MODEL_NOT_TRAINED; or DRIFT_UNKNOWN where what drift is measured against was
            not kept when the version was trained, or its file is gone or broken.
        UnavailableError: the database does not answer.
    """
    repository = ModelRepository(settings.repository, CONVERSION_MODEL)
    database = await Database.open(
        settings.database_url,
        application_name="optimizer-drift",
        max_size=1,
        statement_timeout_seconds=_READ_SECONDS,
    )
    try:
        async with database.transaction(isolation="repeatable_read", readonly=True) as connection:
            version = await models.fetch_live_version(connection)
            model = None if version is None else await models.fetch_model(connection, version)
            if model is None:
                raise FailedPreconditionError("no model is live", reason="MODEL_NOT_TRAINED")
            reference = await models.fetch_model_reference(connection, model.version)
            first_day = max(model.data.end_day, end_day - timedelta(days=MOST_DAYS))
            history_day = first_day - timedelta(days=HISTORY_DAYS)
            table = await outcomes.list_daily_outcomes(connection, history_day, max(end_day, first_day))
        forest = read_forest(repository.read_model(model.version))
        if reference is None or forest is None:
            raise FailedPreconditionError(
                f"drift of version {model.version} cannot be measured: what it is measured against was not"
                " kept when it was trained, or its file is gone or broken; train again",
                reason="DRIFT_UNKNOWN",
            )
        drift = measure_drift(
            table,
            model=model,
            forest=forest,
            reference=reference,
            days=(first_day, max(end_day, first_day)),
            now=datetime.now(UTC),
        )
        async with database.transaction() as connection:
            await models.upsert_model_drift(connection, drift)
        return model.version
    finally:
        await database.close()


def measure_drift(
    table: DailyTable,
    *,
    model: ModelVersion,
    forest: ExportedForest,
    reference: Reference,
    days: tuple[date, date],
    now: datetime,
) -> Drift:
    """Return the drift on the rows of `days` [first, end); `table` also has the days of their history."""
    first_day, end_day = days
    chosen = table.is_usable & (table.day >= first_day.toordinal()) & (table.day < end_day.toordinal())
    live = table.select(chosen)
    count = len(np.unique(live.day))
    stability: tuple[Stability, ...] = ()
    now_errors, against_baseline = None, None
    if len(live):
        exposed = _expose(table, chosen, live, model, forest)
        stability = measure_stability(reference.population, exposed)
        outcomes_now = _outcomes(live, exposed.predicted)
        now_errors = measure_errors(outcomes_now)
        baselines = Baselines(overall=reference.overall_rate, by_type=dict(reference.type_rates))
        against_baseline = compare_with_baseline(outcomes_now, baselines.predict_by_type(live))
    comparison = None if now_errors is None else compare_errors(reference.errors, now_errors)
    verdict, reasons = judge_drift(
        days=count,
        rows=len(live),
        stability=stability,
        comparison=comparison,
        against_baseline=against_baseline,
    )
    return Drift(
        version=model.version,
        measured_at=now,
        first_day=first_day,
        end_day=end_day,
        days=count,
        rows=len(live),
        verdict=verdict,
        reasons=reasons,
        stability=stability,
        training_error=reference.errors.mean_squared,
        live_error=None if against_baseline is None else against_baseline.live_error,
        baseline_error=None if against_baseline is None else against_baseline.baseline_error,
        error_growth=None if comparison is None else comparison.growth,
        growth_p_value=None if comparison is None else comparison.p_value,
    )


def _expose(
    table: DailyTable, chosen: np.ndarray, live: DailyTable, model: ModelVersion, forest: ExportedForest
) -> Exposed:
    history = trailing_history(table)
    features = table_features(
        live,
        History(impressions=history.impressions[chosen], conversions=history.conversions[chosen]),
        model.parameters.encoding,
    )
    return Exposed(
        features=features,
        predicted=forest.predict(features),
        views=live.views.astype(np.float64),
        campaign=live.campaign,
    )


def _outcomes(live: DailyTable, predicted: FloatArray) -> Outcomes:
    return Outcomes(
        observed=live.conversion_rate,
        predicted=predicted,
        views=live.views.astype(np.float64),
        campaign=live.campaign,
        day=live.day,
    )
