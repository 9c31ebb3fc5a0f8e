"""Small examples of the optimizer's dataclasses."""

from datetime import UTC, date, datetime

import numpy as np

from services.optimizer.domain.features import Encoding
from services.optimizer.domain.models.serving_parameters import ServingParameters
from services.optimizer.domain.models.version import (
    Importance,
    ModelStatus,
    ModelVersion,
    Scores,
    TrainingData,
)
from services.optimizer.domain.response.metrics import Conformal
from services.optimizer.domain.response.response import TypeResponse
from services.optimizer.domain.response.support import TypeSupport

MODEL = ModelVersion(
    version=3,
    status=ModelStatus.LIVE,
    status_reason="beats the baseline",
    code_version="abc",
    trained_at=datetime(2026, 3, 2, 12, tzinfo=UTC),
    training_seconds=2.5,
    data=TrainingData(
        first_day=date(2025, 12, 2),
        split_day=date(2026, 2, 12),
        end_day=date(2026, 3, 2),
        fitted_rows=800,
        held_out_rows=200,
        views=50_000,
        conversions=4_000,
    ),
    scores=Scores(
        r2_score=0.8,
        mae=0.02,
        response_r2_score=0.85,
        global_mean_r2_score=-0.01,
        global_mean_mae=0.08,
        type_mean_r2_score=0.3,
        type_mean_mae=0.06,
        noise_ceiling=0.95,
        live_r2_score=None,
    ),
    parity_error=5e-7,
    parameters=ServingParameters(
        encoding=Encoding(merchant_codes={3: 1.0}, unknown_merchant_code=0.5),
        response={
            1: TypeResponse(
                coefficients=np.array([1.0, 0.5, 0.2]), covariance=np.eye(3), slope=0.0, slope_error=0.03
            )
        },
        support={1: TypeSupport(tried_micros=(6_000_000, 9_000_000), varied_campaigns=1)},
        conformal=Conformal(model_variance=1e-4, quantiles={0.9: 1.6}),
    ),
    importances=(Importance(feature_name="offer_amount", permutation=1.2, impurity=0.6),),
)
