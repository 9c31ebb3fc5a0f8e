"""Bad input to every rpc of the optimizer, through a real server: a clear status, nothing of the inside."""

from collections.abc import AsyncIterator
from pathlib import Path
from uuid import UUID

import grpc
import pytest
import pytest_asyncio
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from deploy.local.bootstrap import DatabaseAddresses
from gen.campaigns.optimizer.v1 import (
    affinity_pb2,
    campaigns_for_user_pb2,
    model_changes_pb2,
    models_pb2,
    offer_constraints_pb2,
    offers_pb2,
    operations_service_pb2,
    optimizer_service_pb2,  # noqa: F401 (it fills the pool of descriptors)
    outcomes_pb2,
    policies_pb2,
    prediction_pb2,
    recommendations_pb2,
    segments_pb2,
    send_time_pb2,
    training_pb2,
)
from gen.campaigns.type.v1 import campaign_pb2
from services.common.errors import FailedPreconditionError
from tests.bad_input import broken_bytes, hostile_requests, judge, list_rpcs, refuse
from tests.contract.optimizer.conftest import Trained
from tests.contract.optimizer.harness import (
    insert_world,
    optimizer_settings,
    running_channel,
    running_model_server,
)
from tests.contract.optimizer.trainers import ScriptedTrainer

pytestmark = pytest.mark.asyncio(loop_scope="module")

RPCS = {rpc.name: rpc for rpc in list_rpcs("campaigns.optimizer.v1.")}
FLASH_SALE = campaign_pb2.CAMPAIGN_TYPE_FLASH_SALE
CAMPAIGN = "campaign-1"
NO_RECOMMENDATION = "7d1c5a52-6c3e-4a0e-9d0a-6f3f0a0b0c0d"
APPLIED = Timestamp(seconds=1_795_000_000)
FIT: dict[str, Message] = {
    "OptimizerService.GetMerchantAffinity": affinity_pb2.GetMerchantAffinityRequest(user_id="anna", limit=5),
    "OptimizerService.OptimizeOffer": offers_pb2.OptimizeOfferRequest(campaign_id=CAMPAIGN),
    "OptimizerService.OptimizeSendTime": send_time_pb2.OptimizeSendTimeRequest(
        user_id="anna", campaign_type=FLASH_SALE, quiet_start_hour=22, quiet_end_hour=7
    ),
    "OptimizerService.SetOfferConstraints": offer_constraints_pb2.SetOfferConstraintsRequest(
        campaign_id=CAMPAIGN, maximum_offer=20.0, minimum_profit_margin=0.1, daily_budget=500.0, actor="ann"
    ),
    "OptimizerService.GetOfferConstraints": offer_constraints_pb2.GetOfferConstraintsRequest(
        campaign_id=CAMPAIGN
    ),
    "OptimizerService.PredictCampaign": prediction_pb2.PredictCampaignRequest(
        campaign_type=FLASH_SALE, merchant_id=2, offer_amount=15.0, impressions=1_000
    ),
    "OptimizerService.RecommendCampaigns": campaigns_for_user_pb2.RecommendCampaignsRequest(
        user_id="anna", limit=5
    ),
    "OptimizerService.CancelTraining": training_pb2.CancelTrainingRequest(
        training_id="1f1c5a52-6c3e-4a0e-9d0a-6f3f0a0b0c0d", actor="anna", comment="not now"
    ),
    "OptimizerService.GetModel": models_pb2.GetModelRequest(version=1),
    "OptimizerService.GetModelDrift": models_pb2.GetModelDriftRequest(),
    "OptimizerService.ListModels": models_pb2.ListModelsRequest(limit=2, statuses=["live"]),
    "OptimizerService.ListModelChanges": model_changes_pb2.ListModelChangesRequest(limit=2),
    "OptimizerService.ListTrainings": training_pb2.ListTrainingsRequest(limit=2),
    "OptimizerService.RollbackModel": models_pb2.RollbackModelRequest(
        version=1, actor="anna", comment="slow", expected_live_version=1
    ),
    "OptimizerService.TrainModel": training_pb2.TrainModelRequest(actor="anna", comment="new prices"),
    "OptimizerService.TrainModelWithProgress": training_pb2.TrainModelWithProgressRequest(),
    "OptimizerService.GetSegmentRecommendations": segments_pb2.GetSegmentRecommendationsRequest(
        campaign_id=CAMPAIGN
    ),
    "OptimizerService.GetOptimizationRecommendations": (
        recommendations_pb2.GetOptimizationRecommendationsRequest(campaign_id=CAMPAIGN)
    ),
    "OptimizerService.AcceptRecommendation": recommendations_pb2.AcceptRecommendationRequest(
        recommendation_id=NO_RECOMMENDATION, actor="anna", comment="let us"
    ),
    "OptimizerService.DismissRecommendation": recommendations_pb2.DismissRecommendationRequest(
        recommendation_id=NO_RECOMMENDATION, actor="anna", comment="not now"
    ),
    "OptimizerService.MarkRecommendationApplied": recommendations_pb2.MarkRecommendationAppliedRequest(
        recommendation_id=NO_RECOMMENDATION, actor="anna", apply_time=APPLIED
    ),
    "OptimizerService.ListOfferOutcomes": outcomes_pb2.ListOfferOutcomesRequest(
        campaign_id=CAMPAIGN, page_size=5
    ),
    "OptimizerService.EvaluateOfferPolicy": policies_pb2.EvaluateOfferPolicyRequest(
        campaign_ids=[CAMPAIGN],
        rules=[
            policies_pb2.OfferPolicyRule(
                segment_name="loyal", choices=[policies_pb2.OfferChoice(offer_amount=10, probability=1)]
            ),
            policies_pb2.OfferPolicyRule(
                choices=[policies_pb2.OfferChoice(offer_amount=offer, probability=0.5) for offer in (10, 20)]
            ),
        ],
        objective="profit",
        start_date="2026-10-01",
        end_date="2026-10-31",
        minimum_overlap=0.5,
        gross_margin_rate=0.6,
    ),
    "OptimizerOperationsService.ListJobs": operations_service_pb2.ListJobsRequest(),
    "OptimizerOperationsService.RunJob": operations_service_pb2.RunJobRequest(job_name="retrain_model"),
}
"""One request of each rpc that fits the data, or would if there were more of it."""
LISTS = sorted(name for name in FIT if "page_token" in RPCS[name].request.DESCRIPTOR.fields_by_name)
PLANNED_OFFER = offers_pb2.OptimizeOfferRequest(
    campaign_type=FLASH_SALE,
    merchant_id=2,
    current_offer=10.0,
    current_conversion_rate=0.1,
    current_views=500,
    gross_margin_rate=0.6,
    views_per_day=40.0,
    daily_budget=500.0,
)


async def refuse_to_train(_: UUID | None) -> int:
    """A training that finds too little data: what is tested is the request."""
    raise FailedPreconditionError("too little data", reason="DATA_INSUFFICIENT")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def channel(
    module_database: DatabaseAddresses, trained: Trained, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[grpc.aio.Channel]:
    repository: Path = tmp_path_factory.mktemp("models")
    await insert_world(module_database.admin, trained.world.rows)
    await trained.publish(module_database.optimizer, repository)
    async with (
        running_model_server(repository) as port,
        running_channel(
            optimizer_settings(module_database.optimizer, repository, port),
            trainer=ScriptedTrainer(refuse_to_train),
        ) as open_channel,
    ):
        yield open_channel


async def hostile_answers(channel: grpc.aio.Channel, name: str, fit: Message) -> list[str]:
    """Return what is wrong with the answers to the empty request and to each hostile one."""
    rpc = RPCS[name]
    wrong = []
    for how, request in [("the empty request", rpc.request()), *hostile_requests(fit)]:
        if problem := judge(rpc, await refuse(channel, rpc, request.SerializeToString())):
            wrong.append(f"{how} {problem}")
    return wrong


async def test_every_rpc_has_a_request_that_fits() -> None:
    """Whoever adds an rpc says here what it is asked."""
    assert sorted(FIT) == sorted(RPCS)
    for name, request in FIT.items():
        assert isinstance(request, RPCS[name].request), name


@pytest.mark.parametrize("name", sorted(FIT))
async def test_no_value_of_any_field_is_a_defect(channel: grpc.aio.Channel, name: str) -> None:
    wrong = await hostile_answers(channel, name, FIT[name])
    assert not wrong, "\n".join(wrong)


async def test_no_value_of_a_planned_offer_is_a_defect(channel: grpc.aio.Channel) -> None:
    wrong = await hostile_answers(channel, "OptimizerService.OptimizeOffer", PLANNED_OFFER)
    assert not wrong, "\n".join(wrong)


async def test_bytes_that_are_no_request(channel: grpc.aio.Channel) -> None:
    for rpc in RPCS.values():
        for how, content in broken_bytes(rpc.request.DESCRIPTOR):
            refused = await refuse(channel, rpc, content)
            assert refused is not None, f"{rpc.name}: {how}"
            assert (refused.code, refused.reason) == ("INVALID_ARGUMENT", "REQUEST_INVALID"), how


@pytest.mark.parametrize("name", LISTS)
async def test_a_forged_token_is_refused_by_its_field(channel: grpc.aio.Channel, name: str) -> None:
    for token in ("bnVsbA", "W10", "eyJiZWZvcmUiOi0xfQ", "eyJhIjoiXHUwMDAwIn0", "!", "x" * 5000):
        request = RPCS[name].request()
        request.CopyFrom(FIT[name])
        request.page_token = token
        refused = await refuse(channel, RPCS[name], request.SerializeToString())
        assert refused is not None, token
        assert refused.fields == {"page_token": "PAGE_TOKEN_INVALID"}, token
