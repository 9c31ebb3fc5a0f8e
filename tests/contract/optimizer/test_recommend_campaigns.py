"""RecommendCampaigns through a real stub, database and model server; affinities are what the test says."""

import math
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import asyncpg
import grpc
import pytest

from deploy.local.bootstrap import DatabaseAddresses
from gen.campaigns.optimizer.v1.campaigns_for_user_pb2 import RecommendCampaignsRequest as Request
from gen.campaigns.optimizer.v1.offers_pb2 import OptimizeOfferRequest
from gen.campaigns.optimizer.v1.optimizer_service_pb2_grpc import (
    OptimizerServiceStub,
    add_OptimizerServiceServicer_to_server,
)
from gen.inference import grpc_service_pb2 as inference_pb
from gen.inference import grpc_service_pb2_grpc as inference_grpc
from services.common.database import Database
from services.common.errors import NotFoundError
from services.common.grpc_client import open_channel
from services.common.grpc_server import Service, build_server
from services.optimizer.domain.affinity.answer import MerchantAffinity, ScoreRange, UserScores
from services.optimizer.domain.affinity.response import AffinityResponse
from services.optimizer.model_client import ModelClient
from services.optimizer.operations.campaign_choice import CampaignChoiceOperations
from services.optimizer.operations.campaign_rates import CampaignRates
from services.optimizer.operations.lookup import LiveModel
from services.optimizer.servicer.campaign_choice import CampaignChoiceMethods
from services.optimizer.settings import OptimizerSettings
from tests.contract.optimizer.conftest import Trained
from tests.contract.optimizer.harness import (
    NOON,
    insert_world,
    optimizer_settings,
    refusal_of,
    running_model_server,
    running_optimizer,
)
from tests.unit.optimizer.synthetic import SyntheticWorld, build_world

NEAREST, OTHER = 3, 7
"""Merchants that the user is near to, and less so."""
TOLD = AffinityResponse(
    exponent=0.5,
    standard_error=0.1,
    usual_log_score=math.log(0.3),
    least_score=0.1,
    views=9_000,
    conversions=900,
)


class Affinities:
    """A user's affinities to the merchants asked about: 0.6 to one, 0.2 to all others; 9 is not known."""

    async def scores_of(self, user_id: str, merchant_ids: Sequence[int]) -> UserScores:
        if user_id == "nobody":
            raise NotFoundError("no user 'nobody'", reason="USER_UNKNOWN")
        known = {merchant: 0.6 if merchant == NEAREST else 0.2 for merchant in merchant_ids if merchant != 9}

        def explain(chosen: Sequence[int]) -> tuple[MerchantAffinity, ...]:
            return tuple(
                MerchantAffinity(
                    merchant_id=merchant,
                    merchant_name=f"merchant {merchant}",
                    score=known[merchant],
                    score_range=ScoreRange(lower=0.1, upper=0.7),
                    reasons=(f"bought at merchant {merchant} before",),
                    is_returning=True,
                    distance_km=1.0,
                )
                for merchant in chosen
            )

        return UserScores(scores=known, explain=explain, response=TOLD)


@dataclass(frozen=True, kw_only=True)
class Stand:
    stub: OptimizerServiceStub
    world: SyntheticWorld
    admin_url: str
    model_port: int
    settings: OptimizerSettings


@pytest.fixture
async def stand(database: DatabaseAddresses, trained: Trained, tmp_path: Path) -> AsyncIterator[Stand]:
    await insert_world(database.admin, trained.world.rows, catalog_offers=trained.world.last_offers)
    await trained.publish(database.optimizer, tmp_path)
    async with running_model_server(tmp_path) as port:
        own = await Database.open(database.optimizer, application_name="test")
        settings = optimizer_settings(database.optimizer, tmp_path, port)
        try:
            async with open_channel(f"127.0.0.1:{port}") as models:
                servicer = CampaignChoiceMethods()
                servicer.campaign_choice = CampaignChoiceOperations(
                    own,
                    affinities=Affinities(),
                    rates=CampaignRates(
                        own, ModelClient(models, inference_seconds=60, load_seconds=60), kept={}
                    ),
                    live=LiveModel(),
                    now=lambda: NOON,
                )
                service = Service(
                    name="campaigns.optimizer.v1.OptimizerService",
                    register=lambda server: add_OptimizerServiceServicer_to_server(servicer, server),
                )
                server = build_server(settings=settings, services=[service])
                bound = server.add_insecure_port("127.0.0.1:0")
                await server.start()
                try:
                    async with open_channel(f"127.0.0.1:{bound}") as channel:
                        yield Stand(
                            stub=OptimizerServiceStub(channel),
                            world=trained.world,
                            admin_url=database.admin,
                            model_port=port,
                            settings=settings,
                        )
                finally:
                    await server.stop(None)
        finally:
            await own.close()


async def test_active_campaigns_are_ranked_by_affinity_and_response(stand: Stand) -> None:
    answer = await stand.stub.RecommendCampaigns(Request(user_id="u", limit=1000))
    merchants = stand.world.merchant_ids
    assert {campaign.campaign_id for campaign in answer.campaigns} == {
        f"campaign-{index}" for index, merchant in enumerate(merchants) if merchant != 9
    }
    assert answer.left_out_campaigns == sum(merchant == 9 for merchant in merchants)
    assert answer.model_version == 1
    assert answer.affinity_exponent == TOLD.exponent
    interval = answer.affinity_exponent_interval
    assert (interval.lower, interval.upper) == pytest.approx((0.336, 0.664), abs=1e-3)
    assert [campaign.rank for campaign in answer.campaigns] == list(range(1, len(answer.campaigns) + 1))
    best = answer.campaigns[0]
    assert best.score == 1.0
    for campaign in answer.campaigns:
        rate = campaign.predicted_conversion_rate
        odds = rate / (1.0 - rate) * math.sqrt(campaign.affinity_score / 0.3)
        value = odds / (1.0 + odds)
        assert campaign.expected_value == pytest.approx(value)
        assert campaign.score == pytest.approx(value / best.expected_value)
        interval = campaign.predicted_conversion_rate_interval
        assert interval.lower < campaign.predicted_conversion_rate < interval.upper
        assert campaign.affinity_score == (0.6 if campaign.merchant_id == NEAREST else 0.2)
        assert (campaign.affinity_interval.lower, campaign.affinity_interval.upper) == (0.1, 0.7)
        assert f"bought at merchant {campaign.merchant_id} before" in campaign.reasons
        assert len(campaign.reasons) == 3
        index = int(campaign.campaign_id.removeprefix("campaign-"))
        assert campaign.offer_amount == stand.world.last_offers[index] / 1e6
    scores = [campaign.score for campaign in answer.campaigns]
    assert scores == sorted(scores, reverse=True)


async def test_a_campaign_has_the_rate_and_interval_that_its_offer_has(stand: Stand) -> None:
    """Campaigns that run, one that paused, and one that nobody viewed: all as OptimizeOffer answers."""
    rows = build_world(campaigns=1, days=30).rows
    await insert_world(
        stand.admin_url,
        [("paused", row[1] - timedelta(days=40), *row[2:]) for row in rows],
        catalog_offers=[8_000_000],
    )
    old = [("unseen", row[1] - timedelta(days=400), *row[2:]) for row in rows]
    await insert_world(stand.admin_url, old, catalog_offers=[12_000_000])
    answer = await stand.stub.RecommendCampaigns(Request(user_id="u", limit=1000))
    compared = {campaign.campaign_id: campaign for campaign in answer.campaigns}
    assert {"paused", "unseen", "campaign-1"} <= compared.keys()
    async with running_optimizer(stand.settings) as stub:
        for campaign in compared.values():
            ask = OptimizeOfferRequest(campaign_id=campaign.campaign_id, objective="conversion_rate")
            offer = await stub.OptimizeOffer(ask)
            point = next(
                each
                for each in offer.response_curve
                if each.offer_amount == round(campaign.offer_amount * 2) / 2
            )
            if point.offer_amount == campaign.offer_amount:
                assert campaign.predicted_conversion_rate == pytest.approx(point.predicted_conversion_rate)
                mine, other = (
                    campaign.predicted_conversion_rate_interval,
                    point.predicted_conversion_rate_interval,
                )
                assert (mine.lower, mine.upper) == pytest.approx((other.lower, other.upper))


async def test_all_campaigns_cost_one_inference_and_ten_are_answered_unasked(stand: Stand) -> None:
    answer = await stand.stub.RecommendCampaigns(Request(user_id="u"))
    assert len(answer.campaigns) == 10
    async with open_channel(f"127.0.0.1:{stand.model_port}") as channel:
        models = inference_grpc.GRPCInferenceServiceStub(channel)
        statistics = await models.ModelStatistics(inference_pb.ModelStatisticsRequest(name="conversion"))
    assert statistics.model_stats[0].execution_count == 1


async def test_campaigns_that_are_over_or_not_begun_are_not_shown(stand: Stand) -> None:
    connection = await asyncpg.connect(stand.admin_url)
    try:
        await connection.execute(
            "update analytics.campaigns set start_at = $1, end_at = $2 where campaign_id = 'campaign-0'",
            NOON - timedelta(days=9),
            NOON,
        )
        await connection.execute(
            "update analytics.campaigns set start_at = $1 where campaign_id = 'campaign-1'",
            NOON + timedelta(hours=1),
        )
        await connection.execute(
            "update analytics.campaigns set start_at = $1, end_at = $2 where campaign_id = 'campaign-2'",
            NOON,
            NOON + timedelta(seconds=1),
        )
    finally:
        await connection.close()
    answer = await stand.stub.RecommendCampaigns(Request(user_id="u", limit=1000))
    shown = {campaign.campaign_id for campaign in answer.campaigns}
    assert shown.isdisjoint({"campaign-0", "campaign-1"})
    assert "campaign-2" in shown


async def test_the_offer_last_sent_stands_in_for_one_the_catalog_does_not_know(stand: Stand) -> None:
    connection = await asyncpg.connect(stand.admin_url)
    try:
        await connection.execute("update analytics.campaigns set offer_amount_micros = null")
    finally:
        await connection.close()
    answer = await stand.stub.RecommendCampaigns(Request(user_id="u", limit=1000))
    assert {campaign.campaign_id: campaign.offer_amount for campaign in answer.campaigns} == {
        f"campaign-{index}": offer / 1e6
        for index, offer in enumerate(stand.world.last_offers)
        if stand.world.merchant_ids[index] != 9
    }


async def test_without_an_active_campaign_nothing_is_shown(stand: Stand) -> None:
    connection = await asyncpg.connect(stand.admin_url)
    try:
        await connection.execute("update analytics.campaigns set end_at = $1", NOON)
    finally:
        await connection.close()
    answer = await stand.stub.RecommendCampaigns(Request(user_id="u"))
    assert list(answer.campaigns) == []
    assert answer.left_out_campaigns == 0
    assert not answer.HasField("model_version")
    assert not answer.HasField("affinity_exponent")


@pytest.mark.parametrize(
    ("request_", "code", "reason", "fields"),
    [
        (Request(), "INVALID_ARGUMENT", "FIELD_REQUIRED", ("user_id",)),
        (Request(user_id="x" * 129), "INVALID_ARGUMENT", "TEXT_INVALID", ("user_id",)),
        (Request(user_id="u", limit=0), "INVALID_ARGUMENT", "VALUE_OUT_OF_RANGE", ("limit",)),
        (Request(user_id="u", limit=1001), "INVALID_ARGUMENT", "VALUE_OUT_OF_RANGE", ("limit",)),
        (Request(user_id="nobody"), "NOT_FOUND", "USER_UNKNOWN", ()),
    ],
)
async def test_a_wrong_question_is_refused(
    stand: Stand, request_: Request, code: str, reason: str, fields: tuple[str, ...]
) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await stand.stub.RecommendCampaigns(request_)
    refusal = refusal_of(refused.value)
    assert (refusal.code, refusal.reason, refusal.fields) == (code, reason, fields)


async def test_without_a_model_or_affinities_the_remedy_is_named(
    database: DatabaseAddresses, trained: Trained, tmp_path: Path
) -> None:
    await insert_world(database.admin, trained.world.rows)
    settings = optimizer_settings(database.optimizer, tmp_path, 1)
    async with running_optimizer(settings) as stub:
        with pytest.raises(grpc.aio.AioRpcError) as untrained:
            await stub.RecommendCampaigns(Request(user_id="u"))
        await trained.publish(database.optimizer, tmp_path)
        with pytest.raises(grpc.aio.AioRpcError) as unfitted:
            await stub.RecommendCampaigns(Request(user_id="u"))
    assert [refusal_of(error.value).reason for error in (untrained, unfitted)] == [
        "MODEL_NOT_TRAINED",
        "AFFINITY_NOT_FITTED",
    ]
    assert "TrainModel" in refusal_of(untrained.value).message
    assert "affinity_model" in refusal_of(unfitted.value).message
