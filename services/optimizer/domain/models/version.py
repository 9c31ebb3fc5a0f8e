"""A trained version of a model: what it knows, how it was measured, and whether it may serve."""

from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum
from typing import Final

from services.optimizer.domain.models.serving_parameters import ServingParameters
from services.optimizer.domain.response.calibration import Calibration

CONVERSION_MODEL: Final = "conversion"
"""The forest's name in the model repository."""
INPUT_NAME: Final = "features"
OUTPUT_NAME: Final = "conversion_rate"
MAX_BATCH_SIZE: Final = 4096
LARGEST_PARITY_ERROR: Final = 2e-6
"""Relative difference between the exported and the trained forest above which a version is refused."""


class ModelStatus(StrEnum):
    """Where a version stands.

    candidate: trained, good enough, not yet confirmed by the model server. live: the one that is served.
    rejected: never served, for the reason kept with it. retired: was live once.
    """

    CANDIDATE = "candidate"
    LIVE = "live"
    REJECTED = "rejected"
    RETIRED = "retired"


@dataclass(frozen=True, kw_only=True)
class Scores:
    """How a version did on its held-out rows, all weighted by views.

    A score is None where it is undefined. `response_r2_score` is that of the curve that recommendations read
    (the response anchored by the forest), at the offers that were sent; `noise_ceiling` what a perfect
    forecast of daily rates would reach; `live_r2_score` that of the version live at the time, on the rows
    held out from both.
    """

    r2_score: float | None
    mae: float
    response_r2_score: float | None
    global_mean_r2_score: float | None
    global_mean_mae: float
    type_mean_r2_score: float | None
    type_mean_mae: float
    noise_ceiling: float | None
    live_r2_score: float | None


@dataclass(frozen=True, kw_only=True)
class TrainingData:
    """The rows a version was made from: days [first_day, end_day), those from `split_day` on held out."""

    first_day: date
    split_day: date
    end_day: date
    fitted_rows: int
    held_out_rows: int
    views: int
    conversions: int

    @property
    def samples(self) -> int:
        """Rows fitted and held out."""
        return self.fitted_rows + self.held_out_rows


@dataclass(frozen=True, kw_only=True)
class Importance:
    """How much a feature matters.

    `permutation` is the R² lost on held-out rows when the feature is shuffled, `impurity` the forest's own
    share of the squared error that its cuts removed.
    """

    feature_name: str
    permutation: float
    impurity: float


@dataclass(frozen=True, kw_only=True)
class ModelVersion:
    """One row of ml_models, with what serving needs beside the model file.

    `calibration` is None for a version that was trained before it was measured.
    """

    version: int
    status: ModelStatus
    status_reason: str
    code_version: str
    trained_at: datetime
    training_seconds: float
    data: TrainingData
    scores: Scores
    parity_error: float
    parameters: ServingParameters
    importances: tuple[Importance, ...]
    calibration: Calibration | None = None
