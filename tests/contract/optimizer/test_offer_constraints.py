"""What offers must keep, set and kept through a real stub; the limit that decides is named."""

import asyncio
from collections.abc import Awaitable

import grpc
import pytest

from deploy.local.bootstrap import DatabaseAddresses
from gen.campaigns.optimizer.v1.offer_constraints_pb2 import GetOfferConstraintsRequest as Get
from gen.campaigns.optimizer.v1.offer_constraints_pb2 import OfferConstraints
from gen.campaigns.optimizer.v1.offer_constraints_pb2 import SetOfferConstraintsRequest as Set
from gen.campaigns.optimizer.v1.offers_pb2 import OptimizeOfferRequest as Ask
from gen.campaigns.optimizer.v1.optimizer_service_pb2_grpc import OptimizerServiceStub
from gen.campaigns.type.v1 import campaign_pb2
from services.common.wire import datetime_to_timestamp
from tests.contract.optimizer.conftest import Trained
from tests.contract.optimizer.harness import NOON, Refusal, fetch_rows, refusal_of, refused_offer
from tests.unit.optimizer.synthetic import MEAN_REVENUE

CAMPAIGN = "campaign-1"


def without_etag(constraints: OfferConstraints) -> OfferConstraints:
    """Return constraints without what stands for them, which must stand for something."""
    assert constraints.etag
    bare = OfferConstraints()
    bare.CopyFrom(constraints)
    bare.etag = ""
    return bare


async def refused(call: Awaitable[object]) -> Refusal:
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await call
    return refusal_of(error.value)


async def test_limits_are_kept_replaced_and_told_with_the_merchants(
    stub: OptimizerServiceStub, trained: Trained, database: DatabaseAddresses
) -> None:
    merchant = trained.world.merchant_ids[1]
    nothing = await stub.GetOfferConstraints(Get(campaign_id=CAMPAIGN))
    assert without_etag(nothing.constraints) == OfferConstraints(campaign_id=CAMPAIGN)
    assert without_etag(nothing.merchant_constraints) == OfferConstraints(merchant_id=merchant)

    first = Set(campaign_id=CAMPAIGN, maximum_offer=12.5, daily_budget=90.0, actor="ann", comment="spring")
    await stub.SetOfferConstraints(first)
    second = Set(campaign_id=CAMPAIGN, minimum_profit_margin=0.25, actor="ben")
    kept = (await stub.SetOfferConstraints(second)).constraints
    await stub.SetOfferConstraints(Set(merchant_id=merchant, maximum_offer=20.0))
    told = await stub.GetOfferConstraints(Get(campaign_id=CAMPAIGN))
    of_merchant = await stub.GetOfferConstraints(Get(merchant_id=merchant))

    assert without_etag(kept) == OfferConstraints(
        campaign_id=CAMPAIGN,
        minimum_profit_margin=0.25,
        actor="ben",
        update_time=datetime_to_timestamp(NOON),
    )
    assert told.constraints == kept
    assert told.merchant_constraints.maximum_offer == 20.0
    assert of_merchant.constraints == told.merchant_constraints
    assert not of_merchant.HasField("merchant_constraints")
    rows = await fetch_rows(database.reporting, "select scope, scope_id from offer_constraints order by 1")
    assert [tuple(row) for row in rows] == [("campaign", CAMPAIGN), ("merchant", str(merchant))]


async def test_constraints_that_somebody_else_set_are_not_replaced(
    stub: OptimizerServiceStub, database: DatabaseAddresses
) -> None:
    unset = (await stub.GetOfferConstraints(Get(campaign_id=CAMPAIGN))).constraints.etag
    rivals = [
        Set(campaign_id=CAMPAIGN, maximum_offer=limit, actor=actor, etag=unset)
        for limit, actor in ((12.5, "ann"), (15.0, "ben"))
    ]
    both = await asyncio.gather(*map(stub.SetOfferConstraints, rivals), return_exceptions=True)
    (place,) = [place for place, answer in enumerate(both) if not isinstance(answer, BaseException)]
    (late,) = [refusal_of(error) for error in both if isinstance(error, grpc.aio.AioRpcError)]
    winner = rivals[place]
    assert (late.code, late.reason) == ("ABORTED", "STATE_CHANGED")
    assert f"they were set by {winner.actor} at {NOON.isoformat()}" in late.message

    again = (await stub.SetOfferConstraints(winner)).constraints
    held = (await stub.GetOfferConstraints(Get(campaign_id=CAMPAIGN))).constraints
    assert again == held
    assert held.maximum_offer == winner.maximum_offer
    assert held.etag not in {"", unset}
    read = Set(campaign_id=CAMPAIGN, maximum_offer=20.0, actor="ben", etag=held.etag)
    assert (await stub.SetOfferConstraints(read)).constraints.maximum_offer == 20.0
    unguarded = Set(campaign_id=CAMPAIGN, maximum_offer=21.0)
    assert (await stub.SetOfferConstraints(unguarded)).constraints.maximum_offer == 21.0
    other = await refused(stub.SetOfferConstraints(Set(campaign_id="campaign-2", clear=True, etag=held.etag)))
    assert "none are set" in other.message
    rows = await fetch_rows(database.reporting, "select scope_id from offer_constraints")
    assert [row["scope_id"] for row in rows] == [CAMPAIGN]


async def test_all_limits_go_only_where_that_is_asked_for(stub: OptimizerServiceStub) -> None:
    kept = (await stub.SetOfferConstraints(Set(campaign_id=CAMPAIGN, maximum_offer=12.5))).constraints
    refusal = await refused(stub.SetOfferConstraints(Set(campaign_id=CAMPAIGN, actor="ann")))
    assert (await stub.GetOfferConstraints(Get(campaign_id=CAMPAIGN))).constraints == kept
    cleared = (await stub.SetOfferConstraints(Set(campaign_id=CAMPAIGN, clear=True, actor="ann"))).constraints
    assert "maximum_offer, minimum_profit_margin or daily_budget" in refusal.message
    assert (await stub.GetOfferConstraints(Get(campaign_id=CAMPAIGN))).constraints == cleared
    assert not any(
        cleared.HasField(name) for name in ("maximum_offer", "minimum_profit_margin", "daily_budget")
    )
    assert cleared.actor == "ann"


async def test_the_limit_that_decides_is_named(stub: OptimizerServiceStub, trained: Trained) -> None:
    free = await stub.OptimizeOffer(Ask(campaign_id=CAMPAIGN))
    cap = free.offer_amount - 2.0
    await stub.SetOfferConstraints(Set(merchant_id=trained.world.merchant_ids[1], maximum_offer=cap))
    await stub.SetOfferConstraints(Set(campaign_id=CAMPAIGN, maximum_offer=25.0))
    capped = await stub.OptimizeOffer(Ask(campaign_id=CAMPAIGN))

    assert list(free.constraints) == []
    assert free.unconstrained_offer_amount == free.offer_amount
    assert capped.offer_amount == cap
    assert capped.unconstrained_offer_amount == free.offer_amount
    assert [
        (check.constraint, check.source, check.limit, check.is_binding) for check in capped.constraints
    ] == [
        ("maximum_offer", "campaign", 25.0, False),
        ("maximum_offer", "merchant", cap, True),
    ]
    assert any(f"maximum_offer of {cap:g} (merchant) decides" in warning for warning in capped.warnings)
    for point in capped.response_curve:
        assert list(point.broken_constraints) == (["maximum_offer"] if point.offer_amount > cap else [])


async def test_a_margin_and_a_budget_are_kept_by_what_is_expected(
    stub: OptimizerServiceStub, trained: Trained
) -> None:
    free = await stub.OptimizeOffer(Ask(campaign_id=CAMPAIGN, objective="conversion_rate"))
    margin = await stub.OptimizeOffer(
        Ask(campaign_id=CAMPAIGN, objective="conversion_rate", minimum_profit_margin=0.7)
    )
    assert margin.offer_amount == 0.3 * MEAN_REVENUE
    assert margin.constraints[0].source == "request"

    recent = [row for row in trained.world.rows if row[0] == CAMPAIGN][-28:]
    views_a_day = sum(row[4] for row in recent) / 28
    budget = await stub.OptimizeOffer(
        Ask(campaign_id=CAMPAIGN, objective="conversion_rate", daily_budget=round(views_a_day * 2.0, 2))
    )
    for point in budget.response_curve:
        cost = views_a_day * point.predicted_conversion_rate * point.offer_amount
        assert ("daily_budget" in point.broken_constraints) == (cost > round(views_a_day * 2.0, 2))
    assert budget.offer_amount < free.offer_amount
    assert [check.is_binding for check in budget.constraints] == [True]


async def test_where_nothing_is_left_the_refusal_names_the_limit(stub: OptimizerServiceStub) -> None:
    refusal = await refused_offer(stub, Ask(campaign_id=CAMPAIGN, daily_budget=0.01))
    assert (refusal.code, refusal.reason) == ("FAILED_PRECONDITION", "OFFER_CONSTRAINED")
    assert refusal.metadata == {"constraint": "daily_budget", "source": "request"}
    assert "daily_budget 0.01 (request)" in refusal.message


async def test_no_cap_lies_below_the_smallest_offer(stub: OptimizerServiceStub) -> None:
    asked = await refused_offer(stub, Ask(campaign_id=CAMPAIGN, maximum_offer=4.99))
    kept = await refused(stub.SetOfferConstraints(Set(campaign_id=CAMPAIGN, maximum_offer=3.0)))
    for refusal in (asked, kept):
        assert (refusal.code, refusal.fields) == ("INVALID_ARGUMENT", ("maximum_offer",))
        assert refusal.reason == "MONEY_OUT_OF_RANGE"
    edge = await stub.OptimizeOffer(Ask(campaign_id=CAMPAIGN, maximum_offer=5.0))
    assert edge.offer_amount == 5.0
    assert any("maximum_offer of 5 (request) decides" in warning for warning in edge.warnings)
    assert not any("a better one may lie beyond" in warning for warning in edge.warnings)


async def test_the_views_that_a_budget_is_held_against_are_said(stub: OptimizerServiceStub) -> None:
    plan = Ask(
        campaign_type=campaign_pb2.CAMPAIGN_TYPE_FLASH_SALE,
        merchant_id=2,
        objective="conversion_rate",
        daily_budget=100.0,
    )
    typical = await stub.OptimizeOffer(plan)
    plan.views_per_day = 20.0
    stated = await stub.OptimizeOffer(plan)
    own = await stub.OptimizeOffer(Ask(campaign_id=CAMPAIGN, daily_budget=100.0))
    assert any(
        "views a day, the mean of campaigns of its type over" in warning for warning in typical.warnings
    )
    assert "daily_budget is held against 20.0 views a day, as stated." in stated.warnings
    assert any("views a day, its own mean over the last 28 days" in warning for warning in own.warnings)
    for point in stated.response_curve:
        cost = 20.0 * point.predicted_conversion_rate * point.offer_amount
        assert ("daily_budget" in point.broken_constraints) == (cost > 100.0)


async def test_a_planned_campaign_keeps_its_merchants_limits(
    stub: OptimizerServiceStub, trained: Trained
) -> None:
    merchant = trained.world.merchant_ids[1]
    await stub.SetOfferConstraints(Set(merchant_id=merchant, maximum_offer=9.0))
    planned = await stub.OptimizeOffer(
        Ask(
            campaign_type=campaign_pb2.CAMPAIGN_TYPE_FLASH_SALE,
            merchant_id=merchant,
            objective="conversion_rate",
        )
    )
    assert planned.offer_amount == 9.0
    assert planned.constraints[0].source == "merchant"


@pytest.mark.parametrize(
    ("request_", "reason", "field"),
    [
        (Set(), "FIELD_REQUIRED", "campaign_id"),
        (Set(campaign_id=CAMPAIGN, merchant_id=1), "FIELDS_CONFLICT", "merchant_id"),
        (Set(merchant_id=1, daily_budget=5.0), "FIELDS_CONFLICT", "daily_budget"),
        (Set(campaign_id=CAMPAIGN), "FIELD_REQUIRED", "clear"),
        (Set(campaign_id=CAMPAIGN, maximum_offer=9.0, clear=True), "FIELDS_CONFLICT", "clear"),
        (Set(campaign_id=CAMPAIGN, maximum_offer=0.0), "MONEY_OUT_OF_RANGE", "maximum_offer"),
        (
            Set(campaign_id=CAMPAIGN, minimum_profit_margin=1.01),
            "VALUE_OUT_OF_RANGE",
            "minimum_profit_margin",
        ),
        (
            Set(campaign_id=CAMPAIGN, minimum_profit_margin=float("nan")),
            "VALUE_OUT_OF_RANGE",
            "minimum_profit_margin",
        ),
        (Set(campaign_id=CAMPAIGN, clear=True, actor="x" * 129), "TEXT_INVALID", "actor"),
    ],
)
async def test_limits_that_make_no_sense_are_refused(
    stub: OptimizerServiceStub, request_: Set, reason: str, field: str
) -> None:
    refusal = await refused(stub.SetOfferConstraints(request_))
    assert (refusal.code, refusal.fields) == ("INVALID_ARGUMENT", (field,))
    assert refusal.reason == reason


async def test_whose_limits_nobody_knows_is_not_found(stub: OptimizerServiceStub) -> None:
    campaign = await refused(stub.SetOfferConstraints(Set(campaign_id="nobody", maximum_offer=9.0)))
    merchant = await refused(stub.GetOfferConstraints(Get(merchant_id=987)))
    assert (campaign.code, campaign.reason) == ("NOT_FOUND", "CAMPAIGN_UNKNOWN")
    assert (merchant.code, merchant.reason) == ("NOT_FOUND", "MERCHANT_UNKNOWN")
