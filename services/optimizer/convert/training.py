"""Trainings between the wire and the domain."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final, Protocol
from uuid import UUID

from gen.campaigns.optimizer.v1 import training_pb2 as pb
from gen.campaigns.type.v1 import range_pb2
from services.common.errors import invalid_field
from services.common.paging import decode_own_token, encode_page_token, unusable_token
from services.common.wire import datetime_to_timestamp, timestamp_to_datetime
from services.optimizer.convert.checks import (
    LONGEST_COMMENT,
    LONGEST_ID,
    optional_limit,
    optional_text,
    required_id,
)
from services.optimizer.domain.models.training_progress import TrainingProgress
from services.optimizer.domain.models.trainings import Note, Training, TrainingOrder
from services.optimizer.domain.models.version import Importance, ModelStatus, Scores
from services.optimizer.domain.response.calibration import Calibration, Estimate
from services.optimizer.operations.training import TrainingResult

DEFAULT_LIMIT: Final = 10
LARGEST_LIMIT: Final = 1000
_LAST_ID: Final = UUID(int=2**128 - 1)


class _Asked(Protocol):
    """What every request has that is kept with who asked and why."""

    actor: str
    comment: str


def note_from_proto(request: _Asked) -> Note:
    """Return who asks, and why."""
    return Note(
        actor=optional_text(request.actor, "actor", longest=LONGEST_ID),
        comment=optional_text(request.comment, "comment", longest=LONGEST_COMMENT),
    )


def order_from_proto(request: pb.TrainModelRequest | pb.TrainModelWithProgressRequest) -> TrainingOrder:
    """Return what training is asked for."""
    return TrainingOrder(
        as_of=timestamp_to_datetime(request.as_of, "as_of") if request.HasField("as_of") else None,
        note=note_from_proto(request),
    )


def training_id_from_proto(request: pb.CancelTrainingRequest) -> UUID:
    """Return the training that is named."""
    text = required_id(request.training_id, "training_id")
    try:
        return UUID(text)
    except ValueError as error:
        raise invalid_field(
            "training_id", "must be a UUID, as ListTrainings has them", "TEXT_INVALID"
        ) from error


def trainings_limit_from_proto(request: pb.ListTrainingsRequest) -> int:
    """Return how many trainings a page has."""
    limit = request.limit if request.HasField("limit") else None
    return optional_limit(limit, default=DEFAULT_LIMIT, most=LARGEST_LIMIT)


def trainings_start_from_proto(request: pb.ListTrainingsRequest) -> tuple[datetime, UUID]:
    """Return the time and the id of the training before which the page begins."""
    cursor = decode_own_token(request.page_token, keys=("started_at", "training_id"))
    if not cursor:
        return datetime.max.replace(tzinfo=UTC), _LAST_ID
    try:
        return datetime.fromisoformat(str(cursor["started_at"])).astimezone(UTC), UUID(
            str(cursor["training_id"])
        )
    except (ValueError, OverflowError) as error:
        raise unusable_token() from error


def trainings_to_proto(trainings: Sequence[Training], limit: int, now: datetime) -> pb.ListTrainingsResponse:
    """Return a page of trainings."""
    token = ""
    if len(trainings) == limit:
        last = trainings[-1]
        token = encode_page_token(
            {"started_at": last.started_at.isoformat(), "training_id": str(last.training_id)}
        )
    return pb.ListTrainingsResponse(
        trainings=[training_to_proto(training, now) for training in trainings], next_page_token=token
    )


def training_to_proto(training: Training, now: datetime) -> pb.Training:
    """Return a training as it stands."""
    requested, ended = training.cancel_requested_at, training.ended_at
    return pb.Training(
        training_id=str(training.training_id),
        state=training.state_at(now).value,
        stage=training.stage,
        progress=training.progress,
        cause=training.cause.value,
        actor=training.note.actor,
        comment=training.note.comment,
        end_date=training.end_day.isoformat(),
        start_time=datetime_to_timestamp(training.started_at),
        end_time=None if ended is None else datetime_to_timestamp(ended),
        version=training.version,
        reason=training.reason,
        message=training.message,
        cancel_request_time=None if requested is None else datetime_to_timestamp(requested),
    )


def result_to_proto(result: TrainingResult) -> pb.TrainModelResponse:
    """Return what a training made."""
    model = result.model
    live = model.status is ModelStatus.LIVE
    return pb.TrainModelResponse(
        training_id=str(result.training_id),
        status="success" if live else "rejected",
        reason="" if live else model.status_reason,
        version=model.version,
        samples=model.data.fitted_rows,
        held_out_samples=model.data.held_out_rows,
        r2_score=model.scores.r2_score,
        mae=model.scores.mae,
        response_r2_score=model.scores.response_r2_score,
        noise_ceiling_r2_score=model.scores.noise_ceiling,
        baselines=baselines_to_proto(model.scores),
        feature_importance=[importance_to_proto(importance) for importance in model.importances],
        parity_error=model.parity_error,
        training_seconds=model.training_seconds,
        calibration=calibration_to_proto(model.calibration),
    )


def calibration_to_proto(calibration: Calibration | None) -> pb.Calibration | None:
    """Return a calibration; what is not known stays unset."""
    if calibration is None:
        return None
    return pb.Calibration(
        slope=_figure_to_proto(calibration.slope),
        intercept=_figure_to_proto(calibration.intercept),
        expected_calibration_error=calibration.expected_error,
        calibration_error_by_chance=calibration.error_by_chance,
        bins=[
            pb.ReliabilityBin(
                views=each.views,
                predicted_rate=each.predicted_rate,
                observed_rate=each.observed_rate.point,
                observed_rate_interval=estimate_to_proto(each.observed_rate),
            )
            for each in calibration.bins
        ],
    )


def _figure_to_proto(estimate: Estimate | None) -> pb.CalibrationFigure | None:
    if estimate is None:
        return None
    return pb.CalibrationFigure(value=estimate.point, interval=estimate_to_proto(estimate))


def estimate_to_proto(estimate: Estimate | None) -> range_pb2.ConfidenceInterval | None:
    """Return an estimate's interval; what is not known stays unset."""
    if estimate is None:
        return None
    return range_pb2.ConfidenceInterval(lower=estimate.lower, upper=estimate.upper)


def baselines_to_proto(scores: Scores) -> list[pb.BaselineScore]:
    """Return how the simplest forecasts do."""
    return [
        pb.BaselineScore(
            name="global_mean", r2_score=scores.global_mean_r2_score, mae=scores.global_mean_mae
        ),
        pb.BaselineScore(name="type_mean", r2_score=scores.type_mean_r2_score, mae=scores.type_mean_mae),
    ]


def importance_to_proto(importance: Importance) -> pb.FeatureImportance:
    """Return how much a feature matters."""
    return pb.FeatureImportance(
        feature_name=importance.feature_name,
        permutation_importance=importance.permutation,
        impurity_importance=importance.impurity,
    )


def training_event_to_proto(event: TrainingProgress | TrainingResult) -> pb.TrainModelWithProgressResponse:
    """Return one message of a training's stream: progress, or the result."""
    if isinstance(event, TrainingResult):
        return pb.TrainModelWithProgressResponse(stage="done", progress=1.0, result=result_to_proto(event))
    return pb.TrainModelWithProgressResponse(stage=event.stage, progress=event.fraction)
