"""Trainings between the wire and the domain."""

from datetime import datetime

from gen.campaigns.optimizer.v1 import training_pb2 as pb
from services.common.wire import timestamp_to_datetime
from services.optimizer.domain.model_version import Importance, ModelStatus, ModelVersion, Scores
from services.optimizer.domain.training_progress import TrainingProgress


def as_of_from_proto(request: pb.TrainModelRequest | pb.TrainModelWithProgressRequest) -> datetime | None:
    """Return the time at which the training window ends, None for now."""
    return timestamp_to_datetime(request.as_of, "as_of") if request.HasField("as_of") else None


def model_to_proto(model: ModelVersion) -> pb.TrainModelResponse:
    """Return what a training made."""
    live = model.status is ModelStatus.LIVE
    return pb.TrainModelResponse(
        status="success" if live else "rejected",
        reason="" if live else model.status_reason,
        version=model.version,
        samples=model.data.fitted_rows,
        held_out_samples=model.data.held_out_rows,
        r2_score=model.scores.r2_score,
        mae=model.scores.mae,
        response_r2_score=model.scores.response_r2_score,
        noise_ceiling_r2_score=model.scores.noise_ceiling,
        baselines=_baselines_to_proto(model.scores),
        feature_importance=[_importance_to_proto(importance) for importance in model.importances],
        parity_error=model.parity_error,
        training_seconds=model.training_seconds,
    )


def _baselines_to_proto(scores: Scores) -> list[pb.BaselineScore]:
    return [
        pb.BaselineScore(
            name="global_mean", r2_score=scores.global_mean_r2_score, mae=scores.global_mean_mae
        ),
        pb.BaselineScore(name="type_mean", r2_score=scores.type_mean_r2_score, mae=scores.type_mean_mae),
    ]


def _importance_to_proto(importance: Importance) -> pb.FeatureImportance:
    return pb.FeatureImportance(
        feature_name=importance.feature_name,
        permutation_importance=importance.permutation,
        impurity_importance=importance.impurity,
    )


def training_event_to_proto(event: TrainingProgress | ModelVersion) -> pb.TrainModelWithProgressResponse:
    """Return one message of a training's stream: progress, or the result."""
    if isinstance(event, ModelVersion):
        return pb.TrainModelWithProgressResponse(stage="done", progress=1.0, result=model_to_proto(event))
    return pb.TrainModelWithProgressResponse(stage=event.stage, progress=event.fraction)
