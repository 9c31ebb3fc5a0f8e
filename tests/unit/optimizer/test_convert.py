"""Between the wire and the domain: what is refused, by field; what a training says."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import cast

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from gen.campaigns.optimizer.v1 import training_pb2
from gen.campaigns.optimizer.v1.offers_pb2 import OptimizeOfferRequest as Request
from gen.campaigns.type.v1 import campaign_pb2
from services.common.errors import InvalidArgumentError
from services.optimizer.convert import offers as convert
from services.optimizer.convert import training as trainings
from services.optimizer.domain.campaigns import PlannedCampaign
from services.optimizer.domain.model_version import ModelStatus, ModelVersion, Scores
from services.optimizer.domain.objectives import Objective
from services.optimizer.domain.training_progress import TrainingProgress
from tests.unit.optimizer.examples import MODEL

FLASH_SALE = campaign_pb2.CAMPAIGN_TYPE_FLASH_SALE
UNKNOWN_TYPE = cast("campaign_pb2.CampaignType.ValueType", 99)


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
    plan = Request(campaign_type=FLASH_SALE, merchant_id=7, current_offer=9.99, current_conversion_rate=0.0)
    assert convert.campaign_id_from_proto(plan) is None
    assert convert.planned_from_proto(plan) == PlannedCampaign(
        campaign_type=2, merchant_id=7, current_offer_micros=9_990_000, current_conversion_rate=0.0
    )
    assert convert.objective_from_proto(Request()) is Objective.PROFIT
    assert convert.objective_from_proto(Request(objective="revenue")) is Objective.REVENUE


def test_the_time_asked_for_is_read() -> None:
    request = training_pb2.TrainModelRequest(as_of=Timestamp(seconds=86_400))
    assert trainings.as_of_from_proto(request) == datetime(1970, 1, 2, tzinfo=UTC)
    assert trainings.as_of_from_proto(training_pb2.TrainModelRequest()) is None


def test_a_live_model_is_a_success_and_any_other_says_why() -> None:
    live = trainings.model_to_proto(MODEL)
    rejected = trainings.model_to_proto(replace(MODEL, status=ModelStatus.REJECTED, status_reason="worse"))
    assert (live.status, live.reason) == ("success", "")
    assert (rejected.status, rejected.reason) == ("rejected", "worse")
    assert live.samples == MODEL.data.fitted_rows
    assert [entry.feature_name for entry in live.feature_importance] == ["offer_amount"]


def test_an_undefined_score_is_unset() -> None:
    undefined = Scores(**{**vars(MODEL.scores), "r2_score": None, "type_mean_r2_score": None})
    answer = trainings.model_to_proto(replace(MODEL, scores=undefined))
    assert not answer.HasField("r2_score")
    assert answer.HasField("mae")
    assert [score.HasField("r2_score") for score in answer.baselines] == [True, False]


@pytest.mark.parametrize(
    ("event", "progress", "has_result"),
    [(TrainingProgress(stage="export", fraction=0.7), 0.7, False), (MODEL, 1.0, True)],
)
def test_a_streams_messages(
    event: TrainingProgress | ModelVersion, progress: float, has_result: bool
) -> None:
    message = trainings.training_event_to_proto(event)
    assert message.progress == progress
    assert message.HasField("result") is has_result
