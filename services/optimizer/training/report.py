"""What is said of a version beside its scores on held-out rows, and what its drift is measured against."""

from dataclasses import dataclass

import numpy as np

from services.optimizer.domain.features import DailyTable, Float32Array, FloatArray
from services.optimizer.domain.models.drift import Reference, measure_errors
from services.optimizer.domain.models.population import Exposed, describe_population
from services.optimizer.domain.response.calibration import Calibration, Outcomes, measure_calibration
from services.optimizer.training.evaluation import Baselines


@dataclass(frozen=True, kw_only=True)
class HeldOutReport:
    """How well predictions are calibrated on held-out rows, and what later days are compared with."""

    calibration: Calibration
    reference: Reference


def report_held_out(
    *, held_out: DailyTable, features: Float32Array, predicted: FloatArray, baselines: Baselines
) -> HeldOutReport:
    """Return the report on held-out rows, of `features` (rows, 7), that were predicted at `predicted`.

    Later days are compared with the held-out ones alone: a forest's predictions spread more on rows that it
    was fitted on, and in the first days of a young system histories are still short.
    """
    outcomes = Outcomes(
        observed=held_out.conversion_rate,
        predicted=predicted,
        views=held_out.views.astype(np.float64),
        campaign=held_out.campaign,
        day=held_out.day,
    )
    population = describe_population(
        Exposed(features=features, predicted=predicted, views=outcomes.views, campaign=held_out.campaign)
    )
    return HeldOutReport(
        calibration=measure_calibration(outcomes),
        reference=Reference(
            population=population,
            errors=measure_errors(outcomes),
            type_rates=baselines.by_type,
            overall_rate=baselines.overall,
        ),
    )
