"""Between the wire and the domain: what is refused, by field; what a training says."""

import math
from dataclasses import replace
from datetime import UTC, datetime
from typing import cast
from uuid import UUID

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from gen.campaigns.optimizer.v1 import model_changes_pb2, models_pb2, training_pb2
from gen.campaigns.optimizer.v1.offers_pb2 import OptimizeOfferRequest as Request
from gen.campaigns.type.v1 import campaign_pb2
from services.common.errors import InvalidArgumentError
from services.common.paging import encode_page_token
from services.optimizer.convert import model_changes as changes
from services.optimizer.convert import models
from services.optimizer.convert import offers as convert
from services.optimizer.convert import training as trainings
from services.optimizer.domain.campaigns import PlannedCampaign
from services.optimizer.domain.models.training_progress import TrainingProgress
from services.optimizer.domain.models.trainings import Note
from services.optimizer.domain.models.version import ModelStatus, Scores
from services.optimizer.domain.objectives import Objective
from services.optimizer.domain.response.calibration import Calibration
from services.optimizer.operations.training import TrainingResult
from tests.unit.optimizer.examples import MODEL

FLASH_SALE = campaign_pb2.CAMPAIGN_TYPE_FLASH_SALE
UNKNOWN_TYPE = cast("campaign_pb2.CampaignType.ValueType", 99)


def planned(fields: Request) -> Request:
    """Return a question for a planned campaign with these fields."""
    request = Request(campaign_type=FLASH_SALE, merchant_id=1)
    request.MergeFrom(fields)
    return request


@pytest.mark.parametrize(
    ("request_", "reason", "fields"),
    [
        (Request(), "FIELD_REQUIRED", ("campaign_type",)),
        (Request(campaign_type=FLASH_SALE), "FIELD_REQUIRED", ("merchant_id",)),
        (Request(campaign_type=UNKNOWN_TYPE, merchant_id=1), "VALUE_UNKNOWN", ("campaign_type",)),
        (Request(campaign_id="campaign-1", objective="fame"), "VALUE_UNKNOWN", ("objective",)),
        (
            Request(campaign_id="campaign-1", campaign_type=FLASH_SALE, merchant_id=0),
            "INVALID_FIELD",
            ("campaign_type", "merchant_id"),
        ),
        (
            Request(campaign_type=FLASH_SALE, merchant_id=1, current_offer=0.0),
            "MONEY_OUT_OF_RANGE",
            ("current_offer",),
        ),
        (
            Request(campaign_type=FLASH_SALE, merchant_id=1, current_offer=float("nan")),
            "MONEY_NOT_FINITE",
            ("current_offer",),
        ),
        (
            Request(campaign_type=FLASH_SALE, merchant_id=1, current_offer=9, current_conversion_rate=1.5),
            "VALUE_OUT_OF_RANGE",
            ("current_conversion_rate",),
        ),
        (
            Request(campaign_type=FLASH_SALE, merchant_id=1, current_conversion_rate=0.5),
            "FIELDS_CONFLICT",
            ("current_conversion_rate",),
        ),
        (planned(Request(current_views=10)), "FIELDS_CONFLICT", ("current_views",)),
        (
            planned(Request(current_offer=9, current_conversion_rate=0.5, current_views=0)),
            "VALUE_OUT_OF_RANGE",
            ("current_views",),
        ),
        *(
            (
                planned(Request(current_offer=9, current_conversion_rate=rate)),
                "VALUE_OUT_OF_RANGE",
                ("current_conversion_rate",),
            )
            for rate in (0.0, 1.0, math.nan)
        ),
        *(
            (planned(Request(gross_margin_rate=rate)), "VALUE_OUT_OF_RANGE", ("gross_margin_rate",))
            for rate in (-0.1, 1.1, math.nan)
        ),
        *(
            (planned(Request(views_per_day=views)), "VALUE_OUT_OF_RANGE", ("views_per_day",))
            for views in (0.0, math.inf, math.nan)
        ),
        (
            Request(campaign_id="c1", gross_margin_rate=0.5, views_per_day=9),
            "INVALID_FIELD",
            ("gross_margin_rate", "views_per_day"),
        ),
    ],
)
def test_a_wrong_request_is_refused_by_field(request_: Request, reason: str, fields: tuple[str, ...]) -> None:
    with pytest.raises(InvalidArgumentError) as refused:
        convert.objective_from_proto(request_)
        if convert.campaign_id_from_proto(request_) is None:
            convert.planned_from_proto(request_)
    assert refused.value.reason == reason
    assert tuple(violation.field for violation in refused.value.violations) == fields


def test_a_campaign_or_a_plan_is_read() -> None:
    assert convert.campaign_id_from_proto(Request(campaign_id="c1")) == "c1"
    plan = Request(
        campaign_type=FLASH_SALE,
        merchant_id=7,
        current_offer=9.99,
        current_conversion_rate=0.25,
        current_views=80,
        gross_margin_rate=0.0,
        views_per_day=12.5,
    )
    assert convert.campaign_id_from_proto(plan) is None
    assert convert.planned_from_proto(plan) == PlannedCampaign(
        campaign_type=2,
        merchant_id=7,
        current_offer_micros=9_990_000,
        current_conversion_rate=0.25,
        current_views=80,
        gross_margin_rate=0.0,
        views_a_day=12.5,
    )
    assert convert.objective_from_proto(Request()) is Objective.PROFIT
    assert convert.objective_from_proto(Request(objective="revenue")) is Objective.REVENUE


TRAINING_ID = UUID("1f1c5a52-6c3e-4a0e-9d0a-6f3f0a0b0c0d")
RESULT = TrainingResult(training_id=TRAINING_ID, model=MODEL)


def test_the_time_asked_for_is_read() -> None:
    request = training_pb2.TrainModelRequest(as_of=Timestamp(seconds=86_400), actor="anna", comment="prices")
    order = trainings.order_from_proto(request)
    assert order.as_of == datetime(1970, 1, 2, tzinfo=UTC)
    assert order.note == Note(actor="anna", comment="prices")
    assert trainings.order_from_proto(training_pb2.TrainModelRequest()).as_of is None


def test_a_page_of_trainings_goes_on_from_its_own_token_only() -> None:
    tampered = encode_page_token({"started_at": "long ago", "training_id": str(TRAINING_ID)})
    with pytest.raises(InvalidArgumentError):
        trainings.trainings_start_from_proto(training_pb2.ListTrainingsRequest(page_token=tampered))
    earlier = "2026-11-20T12:00:00+00:00"
    token = encode_page_token({"started_at": earlier, "training_id": str(TRAINING_ID)})
    request = training_pb2.ListTrainingsRequest(page_token=token)
    assert trainings.trainings_start_from_proto(request) == (datetime.fromisoformat(earlier), TRAINING_ID)


def test_a_page_of_versions_goes_on_from_a_version() -> None:
    tampered = encode_page_token({"version": "nine", "statuses": ""})
    with pytest.raises(InvalidArgumentError):
        models.models_start_from_proto(models_pb2.ListModelsRequest(page_token=tampered))


def test_a_page_of_changes_goes_on_from_a_change() -> None:
    tampered = encode_page_token({"change": "nine"})
    with pytest.raises(InvalidArgumentError):
        changes.changes_start_from_proto(model_changes_pb2.ListModelChangesRequest(page_token=tampered))
    token = encode_page_token({"change": 9})
    assert changes.changes_start_from_proto(model_changes_pb2.ListModelChangesRequest(page_token=token)) == 9


def test_an_unknown_status_is_refused_by_its_place() -> None:
    with pytest.raises(InvalidArgumentError) as refused:
        models.statuses_from_proto(models_pb2.ListModelsRequest(statuses=["live", "dead"]))
    assert [violation.field for violation in refused.value.violations] == ["statuses[1]"]


def test_a_version_from_before_calibration_was_measured_has_none() -> None:
    assert not trainings.result_to_proto(RESULT).HasField("calibration")
    unknown = Calibration(slope=None, intercept=None, expected_error=None, error_by_chance=None, bins=())
    answer = trainings.result_to_proto(replace(RESULT, model=replace(MODEL, calibration=unknown)))
    assert answer.HasField("calibration")
    assert not answer.calibration.HasField("slope")
    assert not answer.calibration.HasField("expected_calibration_error")


def test_a_live_model_is_a_success_and_any_other_says_why() -> None:
    live = trainings.result_to_proto(RESULT)
    worse = replace(MODEL, status=ModelStatus.REJECTED, status_reason="worse")
    rejected = trainings.result_to_proto(replace(RESULT, model=worse))
    assert (live.status, live.reason) == ("success", "")
    assert (rejected.status, rejected.reason) == ("rejected", "worse")
    assert live.samples == MODEL.data.fitted_rows
    assert [entry.feature_name for entry in live.feature_importance] == ["offer_amount"]


def test_an_undefined_score_is_unset() -> None:
    undefined = Scores(**{**vars(MODEL.scores), "r2_score": None, "type_mean_r2_score": None})
    answer = trainings.result_to_proto(replace(RESULT, model=replace(MODEL, scores=undefined)))
    assert not answer.HasField("r2_score")
    assert answer.HasField("mae")
    assert [score.HasField("r2_score") for score in answer.baselines] == [True, False]


@pytest.mark.parametrize(
    ("event", "progress", "has_result"),
    [(TrainingProgress(stage="export", fraction=0.7), 0.7, False), (RESULT, 1.0, True)],
)
def test_a_streams_messages(
    event: TrainingProgress | TrainingResult, progress: float, has_result: bool
) -> None:
    message = trainings.training_event_to_proto(event)
    assert message.progress == progress
    assert message.HasField("result") is has_result
