"""OptimizeOffer through a real stub: what it answers, what it refuses, and what it costs."""

from pathlib import Path

import numpy as np
import pytest

from deploy.local.bootstrap import DatabaseAddresses
from gen.campaigns.optimizer.v1.offers_pb2 import OptimizeOfferRequest as Request
from gen.campaigns.optimizer.v1.optimizer_service_pb2_grpc import OptimizerServiceStub
from gen.campaigns.type.v1 import campaign_pb2
from gen.inference import grpc_service_pb2 as inference_pb
from gen.inference import grpc_service_pb2_grpc as inference_grpc
from services.common.grpc_client import open_channel
from tests.contract.optimizer.conftest import Trained
from tests.contract.optimizer.harness import (
    insert_world,
    optimizer_settings,
    refused_offer,
    running_model_server,
    running_optimizer,
)
from tests.unit.optimizer.synthetic import MEAN_REVENUE, build_world, true_rate

FLASH_SALE = campaign_pb2.CAMPAIGN_TYPE_FLASH_SALE


async def test_each_objective_is_made_most_of(stub: OptimizerServiceStub) -> None:
    """With a constant revenue per conversion, revenue and rate are highest where the curve is highest."""
    answers = {
        objective: await stub.OptimizeOffer(Request(campaign_id="campaign-1", objective=objective))
        for objective in ("", "profit", "conversion_rate", "revenue")
    }
    assert answers[""] == answers["profit"]
    for objective in ("profit", "conversion_rate", "revenue"):
        answer = answers[objective]
        supported = [point for point in answer.response_curve if point.is_supported]
        best = max(supported, key=lambda point: point.objective_value)
        assert answer.offer_amount == best.offer_amount
        assert answer.objective == objective
    assert answers["profit"].offer_amount < answers["conversion_rate"].offer_amount
    assert answers["revenue"].offer_amount == answers["conversion_rate"].offer_amount
    rate = answers["conversion_rate"]
    assert all(point.objective_value == point.predicted_conversion_rate for point in rate.response_curve)
    assert any("last one that the data supports" in warning for warning in rate.warnings)


async def test_the_improvement_is_the_objectives_against_the_current_offer(
    stub: OptimizerServiceStub, trained: Trained
) -> None:
    answer = await stub.OptimizeOffer(Request(campaign_id="campaign-2"))
    by_offer = {point.offer_amount: point for point in answer.response_curve}
    current = by_offer[answer.current_offer]
    best = by_offer[answer.offer_amount]
    assert answer.current_offer == trained.world.last_offers[2] / 1e6
    assert answer.expected_improvement_percent == pytest.approx(
        100 * (best.objective_value / current.objective_value - 1)
    )


async def test_the_interval_covers_about_nine_in_ten_days(
    stub: OptimizerServiceStub, trained: Trained
) -> None:
    """Observed rates of new days, drawn from the truth as the world draws them, at the recommended offers."""
    rng = np.random.default_rng(5)
    covered, tries = 0, 0
    for campaign in range(len(trained.world.campaign_types)):
        answer = await stub.OptimizeOffer(Request(campaign_id=f"campaign-{campaign}"))
        rate = true_rate(
            trained.world.campaign_types[campaign],
            float(trained.world.own_levels[campaign]),
            np.array([answer.offer_amount]),
        )[0]
        # The answer is for a Friday (weekday effect 0.25), a day's own luck has spread 0.1, 150 views.
        logits = np.log(rate / (1 - rate)) + 0.25 + rng.normal(0.0, 0.1, 40)
        observed = rng.binomial(150, 1 / (1 + np.exp(-logits))) / 150
        interval = answer.predicted_conversion_rate_interval
        covered += int(np.sum((observed >= interval.lower) & (observed <= interval.upper)))
        tries += len(observed)
    assert 0.82 <= covered / tries <= 0.97


async def test_a_wrong_request_is_refused_by_field(stub: OptimizerServiceStub) -> None:
    """The other wrong requests are in the unit tests of convert."""
    refused = await refused_offer(stub, Request(campaign_id="campaign-1", objective="fame"))
    assert (refused.code, refused.reason) == ("INVALID_ARGUMENT", "VALUE_UNKNOWN")
    assert refused.fields == ("objective",)


@pytest.mark.parametrize("campaign_id", ["a\0", "a" * 129, "a" * 100_000])
async def test_what_can_be_no_campaign_id_is_not_looked_up(
    stub: OptimizerServiceStub, campaign_id: str
) -> None:
    refused = await refused_offer(stub, Request(campaign_id=campaign_id))
    assert (refused.code, refused.reason) == ("INVALID_ARGUMENT", "TEXT_INVALID")
    assert refused.fields == ("campaign_id",)


async def test_what_the_catalog_does_not_know_is_not_found(stub: OptimizerServiceStub) -> None:
    longest = "é" * 128
    campaign = await refused_offer(stub, Request(campaign_id="nobody"))
    longer = await refused_offer(stub, Request(campaign_id=longest))
    merchant = await refused_offer(stub, Request(campaign_type=FLASH_SALE, merchant_id=777))
    assert (campaign.code, campaign.reason) == ("NOT_FOUND", "CAMPAIGN_UNKNOWN")
    assert (campaign.message, campaign.metadata) == ("no campaign 'nobody'", {"campaign_id": "nobody"})
    assert (longer.reason, longer.metadata) == ("CAMPAIGN_UNKNOWN", {"campaign_id": longest})
    assert (merchant.code, merchant.reason) == ("NOT_FOUND", "MERCHANT_UNKNOWN")
    assert (merchant.message, merchant.metadata) == ("no merchant 777", {"merchant_id": "777"})


async def test_what_the_data_cannot_speak_of_is_refused(
    stub: OptimizerServiceStub, database: DatabaseAddresses
) -> None:
    other = [
        ("untried-type", row[1], row[2], *row[3:6], 7, 1) for row in build_world(campaigns=1, days=3).rows
    ]
    typeless = [("typeless", *row[1:6], None, 1) for row in other]
    await insert_world(database.admin, [*other, *typeless])
    untried = await refused_offer(stub, Request(campaign_id="untried-type"))
    unknown = await refused_offer(stub, Request(campaign_id="typeless"))
    assert (untried.code, untried.reason) == ("FAILED_PRECONDITION", "OFFER_UNSUPPORTED")
    assert (unknown.code, unknown.reason) == ("FAILED_PRECONDITION", "OFFER_UNSUPPORTED")
    assert "campaign_type" in unknown.message


async def test_without_revenue_profit_is_refused_and_the_rate_still_answered(
    stub: OptimizerServiceStub, database: DatabaseAddresses
) -> None:
    quiet = [("quiet", *row[1:]) for row in build_world(campaigns=1, days=10).rows]
    await insert_world(database.admin, quiet, revenue=False)
    refused = await refused_offer(stub, Request(campaign_id="quiet"))
    answer = await stub.OptimizeOffer(Request(campaign_id="quiet", objective="conversion_rate"))
    assert (refused.code, refused.reason) == ("FAILED_PRECONDITION", "REVENUE_UNKNOWN")
    assert "conversion_rate" in refused.message
    assert "in the 90 whole days before today" in refused.message
    assert answer.current_offer * 1e6 == quiet[-1][2]  # the catalog knows none: the last one sent


async def test_where_no_offer_earns_anything_none_is_recommended(
    stub: OptimizerServiceStub, database: DatabaseAddresses
) -> None:
    poor = [("poor", *row[1:]) for row in build_world(campaigns=1, days=10).rows]
    await insert_world(database.admin, poor, gross_margin_rate=0.1)
    refused = await refused_offer(stub, Request(campaign_id="poor"))
    assert MEAN_REVENUE * 0.1 < 5.0
    assert (refused.code, refused.reason) == ("FAILED_PRECONDITION", "OFFER_UNPROFITABLE")


async def test_an_answer_costs_one_inference(
    database: DatabaseAddresses, trained: Trained, tmp_path: Path
) -> None:
    world = trained.world
    await insert_world(database.admin, world.rows)
    await trained.publish(database.optimizer, tmp_path)
    async with (
        running_model_server(tmp_path) as port,
        running_optimizer(optimizer_settings(database.optimizer, tmp_path, port)) as stub,
        open_channel(f"127.0.0.1:{port}") as channel,
    ):
        await stub.OptimizeOffer(Request(campaign_id="campaign-1"))
        await stub.OptimizeOffer(Request(campaign_id="campaign-2"))
        models = inference_grpc.GRPCInferenceServiceStub(channel)
        statistics = await models.ModelStatistics(inference_pb.ModelStatisticsRequest(name="conversion"))
    (served,) = statistics.model_stats
    assert served.execution_count == 2
    assert served.inference_count >= 2 * 41
