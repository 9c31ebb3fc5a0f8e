"""Offers of campaigns that are planned, new or paused: what nobody saw is said, and is in the intervals."""

from datetime import timedelta

import pytest

from deploy.local.bootstrap import DatabaseAddresses
from gen.campaigns.optimizer.v1.offers_pb2 import OptimizeOfferRequest as Request
from gen.campaigns.optimizer.v1.offers_pb2 import OptimizeOfferResponse
from gen.campaigns.optimizer.v1.optimizer_service_pb2_grpc import OptimizerServiceStub
from gen.campaigns.type.v1 import campaign_pb2
from tests.contract.optimizer.harness import (
    insert_world,
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
    assert any("No gross margin" in warning for warning in answer.warnings)


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
    known = await stub.OptimizeOffer(plan)
    assert known.offer_amount == unknown.offer_amount
    assert width(unknown) > 1.2 * width(known) > 0.0
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
