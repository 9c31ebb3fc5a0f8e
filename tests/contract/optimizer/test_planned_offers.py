"""Offers of campaigns that are planned, new or paused: what nobody saw is said, and is in the intervals."""

from datetime import timedelta

import asyncpg
import pytest

from deploy.local.bootstrap import DatabaseAddresses
from gen.campaigns.optimizer.v1.offers_pb2 import OptimizeOfferRequest as Request
from gen.campaigns.optimizer.v1.offers_pb2 import OptimizeOfferResponse
from gen.campaigns.optimizer.v1.optimizer_service_pb2_grpc import OptimizerServiceStub
from gen.campaigns.optimizer.v1.prediction_pb2 import PredictCampaignRequest
from gen.campaigns.type.v1 import campaign_pb2
from tests.contract.optimizer.harness import (
    insert_world,
    refused_offer,
)
from tests.unit.optimizer.synthetic import build_world

FLASH_SALE = campaign_pb2.CAMPAIGN_TYPE_FLASH_SALE


async def test_a_planned_campaign_is_scaled_to_the_rate_its_planner_saw(stub: OptimizerServiceStub) -> None:
    request = Request(
        campaign_type=FLASH_SALE, merchant_id=2, current_offer=10.0, current_conversion_rate=0.15
    )
    answer = await stub.OptimizeOffer(request)
    at_ten = next(point for point in answer.response_curve if point.offer_amount == 10.0)
    assert answer.campaign_id == ""
    assert at_ten.predicted_conversion_rate == pytest.approx(0.15)
    assert answer.current_offer == 10.0
    assert answer.expected_improvement_percent > 0.0
    assert any("How many views are behind" in warning for warning in answer.warnings)


@pytest.mark.parametrize("current", [1000.0, 1_000_000.0, 1.0])
async def test_a_rate_seen_where_the_data_cannot_speak_sets_no_level(
    stub: OptimizerServiceStub, current: float
) -> None:
    """The slope is not extrapolated to it; without the rate the offer is only not compared with."""
    plan = Request(
        campaign_type=FLASH_SALE, merchant_id=2, current_offer=current, current_conversion_rate=0.15
    )
    refusal = await refused_offer(stub, plan)
    assert refusal.reason == "OFFER_UNSUPPORTED"
    assert refusal.metadata["field"] == "current_offer"
    assert refusal.metadata["tried_offers"]
    plan.ClearField("current_conversion_rate")
    answer = await stub.OptimizeOffer(plan)
    assert not answer.HasField("expected_improvement_percent")
    assert any("nothing is compared with it" in warning for warning in answer.warnings)


async def test_a_planned_campaign_takes_its_merchants_mean_margin(
    stub: OptimizerServiceStub, database: DatabaseAddresses
) -> None:
    """Half of the merchant's campaigns have 0.5, the others 0.7; a campaign without one is treated alike."""
    connection = await asyncpg.connect(database.admin)
    try:
        names = await connection.fetch(
            "select campaign_id from analytics.campaigns where merchant_id = 2 order by campaign_id"
        )
        first, second, third = (name["campaign_id"] for name in names[:3])
        await connection.execute("update analytics.campaigns set gross_margin_rate = null")
        await connection.executemany(
            "update analytics.campaigns set gross_margin_rate = $2 where campaign_id = $1",
            [(first, 0.5), (second, 0.7)],
        )
    finally:
        await connection.close()
    plan = Request(campaign_type=FLASH_SALE, merchant_id=2)
    taken = await stub.OptimizeOffer(plan)
    without = await stub.OptimizeOffer(Request(campaign_id=third))
    plan.gross_margin_rate = 0.6
    stated = await stub.OptimizeOffer(plan)
    assert taken.gross_margin_rate == without.gross_margin_rate == pytest.approx(0.6)
    assert taken.response_curve == stated.response_curve
    assert taken.currency_code == without.currency_code == "USD"
    said = "the mean of the merchant's 2 campaigns with one is taken: 0.600 (0.500 to 0.700)."
    assert [any(said in warning for warning in answer.warnings) for answer in (taken, without, stated)] == [
        True,
        True,
        False,
    ]
    plan.gross_margin_rate = 0.3
    assert (await stub.OptimizeOffer(plan)).offer_amount < stated.offer_amount


async def test_where_no_margin_is_known_none_is_kept_and_no_confidence_claimed(
    stub: OptimizerServiceStub, database: DatabaseAddresses
) -> None:
    connection = await asyncpg.connect(database.admin)
    try:
        await connection.execute("update analytics.campaigns set gross_margin_rate = null")
    finally:
        await connection.close()
    plan = Request(campaign_type=FLASH_SALE, merchant_id=2, current_offer=6.0)
    guessed = await stub.OptimizeOffer(plan)
    plan.gross_margin_rate = 1.0
    known = await stub.OptimizeOffer(plan)
    assert guessed.offer_amount == known.offer_amount
    assert not guessed.HasField("gross_margin_rate")
    assert guessed.confidence < known.confidence
    assert guessed.confidence < 0.8
    assert any("nor for its merchant's" in warning for warning in guessed.warnings)
    for asked in (
        Request(campaign_type=FLASH_SALE, merchant_id=2, minimum_profit_margin=0.5),
        Request(campaign_id="campaign-1", minimum_profit_margin=0.5),
    ):
        refused = await refused_offer(stub, asked)
        assert (refused.code, refused.reason) == ("FAILED_PRECONDITION", "GROSS_MARGIN_UNKNOWN")
        assert refused.metadata["field"] == "gross_margin_rate"


async def test_what_a_planned_campaign_is_compared_with_does_not_move_it(stub: OptimizerServiceStub) -> None:
    """Nor what is predicted of it: both have one level and one curve."""
    answers = [
        await stub.OptimizeOffer(Request(campaign_type=FLASH_SALE, merchant_id=2, current_offer=offer))
        for offer in (2.0, 10.0, 24.0, 100.0)
    ]
    alone = await stub.OptimizeOffer(Request(campaign_type=FLASH_SALE, merchant_id=2))
    for answer in answers:
        assert answer.response_curve == alone.response_curve
        assert answer.offer_amount == alone.offer_amount
    for point in alone.response_curve:
        if point.is_supported:
            plan = PredictCampaignRequest(
                campaign_type=FLASH_SALE, merchant_id=2, offer_amount=point.offer_amount
            )
            predicted = (await stub.PredictCampaign(plan)).predicted_conversion_rate
            assert point.predicted_conversion_rate == pytest.approx(predicted, abs=1e-6)


async def test_a_planned_campaign_without_an_offer_has_nothing_to_be_compared_with(
    stub: OptimizerServiceStub,
) -> None:
    answer = await stub.OptimizeOffer(Request(campaign_type=FLASH_SALE, merchant_id=2))
    assert not answer.HasField("current_offer")
    assert not answer.HasField("expected_improvement_percent")
    assert not answer.HasField("confidence")
    assert answer.confidence_method == ""
    assert 5.0 <= answer.offer_amount <= 25.0


def width(answer: OptimizeOfferResponse) -> float:
    interval = answer.predicted_conversion_rate_interval
    return interval.upper - interval.lower


async def test_a_rate_that_nobody_saw_widens_the_interval_by_what_campaigns_differ_in(
    stub: OptimizerServiceStub,
) -> None:
    plan = Request(campaign_type=FLASH_SALE, merchant_id=2, current_offer=10.0)
    unknown = await stub.OptimizeOffer(plan)
    plan.current_conversion_rate = next(
        point.predicted_conversion_rate for point in unknown.response_curve if point.offer_amount == 10.0
    )
    unsure = await stub.OptimizeOffer(plan)
    plan.current_views = 100_000
    known = await stub.OptimizeOffer(plan)
    assert known.offer_amount == pytest.approx(unknown.offer_amount, abs=1.0)
    assert width(unknown) > 1.2 * width(known) > 0.0
    assert width(unsure) > 1.2 * width(known)
    said = [any("Nobody has seen" in warning for warning in answer.warnings) for answer in (unknown, known)]
    assert said == [True, False]


async def test_a_campaign_without_recent_history_is_answered_with_a_warning(
    stub: OptimizerServiceStub, database: DatabaseAddresses
) -> None:
    fresh = [("fresh", row[1].replace(year=2025), *row[2:]) for row in build_world(campaigns=1, days=3).rows]
    await insert_world(database.admin, fresh, catalog_offers=[10_000_000])
    answer = await stub.OptimizeOffer(Request(campaign_id="fresh", objective="conversion_rate"))
    assert any("no impressions in the last 28 days" in warning for warning in answer.warnings)
    assert answer.current_offer == 10.0
    assert 0.1 < width(answer) < 0.9
    assert any("Nobody has seen this campaign's rate" in warning for warning in answer.warnings)


async def test_a_campaign_that_pauses_is_answered_for_as_it_was_when_it_last_ran(
    stub: OptimizerServiceStub, database: DatabaseAddresses
) -> None:
    """It paused 40 days ago: days, offers and history are those before, and the interval is as meaningful."""
    running = build_world(campaigns=1, days=30).rows
    pause = timedelta(days=40)
    await insert_world(database.admin, [("running", *row[1:]) for row in running])
    await insert_world(database.admin, [("paused", row[1] - pause, *row[2:]) for row in running])
    now = await stub.OptimizeOffer(Request(campaign_id="running"))
    then = await stub.OptimizeOffer(Request(campaign_id="paused"))
    last_day = max(row[1] for row in running) - pause
    assert any(f"as it was until {last_day}" in warning for warning in then.warnings)
    assert then.predicted_conversion_rate == pytest.approx(now.predicted_conversion_rate, abs=0.05)
    widths = [
        answer.predicted_conversion_rate_interval.upper - answer.predicted_conversion_rate_interval.lower
        for answer in (now, then)
    ]
    assert widths[1] == pytest.approx(widths[0], rel=0.2)
    assert 0.0 < widths[1] < 0.5


async def test_a_current_offer_outside_the_datas_support_is_not_compared_with(
    stub: OptimizerServiceStub,
) -> None:
    answer = await stub.OptimizeOffer(Request(campaign_type=FLASH_SALE, merchant_id=2, current_offer=80.0))
    assert answer.current_offer == 80.0
    assert not answer.HasField("expected_improvement_percent")
    assert any("does not support the current offer" in warning for warning in answer.warnings)
