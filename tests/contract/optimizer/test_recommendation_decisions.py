"""What is decided about recommendations: once, by whom, when, and what no longer can be."""

from datetime import UTC, timedelta
from typing import Any
from uuid import uuid4

import grpc
import pytest

from services.common.database import Database
from services.optimizer.operations.recommendations import expire
from tests.contract.optimizer.harness import (
    NOON,
    refusal_of,
)
from tests.contract.optimizer.recommendation_stand import DAY, Closed, decision, reasons


async def test_decisions_are_kept_once_with_who_and_when(closed: Closed) -> None:
    named = {"recommendation_id": (await closed.offer()).recommendation_id}
    closed.clock.now += timedelta(hours=1)
    accepted = await decision(closed.stub, "AcceptRecommendation", **named, actor="ann", comment="let us")
    assert accepted.recommendation.status == "accepted"
    assert accepted.recommendation.decide_time.ToDatetime(UTC) == closed.clock.now
    closed.clock.now += timedelta(hours=1)
    again = await decision(closed.stub, "AcceptRecommendation", **named, actor="bob")
    assert again == accepted
    since = closed.clock.now - timedelta(minutes=30)
    applied = await decision(closed.stub, "MarkRecommendationApplied", **named, actor="bob", apply_time=since)
    assert applied.recommendation.status == "applied"
    assert applied.recommendation.apply_time.ToDatetime(UTC) == since
    assert [(each.action, each.actor, each.comment) for each in applied.recommendation.decisions] == [
        ("create", "optimizer", ""),
        ("accept", "ann", "let us"),
        ("apply", "bob", ""),
    ]


async def test_an_accepted_one_stands_until_it_is_applied(closed: Closed) -> None:
    first = await closed.offer()
    await decision(closed.stub, "AcceptRecommendation", recommendation_id=first.recommendation_id)
    await closed.execute("update analytics.campaigns set gross_margin_rate = 0.45")
    kept = await closed.offer()
    assert (kept.recommendation_id, kept.choice, kept.status) == (
        first.recommendation_id,
        first.choice,
        "accepted",
    )


async def test_what_was_dismissed_or_applied_is_not_said_again(closed: Closed) -> None:
    first = await closed.offer()
    await decision(closed.stub, "DismissRecommendation", recommendation_id=first.recommendation_id)
    assert reasons(await closed.recommend())["offer_amount"] == "DISMISSED"
    closed.clock.now += 15 * DAY
    second = await closed.offer()
    assert second.recommendation_id != first.recommendation_id
    await decision(closed.stub, "MarkRecommendationApplied", recommendation_id=second.recommendation_id)
    assert reasons(await closed.recommend())["offer_amount"] == "ALREADY_APPLIED"


@pytest.mark.parametrize(
    "name", ["AcceptRecommendation", "DismissRecommendation", "MarkRecommendationApplied"]
)
async def test_a_closed_one_is_not_decided_any_more(closed: Closed, name: str) -> None:
    named = {"recommendation_id": (await closed.offer()).recommendation_id}
    closed.clock.now += 15 * DAY
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await decision(closed.stub, name, **named)
    refusal = refusal_of(refused.value)
    assert (refusal.code, refusal.reason) == ("FAILED_PRECONDITION", "RECOMMENDATION_CLOSED")
    assert refusal.metadata["status"] == "expired"
    assert await closed.reckon() == "1 expired, 0 outcomes measured, 0 tests kept"
    log = await closed.fetch(
        "select action, actor from optimizer.campaign_optimization_decisions order by decision_number"
    )
    assert [tuple(row) for row in log] == [("create", "optimizer"), ("expire", "optimizer")]


async def test_what_cannot_be_decided_is_named(closed: Closed) -> None:
    offer = await closed.offer()
    named = {"recommendation_id": offer.recommendation_id}
    cases: list[tuple[str, dict[str, Any], str, str]] = [
        ("AcceptRecommendation", {}, "INVALID_ARGUMENT", "FIELD_REQUIRED"),
        ("AcceptRecommendation", {"recommendation_id": "no-id"}, "NOT_FOUND", "RECOMMENDATION_UNKNOWN"),
        ("AcceptRecommendation", {"recommendation_id": str(uuid4())}, "NOT_FOUND", "RECOMMENDATION_UNKNOWN"),
        ("DismissRecommendation", {**named, "actor": "x" * 129}, "INVALID_ARGUMENT", "TEXT_INVALID"),
        ("DismissRecommendation", {**named, "comment": "x" * 501}, "INVALID_ARGUMENT", "TEXT_INVALID"),
        *(
            (
                "MarkRecommendationApplied",
                {**named, "apply_time": time},
                "INVALID_ARGUMENT",
                "TIME_OUT_OF_RANGE",
            )
            for time in (NOON - DAY, NOON + DAY)
        ),
    ]
    for name, fields, code, reason in cases:
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await decision(closed.stub, name, **fields)
        refusal = refusal_of(refused.value)
        assert (refusal.code, refusal.reason) == (code, reason), (name, fields)
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await closed.recommend("nobody")
    assert refusal_of(refused.value).reason == "CAMPAIGN_UNKNOWN"
    assert (await closed.offer()) == offer


async def test_what_was_decided_meanwhile_does_not_expire(closed: Closed) -> None:
    offer = await closed.offer()
    await decision(closed.stub, "DismissRecommendation", recommendation_id=offer.recommendation_id)
    database = await Database.open(closed.addresses.optimizer, application_name="test")
    try:
        async with database.transaction() as connection:
            late = NOON + 20 * DAY
            assert not await expire(connection, offer.recommendation_id, late)
            assert not await expire(connection, str(uuid4()), late)
    finally:
        await database.close()
