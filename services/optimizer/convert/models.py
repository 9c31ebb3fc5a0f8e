"""Versions of the model, and their drift, between the wire and the domain."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Final

from gen.campaigns.optimizer.v1 import models_pb2 as pb
from services.common.errors import invalid_field
from services.common.paging import decode_own_token, encode_page_token, unusable_token
from services.common.wire import datetime_to_timestamp
from services.optimizer.convert.checks import optional_limit
from services.optimizer.convert.training import (
    DEFAULT_LIMIT,
    LARGEST_LIMIT,
    baselines_to_proto,
    calibration_to_proto,
    estimate_to_proto,
    importance_to_proto,
    note_from_proto,
)
from services.optimizer.domain.models.drift import Drift
from services.optimizer.domain.models.population import Stability
from services.optimizer.domain.models.registry import ModelDetails, ModelSummary
from services.optimizer.domain.models.version import ModelStatus
from services.optimizer.operations.models import Rollback, RollbackOrder

_STATUSES: Final = {status.value: status for status in ModelStatus}
_BEYOND: Final = 2**31 - 1
_ONE_DAY: Final = timedelta(days=1)


def models_limit_from_proto(request: pb.ListModelsRequest) -> int:
    """Return how many versions a page has."""
    limit = request.limit if request.HasField("limit") else None
    return optional_limit(limit, default=DEFAULT_LIMIT, most=LARGEST_LIMIT)


def statuses_from_proto(request: pb.ListModelsRequest) -> list[ModelStatus]:
    """Return the statuses asked for, none for any."""
    for index, word in enumerate(request.statuses):
        if word not in _STATUSES:
            raise invalid_field(
                f"statuses[{index}]", f"must be one of {', '.join(_STATUSES)}", "VALUE_UNKNOWN"
            )
    return [_STATUSES[word] for word in request.statuses]


def models_start_from_proto(request: pb.ListModelsRequest) -> int:
    """Return the version before which the page begins."""
    cursor = decode_own_token(request.page_token, keys=("version",), filters=_filters(request))
    if not cursor:
        return _BEYOND
    version = cursor["version"]
    if not isinstance(version, int) or not 0 <= version <= _BEYOND:
        raise unusable_token()
    return version


def models_to_proto(
    models: Sequence[ModelSummary], request: pb.ListModelsRequest, limit: int
) -> pb.ListModelsResponse:
    """Return a page of versions."""
    token = ""
    if len(models) == limit:
        token = encode_page_token({"version": models[-1].version, **_filters(request)})
    return pb.ListModelsResponse(models=[summary_to_proto(model) for model in models], next_page_token=token)


def _filters(request: pb.ListModelsRequest) -> dict[str, str]:
    return {"statuses": ",".join(sorted(set(request.statuses)))}


def version_from_proto(version: int) -> int:
    """Return a version that is named."""
    if version < 1:
        raise invalid_field("version", "is required, and at least 1", "VALUE_OUT_OF_RANGE")
    return version


def rollback_from_proto(request: pb.RollbackModelRequest) -> RollbackOrder:
    """Return which version to put live, and which one must be."""
    version = request.version if request.HasField("version") else None
    expected = request.expected_live_version if request.HasField("expected_live_version") else None
    for field, number in (("version", version), ("expected_live_version", expected)):
        if number is not None and number < 1:
            raise invalid_field(field, "must be at least 1 where it is set", "VALUE_OUT_OF_RANGE")
    return RollbackOrder(version=version, expected_live=expected, note=note_from_proto(request))


def summary_to_proto(model: ModelSummary) -> pb.Model:
    """Return a version."""
    data, scores = model.data, model.scores
    return pb.Model(
        version=model.version,
        status=model.status.value,
        status_reason=model.status_reason,
        status_time=datetime_to_timestamp(model.status_changed_at),
        train_time=datetime_to_timestamp(model.trained_at),
        training_seconds=model.training_seconds,
        code_version=model.code_version,
        start_date=data.first_day.isoformat(),
        split_date=data.split_day.isoformat(),
        end_date=(data.end_day - _ONE_DAY).isoformat(),
        samples=data.fitted_rows,
        held_out_samples=data.held_out_rows,
        r2_score=scores.r2_score,
        mae=scores.mae,
        response_r2_score=scores.response_r2_score,
        noise_ceiling_r2_score=scores.noise_ceiling,
        live_r2_score=scores.live_r2_score,
        parity_error=model.parity_error,
        baselines=baselines_to_proto(scores),
        has_file=model.files_removed_at is None,
    )


def details_to_proto(details: ModelDetails) -> pb.GetModelResponse:
    """Return a version with all that was measured of it."""
    return pb.GetModelResponse(
        model=summary_to_proto(details.summary),
        calibration=calibration_to_proto(details.calibration),
        feature_importance=[importance_to_proto(importance) for importance in details.importances],
    )


def rollback_to_proto(rollback: Rollback) -> pb.RollbackModelResponse:
    """Return which version is live now."""
    return pb.RollbackModelResponse(
        model=summary_to_proto(rollback.live.summary), previous_version=rollback.previous
    )


def drift_to_proto(drift: Drift) -> pb.GetModelDriftResponse:
    """Return how the live version does since its training."""
    growth = drift.error_growth
    return pb.GetModelDriftResponse(
        version=drift.version,
        verdict=drift.verdict.value,
        reasons=drift.reasons,
        triggers_training=drift.verdict.calls_for_training,
        measure_time=datetime_to_timestamp(drift.measured_at),
        start_date=drift.first_day.isoformat(),
        end_date=(drift.end_day - _ONE_DAY).isoformat() if drift.end_day > drift.first_day else "",
        days=drift.days,
        samples=drift.rows,
        features=[_stability_to_proto(each) for each in drift.stability],
        training_squared_error=drift.training_error,
        live_squared_error=drift.live_error,
        baseline_squared_error=drift.baseline_error,
        squared_error_growth=None if growth is None else growth.point,
        squared_error_growth_interval=estimate_to_proto(growth),
    )


def _stability_to_proto(stability: Stability) -> pb.FeatureDrift:
    return pb.FeatureDrift(
        name=stability.name,
        population_stability_index=stability.index,
        chance_limit=stability.limit,
        move=stability.move.value,
        decides=stability.decides,
    )
