"""What is said of a version beside its scores on held-out rows, and what its drift is measured against."""

from dataclasses import dataclass

import numpy as np

from services.optimizer.domain.calibration import Calibration, Outcomes, measure_calibration
from services.optimizer.domain.drift import Reference, measure_errors
from services.optimizer.domain.features import DailyTable, Float32Array, FloatArray
from services.optimizer.domain.population import PREDICTION, Exposed, Population, describe_population
from services.optimizer.training.evaluation import Baselines


@dataclass(frozen=True, kw_only=True)
class HeldOutReport:
    """How well predictions are calibrated on held-out rows, and what later days are compared with."""

    calibration: Calibration
    reference: Reference


def report_held_out(
    *,
    fitted: DailyTable,
    fitted_features: Float32Array,
    held_out: DailyTable,
    held_out_features: Float32Array,
    predicted: FloatArray,
    baselines: Baselines,
) -> HeldOutReport:
    """Return the report on held-out rows that were predicted at `predicted`.

    Features are described over all rows, predictions over the held-out ones alone: on rows that it was fitted
    on, a forest's predictions spread more than on any other.
    """
    views = held_out.views.astype(np.float64)
    outcomes = Outcomes(
        observed=held_out.conversion_rate,
        predicted=predicted,
        views=views,
        campaign=held_out.campaign,
        day=held_out.day,
    )
    unseen = describe_population(
        Exposed(features=held_out_features, predicted=predicted, views=views, campaign=held_out.campaign)
    )
    everything = describe_population(
        Exposed(
            features=np.concatenate([fitted_features, held_out_features]),
            predicted=np.zeros(len(fitted) + len(held_out)),
            views=np.concatenate([fitted.views, held_out.views]).astype(np.float64),
            campaign=np.concatenate([fitted.campaign, held_out.campaign]),
        )
    )
    return HeldOutReport(
        calibration=measure_calibration(outcomes),
        reference=Reference(
            population=Population(
                campaigns=unseen.campaigns,
                histograms={**everything.histograms, PREDICTION: unseen.histograms[PREDICTION]},
            ),
            errors=measure_errors(outcomes),
            type_rates=baselines.by_type,
            overall_rate=baselines.overall,
        ),
    )
