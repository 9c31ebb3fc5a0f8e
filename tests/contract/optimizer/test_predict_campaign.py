"""PredictCampaign through a real stub: what it expects, with which intervals, and what it refuses."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import asyncpg
import grpc
import pytest

from deploy.local.bootstrap import DatabaseAddresses
from gen.campaigns.optimizer.v1.optimizer_service_pb2_grpc import OptimizerServiceStub
from gen.campaigns.optimizer.v1.prediction_pb2 import PredictCampaignRequest as Request
from gen.campaigns.type.v1 import campaign_pb2
from tests.contract.optimizer.conftest import Trained
from tests.contract.optimizer.harness import (
    insert_world,
    optimizer_settings,
    refusal_of,
    running_optimizer,
)
from tests.unit.optimizer.synthetic import MEAN_REVENUE, SyntheticWorld

FLASH_SALE = campaign_pb2.CAMPAIGN_TYPE_FLASH_SALE


@dataclass(frozen=True, kw_only=True)
class Stand:
    """The optimizer over the trained world, without a model server, and the world."""

    stub: OptimizerServiceStub
    world: SyntheticWorld
    admin_url: str


@pytest.fixture
async def stand(database: DatabaseAddresses, trained: Trained, tmp_path: Path) -> AsyncIterator[Stand]:
    await insert_world(database.admin, trained.world.rows)
    await trained.publish(database.optimizer, tmp_path)
    async with running_optimizer(optimizer_settings(database.optimizer, tmp_path, 1)) as stub:
        yield Stand(stub=stub, world=trained.world, admin_url=database.admin)


def plan(offer: float = 15.0, impressions: int | None = 10_000) -> Request:
    return Request(campaign_type=FLASH_SALE, merchant_id=2, offer_amount=offer, impressions=impressions)


async def test_a_plan_is_answered_with_rates_sums_and_intervals(stand: Stand) -> None:
    answer = await stand.stub.PredictCampaign(plan())
    seen = [row for row in stand.world.rows if row[6] == FLASH_SALE and row[2] == 15_000_000]
    observed = sum(row[5] for row in seen) / sum(row[4] for row in seen)
    interval = answer.predicted_conversion_rate_interval
    assert interval.lower < answer.predicted_conversion_rate < interval.upper
    assert interval.lower < observed < interval.upper
    assert interval.upper - interval.lower > 0.05
    assert answer.predicted_views == pytest.approx(5_000, rel=0.02)
    assert answer.predicted_conversions == pytest.approx(
        answer.predicted_views * answer.predicted_conversion_rate, rel=1e-3
    )
    assert answer.predicted_conversions_interval.lower < answer.predicted_conversions
    assert answer.predicted_conversions_interval.upper > answer.predicted_conversions
    assert answer.predicted_revenue == pytest.approx(answer.predicted_conversions * MEAN_REVENUE, rel=1e-3)
    assert answer.predicted_revenue_interval.lower < answer.predicted_revenue
    assert answer.predicted_revenue_interval.upper > answer.predicted_revenue
    assert answer.currency_code == "USD"
    assert answer.compared_campaigns == 15
    assert answer.model_version == 1
    assert len(answer.warnings) == 1

    assert await stand.stub.PredictCampaign(plan()) == answer


async def test_a_higher_offer_is_expected_to_convert_more(stand: Stand) -> None:
    low, high = [
        (await stand.stub.PredictCampaign(plan(offer))).predicted_conversion_rate for offer in (7.5, 20.0)
    ]
    assert high > 1.5 * low


async def test_without_impressions_there_are_rates_and_no_sums(stand: Stand) -> None:
    answer = await stand.stub.PredictCampaign(plan(impressions=None))
    assert {field.name for field, _ in answer.ListFields()} == {
        "predicted_conversion_rate",
        "predicted_conversion_rate_interval",
        "model_version",
        "compared_campaigns",
        "warnings",
    }


async def test_revenue_stays_unset_where_nobody_knows_it(stand: Stand) -> None:
    connection = await asyncpg.connect(stand.admin_url)
    try:
        await connection.execute("insert into analytics.merchants (merchant_id) values (77)")
    finally:
        await connection.close()
    request = plan()
    request.merchant_id = 77
    answer = await stand.stub.PredictCampaign(request)
    assert answer.HasField("predicted_conversions")
    assert not answer.HasField("predicted_revenue")
    assert any(warning.startswith("No revenue is predicted") for warning in answer.warnings)


@pytest.mark.parametrize(
    ("request_", "code", "reason", "fields"),
    [
        (Request(), "INVALID_ARGUMENT", "FIELD_REQUIRED", ("campaign_type",)),
        (Request(campaign_type=FLASH_SALE), "INVALID_ARGUMENT", "FIELD_REQUIRED", ("merchant_id",)),
        (
            Request(campaign_type=FLASH_SALE, merchant_id=2),
            "INVALID_ARGUMENT",
            "FIELD_REQUIRED",
            ("offer_amount",),
        ),
        (plan(4.99), "INVALID_ARGUMENT", "MONEY_OUT_OF_RANGE", ("offer_amount",)),
        (plan(25.01), "INVALID_ARGUMENT", "MONEY_OUT_OF_RANGE", ("offer_amount",)),
        (plan(impressions=0), "INVALID_ARGUMENT", "VALUE_OUT_OF_RANGE", ("impressions",)),
        (
            Request(campaign_type=FLASH_SALE, merchant_id=777, offer_amount=15.0),
            "NOT_FOUND",
            "MERCHANT_UNKNOWN",
            (),
        ),
        (
            Request(campaign_type=campaign_pb2.CAMPAIGN_TYPE_CROSS_SELL, merchant_id=2, offer_amount=15.0),
            "FAILED_PRECONDITION",
            "OFFER_UNSUPPORTED",
            (),
        ),
    ],
)
async def test_what_cannot_be_predicted_is_refused(
    stand: Stand, request_: Request, code: str, reason: str, fields: tuple[str, ...]
) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await stand.stub.PredictCampaign(request_)
    refusal = refusal_of(refused.value)
    assert (refusal.code, refusal.reason, refusal.fields) == (code, reason, fields)
