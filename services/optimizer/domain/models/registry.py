"""The registry of versions: what is listed of one, and which files are kept."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from services.optimizer.domain.models.version import Importance, ModelStatus, Scores, TrainingData
from services.optimizer.domain.response.calibration import Calibration


@dataclass(frozen=True, kw_only=True)
class ModelSummary:
    """A version without what serving needs of it; `files_removed_at` is None while its folder is kept.

    `is_rolled_back`: it was live, and an earlier version was put in its place.
    """

    version: int
    status: ModelStatus
    status_reason: str
    status_changed_at: datetime
    code_version: str
    trained_at: datetime
    training_seconds: float
    data: TrainingData
    scores: Scores
    parity_error: float
    files_removed_at: datetime | None
    is_rolled_back: bool = False


@dataclass(frozen=True, kw_only=True)
class ModelDetails:
    """A version with all that was measured of it; `calibration` is None for ones from before it was."""

    summary: ModelSummary
    calibration: Calibration | None
    importances: tuple[Importance, ...]


def choose_removable(models: Sequence[ModelSummary], *, now: datetime, retention: timedelta) -> list[int]:
    """Return the versions whose files may go: rejected or retired for longer than `retention`.

    The version that was live last before the one that is stays whatever its age, and so does the last one
    that nobody went back from: RollbackModel needs it.
    """
    retired = sorted(
        (model for model in models if model.status is ModelStatus.RETIRED),
        key=lambda model: (model.status_changed_at, model.version),
    )
    restorable = [model for model in retired if not model.is_rolled_back and model.files_removed_at is None]
    kept = {model.version for model in (*retired[-1:], *restorable[-1:])}
    return sorted(
        model.version
        for model in models
        if model.status in {ModelStatus.REJECTED, ModelStatus.RETIRED}
        and model.version not in kept
        and model.files_removed_at is None
        and now - model.status_changed_at > retention
    )
