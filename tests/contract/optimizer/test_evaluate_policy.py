"""EvaluateOfferPolicy through a real server and database: what counts as an outcome, and every refusal."""

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest

from deploy.local.bootstrap import DatabaseAddresses
from gen.campaigns.optimizer.v1 import policies_pb2 as pb
from gen.campaigns.optimizer.v1.optimizer_service_pb2_grpc import OptimizerServiceStub
from services.optimizer.store import decisions
from tests.contract.optimizer.event_log import (
    CONVERTED,
    DELIVERED,
    REFUNDED,
    Event,
    insert_campaigns,
    insert_events,
    insert_segment_sets,
)
from tests.contract.optimizer.harness import (
    NOON,
    fetch_rows,
    optimizer_settings,
    refusal_of,
    running_optimizer,
)

FIRST = datetime(2026, 11, 1, 9, tzinfo=UTC)
ALWAYS_20 = {"rules": [{"choices": [{"offer_amount": 20}]}]}


@pytest.fixture
async def stub(database: DatabaseAddresses, tmp_path: Path) -> AsyncIterator[OptimizerServiceStub]:
    await insert_campaigns(database.admin, ["c1", "c2"])
    await insert_campaigns(database.admin, ["euro"], currency="EUR")
    async with running_optimizer(
        optimizer_settings(database.optimizer, tmp_path, 1), clock=lambda: NOON
    ) as running:
        yield running


async def evaluate(
    stub: OptimizerServiceStub,
    **fields: Any,  # noqa: ANN401 (fields of the request)
) -> pb.EvaluateOfferPolicyResponse:
    return await stub.EvaluateOfferPolicy(
        pb.EvaluateOfferPolicyRequest(**{"campaign_ids": ["c1"], **ALWAYS_20, **fields})
    )


async def keep_log(admin: str, *, days: int = 8, a_day: int = 60) -> None:
    """Deliveries of 10 or 20, drawn evenly; with 20, loyal users convert twice as often, and pay 50."""
    rng = np.random.default_rng(7)
    loyal, lapsed = await insert_segment_sets(admin, [["loyal"], ["lapsed"]])
    events = []
    for day in range(days):
        for place in range(a_day):
            user, at = f"u{day % 4}-{place}", FIRST + timedelta(days=day, minutes=place)
            offer, name = float(rng.choice([10, 20])), f"{day}-{place}"
            segment = loyal if place % 2 else lapsed
            chance = 0.2 + 0.2 * (offer == 20) * (segment == loyal)
            events.append(
                Event(
                    user_id=user,
                    event_id=f"d{name}",
                    event_type=DELIVERED,
                    at=at,
                    offer=offer,
                    propensity=0.5,
                    segment_set=segment,
                )
            )
            if rng.random() < chance:
                events.append(
                    Event(
                        user_id=user,
                        event_id=f"c{name}",
                        event_type=CONVERTED,
                        at=at + timedelta(hours=1),
                        revenue=50,
                    )
                )
    await insert_events(admin, events)


async def test_a_policy_is_worth_what_its_own_deliveries_brought(
    stub: OptimizerServiceStub, database: DatabaseAddresses
) -> None:
    await keep_log(database.admin)
    answer = await evaluate(stub)
    assert (answer.objective, answer.start_date, answer.end_date) == ("profit", "2026-08-19", "2026-11-16")
    assert answer.logged_deliveries == answer.deliveries == 480
    assert answer.covered_share == 1.0
    assert answer.users == 240
    made = {offer.offer_amount: offer.deliveries for offer in answer.logged_offers}
    assert sum(made.values()) == 480
    assert answer.effective_sample_size == pytest.approx(made[20])
    assert answer.mean_weight == pytest.approx(2 * made[20] / 480)
    # At half the margin a conversion at 20 earns 0.5 x 50 - 20.
    conversions = await evaluate(stub, objective="conversions")
    assert answer.snips.value == pytest.approx(5 * conversions.snips.value)
    assert conversions.snips.value == pytest.approx(0.3, abs=0.07)
    assert conversions.improvement.interval.lower < conversions.improvement.value
    assert 0.01 <= answer.confidence <= 0.99
    assert answer.confidence_method == "doubly_robust_empirical_likelihood"


async def test_a_margin_that_the_catalog_lacks_is_the_merchants_the_callers_or_said_to_be_assumed(
    stub: OptimizerServiceStub, database: DatabaseAddresses
) -> None:
    await keep_log(database.admin)

    async def forget(campaigns: list[str]) -> pb.EvaluateOfferPolicyResponse:
        forgetting = "update analytics.campaigns set gross_margin_rate = null where campaign_id = any ($1)"
        await fetch_rows(database.admin, forgetting, campaigns)
        return await evaluate(stub)

    def margins(answer: pb.EvaluateOfferPolicyResponse) -> list[tuple[str, float, str]]:
        return [(each.campaign_id, each.gross_margin_rate, each.source) for each in answer.margins]

    known = await evaluate(stub)
    of_merchant = await forget(["c1"])
    asked = await evaluate(stub, gross_margin_rate=0.5)
    assumed = await forget(["c2", "euro"])
    revenue = await evaluate(stub, objective="revenue")

    assert margins(known) == [("c1", 0.5, "campaign")]
    assert margins(of_merchant) == [("c1", 0.5, "merchant")]
    assert of_merchant.warnings[0] == (
        "No gross margin is known for c1; the mean of the merchant's 2 campaigns with one is taken: 0.500"
        " (0.500 to 0.500)."
    )
    assert margins(asked) == [("c1", 0.5, "request")]
    assert not [warning for warning in asked.warnings if "margin" in warning]
    assert known.improvement == of_merchant.improvement == asked.improvement
    assert margins(assumed) == [("c1", 1.0, "assumed")]
    assert "all revenue is taken for margin" in assumed.warnings[0]
    assert assumed.doubly_robust.value > known.doubly_robust.value
    assert known.confidence < assumed.confidence < 0.95
    assert list(revenue.margins) == []
    assert not [warning for warning in revenue.warnings if "margin" in warning]


async def test_a_policy_by_segment_is_judged_within_them(
    stub: OptimizerServiceStub, database: DatabaseAddresses
) -> None:
    await keep_log(database.admin)
    rules = [
        {"segment_name": "loyal", "choices": [{"offer_amount": 20}]},
        {"choices": [{"offer_amount": 10, "probability": 0.5}, {"offer_amount": 20, "probability": 0.5}]},
    ]
    best = await evaluate(stub, objective="conversions", rules=rules)
    # Half of the deliveries go to loyal users at 20 (0.4), half to the others (0.2).
    assert best.doubly_robust.value == pytest.approx(0.3, abs=0.06)
    assert best.improvement.value > 0
    assert best.effective_sample_size == pytest.approx(480 * 2 / 3, rel=0.1)


async def test_a_segment_that_was_not_sent_to_decides_nothing(
    stub: OptimizerServiceStub, database: DatabaseAddresses
) -> None:
    await keep_log(database.admin)
    await insert_segment_sets(database.admin, [["new"]])
    rules = [{"segment_name": "new", "choices": [{"offer_amount": 10}]}, *ALWAYS_20["rules"]]
    answer = await evaluate(stub, objective="conversions", rules=rules)
    assert (
        "No delivery looked at was to a user of the segment new; its rule decided nothing." in answer.warnings
    )
    assert answer.doubly_robust == (await evaluate(stub, objective="conversions")).doubly_robust


async def test_the_latest_deliveries_are_looked_at_and_said_so(
    stub: OptimizerServiceStub, database: DatabaseAddresses, monkeypatch: pytest.MonkeyPatch
) -> None:
    await keep_log(database.admin)
    monkeypatch.setattr(decisions, "MOST_DECISIONS", 480)
    assert (await evaluate(stub)).start_date == "2026-08-19"
    monkeypatch.setattr(decisions, "MOST_DECISIONS", 420)
    answer = await evaluate(stub)
    assert (answer.start_date, answer.logged_deliveries) == ("2026-11-02", 420)
    assert answer.warnings[0].startswith(
        "Only the latest 420 deliveries were looked at, those since 2026-11-02"
    )


async def test_an_outcome_is_what_follows_until_the_next_delivery(
    stub: OptimizerServiceStub, database: DatabaseAddresses
) -> None:
    hour, events = timedelta(hours=1), []
    for place in range(60):
        user, at = f"u{place}", FIRST + timedelta(minutes=place)
        for name, hours, offer in (("d1", 0, 20), ("d2", 24, 10)):
            sent = Event(user_id=user, event_id=name, event_type=DELIVERED, at=at + hours * hour, offer=offer)
            events.append(replace(sent, propensity=0.5))
        for name, hours, revenue in (
            ("before", -1, 1000),
            ("own", 1, 30),
            ("next", 25, 100),
            ("late", 97, 7),
        ):
            bought = Event(user_id=user, event_id=name, event_type=CONVERTED, at=at + hours * hour)
            events.append(replace(bought, revenue=revenue))
        events.append(replace(bought, event_id="other", at=at + hour, campaign_id="c2"))
        if place % 2:
            back = Event(user_id=user, event_id="r", event_type=REFUNDED, at=at + 48 * hour, original="own")
            events.append(replace(back, revenue=10))
    await insert_events(database.admin, events)
    answer = await evaluate(stub, objective="revenue")
    assert answer.logged_deliveries == 120
    assert answer.snips.value == pytest.approx(30 - 5)
    assert answer.logged.value == pytest.approx((25 + 100) / 2)
    twice = await evaluate(stub, objective="conversions")
    assert twice.snips.value == pytest.approx(1.0)


async def test_a_delivery_after_the_last_day_ends_an_outcome(
    stub: OptimizerServiceStub, database: DatabaseAddresses
) -> None:
    # Half of those who got 20 late on November 5th convert again after the 10 of the next morning: not
    # because of the 20.
    late, events = datetime(2026, 11, 5, 22, tzinfo=UTC), []
    for place in range(60):
        sent = Event(
            user_id=f"u{place}", event_id="d1", event_type=DELIVERED, at=late, offer=20, propensity=0.5
        )
        events += [sent, replace(sent, event_id="d2", at=late + timedelta(hours=10), offer=10)]
        events.append(replace(sent, event_id="first", event_type=CONVERTED, at=late + timedelta(hours=1)))
        if place % 2:
            second = replace(sent, event_type=CONVERTED, event_id="second", at=late + timedelta(hours=12))
            events.append(second)
        events.append(replace(sent, user_id=f"v{place}", offer=10))
    await insert_events(database.admin, events)
    bounded = await evaluate(stub, objective="conversions", start_date="2026-11-05", end_date="2026-11-05")
    assert bounded.logged_deliveries == 120
    assert bounded.snips.value == pytest.approx(1.0)


async def test_days_bound_the_deliveries(stub: OptimizerServiceStub, database: DatabaseAddresses) -> None:
    await keep_log(database.admin)
    answer = await evaluate(stub, start_date="2026-11-02", end_date="2026-11-05")
    assert (answer.start_date, answer.end_date, answer.logged_deliveries) == ("2026-11-02", "2026-11-05", 240)


async def test_deliveries_without_a_propensity_are_no_evidence(
    stub: OptimizerServiceStub, database: DatabaseAddresses
) -> None:
    await insert_events(
        database.admin, [Event(user_id="u", event_id="e", event_type=DELIVERED, at=FIRST, offer=20)]
    )
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await evaluate(stub)
    refusal = refusal_of(refused.value)
    assert (refusal.code, refusal.reason) == ("FAILED_PRECONDITION", "PROPENSITY_UNKNOWN")


async def test_an_offer_without_overlap_is_refused(
    stub: OptimizerServiceStub, database: DatabaseAddresses
) -> None:
    await keep_log(database.admin)
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await evaluate(stub, rules=[{"choices": [{"offer_amount": 15}]}])
    refusal = refusal_of(refused.value)
    assert (refusal.code, refusal.reason) == ("FAILED_PRECONDITION", "OVERLAP_MISSING")
    assert "10 (" in refusal.message


HALF = {"offer_amount": 5, "probability": 0.5}


@pytest.mark.parametrize(
    ("fields", "field", "reason"),
    [
        ({"campaign_ids": []}, "campaign_ids", "FIELD_REQUIRED"),
        ({"campaign_ids": [""]}, "campaign_ids[0]", "FIELD_REQUIRED"),
        ({"campaign_ids": ["a\0"]}, "campaign_ids[0]", "TEXT_INVALID"),
        ({"campaign_ids": ["c1", "c1"]}, "campaign_ids", "FIELDS_CONFLICT"),
        ({"campaign_ids": ["c1", "euro"]}, "campaign_ids", "CURRENCY_REQUIRED"),
        ({"objective": "clicks"}, "objective", "VALUE_UNKNOWN"),
        ({"gross_margin_rate": 1.01}, "gross_margin_rate", "VALUE_OUT_OF_RANGE"),
        ({"gross_margin_rate": float("nan")}, "gross_margin_rate", "VALUE_OUT_OF_RANGE"),
        ({"minimum_overlap": 0}, "minimum_overlap", "VALUE_OUT_OF_RANGE"),
        ({"minimum_overlap": float("nan")}, "minimum_overlap", "VALUE_OUT_OF_RANGE"),
        ({"end_date": "0001-01-20"}, "end_date", "VALUE_OUT_OF_RANGE"),
        ({"start_date": "0001-01-01"}, "start_date", "VALUE_OUT_OF_RANGE"),
        ({"start_date": "yesterday"}, "start_date", "DATE_INVALID"),
        ({"start_date": "2026-11-05", "end_date": "2026-11-04"}, "end_date", "RANGE_REVERSED"),
        ({"start_date": "2026-11-19"}, "start_date", "VALUE_OUT_OF_RANGE"),
        ({"rules": []}, "rules", "FIELD_REQUIRED"),
        ({"rules": [{"choices": []}]}, "rules[0].choices", "FIELD_REQUIRED"),
        ({"rules": [{"segment_name": "a", "choices": [HALF]}]}, "rules", "FIELDS_CONFLICT"),
        (
            {"rules": [{"segment_name": "a", "choices": [{"offer_amount": 1}]}] * 2 + ALWAYS_20["rules"]},
            "rules",
            "FIELDS_CONFLICT",
        ),
        (
            {"rules": [{"segment_name": "nobody", "choices": [{"offer_amount": 1}]}, *ALWAYS_20["rules"]]},
            "rules[0].segment_name",
            "VALUE_UNKNOWN",
        ),
        ({"rules": [{"choices": [{}]}]}, "rules[0].choices[0].offer_amount", "FIELD_REQUIRED"),
        (
            {"rules": [{"choices": [{"offer_amount": -1}]}]},
            "rules[0].choices[0].offer_amount",
            "MONEY_OUT_OF_RANGE",
        ),
        ({"rules": [{"choices": [HALF]}]}, "rules[0].choices", "WEIGHTS_INVALID"),
        ({"rules": [{"choices": [HALF, HALF]}]}, "rules[0].choices", "FIELDS_CONFLICT"),
        (
            {"rules": [{"choices": [HALF, {"offer_amount": 6}]}]},
            "rules[0].choices[1].probability",
            "FIELD_REQUIRED",
        ),
        (
            {"rules": [{"choices": [{"offer_amount": 5, "probability": -1}]}]},
            "rules[0].choices[0].probability",
            "VALUE_OUT_OF_RANGE",
        ),
    ],
)
async def test_what_is_wrong_is_named(
    stub: OptimizerServiceStub, fields: dict[str, Any], field: str, reason: str
) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await evaluate(stub, **fields)
    refusal = refusal_of(refused.value)
    assert (refusal.code, refusal.reason, refusal.fields) == ("INVALID_ARGUMENT", reason, (field,))


async def test_an_unknown_campaign_is_not_found(stub: OptimizerServiceStub) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await evaluate(stub, campaign_ids=["c1", "nobody"])
    refusal = refusal_of(refused.value)
    assert (refusal.code, refusal.reason) == ("NOT_FOUND", "CAMPAIGN_UNKNOWN")
