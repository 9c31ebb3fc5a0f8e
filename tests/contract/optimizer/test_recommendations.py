"""Recommendations from their making to their outcome, through a real server, database and model server."""

import asyncio
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import asyncpg
import grpc
import numpy as np
import pytest

from deploy.local.bootstrap import DatabaseAddresses
from gen.campaigns.optimizer.v1 import outcomes_pb2
from gen.campaigns.optimizer.v1 import recommendations_pb2 as pb
from gen.campaigns.optimizer.v1.optimizer_service_pb2_grpc import OptimizerServiceStub
from services.common.database import Database
from services.common.job_table import Cursor
from services.common.jobs import JobContext
from services.common.paging import encode_page_token
from services.optimizer.operations.offer_outcomes import OutcomeKeeper, build_outcomes_job
from services.optimizer.operations.recommendations import expire
from tests.contract.optimizer.conftest import Trained
from tests.contract.optimizer.event_log import DELIVERED, Event, insert_events
from tests.contract.optimizer.harness import (
    NOON,
    insert_world,
    optimizer_settings,
    refusal_of,
    running_model_server,
    running_optimizer,
)
from tests.unit.optimizer.synthetic import END_DAY

CAMPAIGN = "campaign-0"
DAY = timedelta(days=1)


class Clock:
    """A clock that tests move."""

    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> datetime:
        return self.now


@dataclass(frozen=True, kw_only=True)
class Closed:
    """The optimizer, its clock, and the way to its database."""

    stub: OptimizerServiceStub
    clock: Clock
    addresses: DatabaseAddresses

    async def execute(self, statement: str, *arguments: object) -> None:
        connection = await asyncpg.connect(self.addresses.admin)
        try:
            await connection.execute(statement, *arguments)
        finally:
            await connection.close()

    async def fetch(self, statement: str, *arguments: object) -> list[asyncpg.Record]:
        connection = await asyncpg.connect(self.addresses.admin)
        try:
            return await connection.fetch(statement, *arguments)
        finally:
            await connection.close()

    async def recommend(self, campaign_id: str = CAMPAIGN) -> pb.GetOptimizationRecommendationsResponse:
        return await self.stub.GetOptimizationRecommendations(
            pb.GetOptimizationRecommendationsRequest(campaign_id=campaign_id)
        )

    async def offer(self) -> pb.OptimizationRecommendation:
        return by_type(await self.recommend())["offer_amount"]

    async def reckon(self) -> str:
        database = await Database.open(self.addresses.optimizer, application_name="test")
        try:
            return str(await OutcomeKeeper(database, now=self.clock).reckon())
        finally:
            await database.close()

    async def outcomes(self, **fields: Any) -> outcomes_pb2.ListOfferOutcomesResponse:  # noqa: ANN401 (of the request)
        return await self.stub.ListOfferOutcomes(outcomes_pb2.ListOfferOutcomesRequest(**fields))


def by_type(
    answer: pb.GetOptimizationRecommendationsResponse,
) -> dict[str, pb.OptimizationRecommendation]:
    return {each.type: each for each in answer.recommendations}


def reasons(answer: pb.GetOptimizationRecommendationsResponse) -> dict[str, str]:
    return {each.type: each.reason for each in answer.withheld}


@pytest.fixture
async def closed(database: DatabaseAddresses, trained: Trained, tmp_path: Path) -> AsyncIterator[Closed]:
    """A trained world whose catalog says $5 everywhere: too little, as profit has it."""
    world, clock = trained.world, Clock()
    await insert_world(database.admin, world.rows, catalog_offers=[5_000_000] * len(world.last_offers))
    await trained.publish(database.optimizer, tmp_path)
    async with (
        running_model_server(tmp_path) as port,
        running_optimizer(optimizer_settings(database.optimizer, tmp_path, port), clock=clock) as stub,
    ):
        yield Closed(stub=stub, clock=clock, addresses=database)


async def test_an_offer_is_recommended_with_what_it_gains(closed: Closed) -> None:
    answer = await closed.recommend()
    offer = by_type(answer)["offer_amount"]
    assert offer.recommendation == f"Offer {float(offer.choice):.2f} instead of 5.00."
    assert float(offer.choice) > 5
    assert offer.effect_metric == "profit_per_view"
    assert offer.expected_effect > 0
    assert 0.8 <= offer.confidence <= 0.99
    assert offer.confidence_method
    assert offer.evidence_kind == "observational"
    assert "not random" in offer.evidence
    assert offer.status == "open"
    assert offer.model_version == 1
    assert offer.create_time.ToDatetime(UTC) == NOON
    assert offer.expire_time.ToDatetime(UTC) == NOON + 14 * DAY
    assert reasons(answer) == {
        "timing": "SEND_TIMES_UNKNOWN",
        "segment": "SEGMENTS_UNKNOWN",
        "channel": "CHANNELS_UNKNOWN",
    }
    assert all(each.message for each in answer.withheld)


async def test_it_is_kept_while_nothing_changes(closed: Closed) -> None:
    first = await closed.offer()
    closed.clock.now += timedelta(hours=1)
    assert await closed.offer() == first
    closed.clock.now += DAY
    later = await closed.offer()
    assert later.recommendation_id == first.recommendation_id
    assert later.expire_time.ToDatetime(UTC) == closed.clock.now + 14 * DAY
    (row,) = await closed.fetch("select refreshed_at, created_at from optimizer.campaign_optimizations")
    assert row["refreshed_at"] - row["created_at"] == DAY + timedelta(hours=1)


async def test_callers_at_once_are_given_one_recommendation(closed: Closed) -> None:
    answers = await asyncio.gather(*(closed.recommend() for _ in range(8)))
    assert len({by_type(answer)["offer_amount"].recommendation_id for answer in answers}) == 1
    assert len(await closed.fetch("select from optimizer.campaign_optimizations")) == 1


async def test_a_changed_campaign_is_looked_at_anew(closed: Closed) -> None:
    first = await closed.offer()
    await closed.execute(
        "update analytics.campaigns set gross_margin_rate = 0.45 where campaign_id = $1", CAMPAIGN
    )
    second = await closed.offer()
    assert float(second.choice) < float(first.choice)
    assert second.recommendation_id != first.recommendation_id
    (old,) = await closed.fetch(
        "select status from optimizer.campaign_optimizations where optimization_id::text = $1",
        first.recommendation_id,
    )
    assert old["status"] == "superseded"


@pytest.mark.parametrize(
    ("short_of_it", "why"),
    [(0.0, "is the best"), (0.5, r"with a probability of 0\.[5-7]\d, and 0\.80 is asked")],
)
async def test_nothing_better_is_said_so_and_takes_an_open_one_back(
    closed: Closed, short_of_it: float, why: str
) -> None:
    best = await closed.offer()
    await closed.execute(
        "update analytics.campaigns set offer_amount_micros = $2 where campaign_id = $1",
        CAMPAIGN,
        round((float(best.choice) - short_of_it) * 1e6),
    )
    answer = await closed.recommend()
    (message,) = [each.message for each in answer.withheld if each.type == "offer_amount"]
    assert re.search(why, message)
    assert reasons(answer)["offer_amount"] == "NO_BETTER_CHOICE"
    assert not answer.recommendations
    rows = await closed.fetch("select status from optimizer.campaign_optimizations")
    assert [row["status"] for row in rows] == ["superseded"]


def decision(stub: OptimizerServiceStub, name: str, **fields: Any) -> Any:  # noqa: ANN401 (any of three rpcs)
    request = getattr(pb, f"{name}Request")(**fields)
    return getattr(stub, name)(request)


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


async def insert_days(
    closed: Closed,
    first_day: date,
    days: int,
    *,
    offer: float,
    views: int,
    rate: float,
    campaign: str = CAMPAIGN,
) -> None:
    for place in range(days):
        await closed.execute(
            "insert into analytics.campaign_delivery_daily values"
            " ($1, $2, $3, 1, 1, $4, $4, 0, $5, 0, 0, 0, 0, 0, 0)",
            campaign,
            first_day + place * DAY,
            round(offer * 1e6),
            views,
            round(views * rate) + place % 3 - 1,
        )


async def test_an_applied_offer_is_measured_beside_what_was_predicted(closed: Closed) -> None:
    offer = await closed.offer()
    await decision(closed.stub, "MarkRecommendationApplied", recommendation_id=offer.recommendation_id)
    await insert_days(closed, END_DAY + DAY, 10, offer=float(offer.choice), views=200, rate=0.3)
    await insert_days(closed, END_DAY + DAY, 10, offer=5.5, views=999, rate=0.9)
    closed.clock.now += 11 * DAY
    assert await closed.reckon() == "0 expired, 1 outcomes measured, 0 tests kept"
    (outcome,) = (await closed.outcomes(campaign_id=CAMPAIGN)).outcomes
    assert (outcome.source, outcome.source_id) == ("recommendation", offer.recommendation_id)
    assert (outcome.type, outcome.choice) == ("offer_amount", offer.choice)
    assert (outcome.previous_offer, outcome.offer_amount) == (5.0, float(offer.choice))
    assert outcome.expected_effect == offer.expected_effect
    assert outcome.observed_views == 2000
    assert outcome.observed_conversion_rate == pytest.approx(0.3, abs=0.01)
    interval = outcome.observed_conversion_rate_interval
    assert interval.lower < outcome.observed_conversion_rate < interval.upper < 0.32
    assert outcome.predicted_conversion_rate_interval.lower < outcome.predicted_conversion_rate
    assert outcome.observed_effect == pytest.approx(
        outcome.observed_conversion_rate / outcome.previous_conversion_rate - 1
    )
    effect = outcome.observed_effect_interval
    assert effect.lower < outcome.observed_effect < effect.upper
    assert not outcome.is_final

    closed.clock.now += 30 * DAY
    await closed.reckon()
    (final,) = (await closed.outcomes()).outcomes
    assert final.is_final
    await insert_days(closed, END_DAY + 12 * DAY, 2, offer=float(offer.choice), views=50, rate=0.1)
    assert await closed.reckon() == "0 expired, 0 outcomes measured, 0 tests kept"
    assert (await closed.outcomes()).outcomes[0] == final


async def test_an_outcome_without_views_says_only_that(closed: Closed) -> None:
    offer = await closed.offer()
    await decision(closed.stub, "MarkRecommendationApplied", recommendation_id=offer.recommendation_id)
    await closed.reckon()
    (outcome,) = (await closed.outcomes()).outcomes
    assert (outcome.observed_views, outcome.observed_conversions) == (0, 0)
    assert not outcome.HasField("observed_conversion_rate")
    assert not outcome.HasField("observed_effect")


async def end_test(closed: Closed, test_id: str, started_at: datetime) -> None:
    await closed.execute(
        "insert into abtest.ab_tests (test_id, test_name, status, decision_method, target_sample_size,"
        " confidence_level, hash_seed, current_epoch, created_at, started_at, ended_at)"
        " values ($1, $1, 2, 1, 1000, 0.95, 's', 1, $2, $2, $3)",
        test_id,
        started_at,
        started_at + 5 * DAY,
    )
    await closed.execute(
        "insert into abtest.ab_test_groups (test_id, group_index, group_name, campaign_id) values"
        " ($1, 0, 'control', 'campaign-1'), ($1, 1, 'variant', 'campaign-2')",
        test_id,
    )
    await closed.execute(
        "insert into abtest.ab_test_results (test_id, result_number, is_final, analyzed_at, verdict,"
        " recommendation, reasons, warnings) values ($1, 1, true, $2, 1, '', '{}', '{}')",
        test_id,
        started_at + 5 * DAY,
    )
    await closed.execute(
        "insert into abtest.ab_test_group_results (test_id, result_number, group_index, users, conversions,"
        " relative_lift, relative_lift_lower, relative_lift_upper) values"
        " ($1, 1, 0, 500, 50, null, null, null), ($1, 1, 1, 500, 65, 0.3, 0.05, 0.6)",
        test_id,
    )


async def test_ended_tests_become_outcomes_once(closed: Closed) -> None:
    started_at = datetime(2027, 1, 4, 12, tzinfo=UTC)
    await insert_days(closed, date(2027, 1, 4), 5, offer=7, views=100, rate=0.1, campaign="campaign-1")
    await insert_days(closed, date(2027, 1, 4), 5, offer=9, views=100, rate=0.2, campaign="campaign-2")
    await end_test(closed, "t/1", started_at)
    closed.clock.now = started_at + 6 * DAY
    assert await closed.reckon() == "0 expired, 0 outcomes measured, 1 tests kept"
    assert await closed.reckon() == "0 expired, 0 outcomes measured, 0 tests kept"
    (outcome,) = (await closed.outcomes(campaign_id="campaign-2")).outcomes
    assert (outcome.source, outcome.source_id, outcome.choice) == ("ab_test", "t/1", "variant")
    assert (outcome.previous_offer, outcome.offer_amount) == (7.0, 9.0)
    assert outcome.observed_effect == 0.3
    assert (outcome.observed_effect_interval.lower, outcome.observed_effect_interval.upper) == (0.05, 0.6)
    assert outcome.observed_conversion_rate == pytest.approx(0.2, abs=0.01)
    assert outcome.previous_conversion_rate == pytest.approx(0.1, abs=0.01)
    assert not outcome.HasField("predicted_conversion_rate")
    assert outcome.is_final


async def test_outcomes_come_in_pages(closed: Closed) -> None:
    for place in range(3):
        await end_test(closed, f"t{place}", datetime(2027, 1, 4 + place, 12, tzinfo=UTC))
    closed.clock.now = datetime(2027, 2, 1, tzinfo=UTC)
    await closed.reckon()
    first = await closed.outcomes(page_size=2)
    assert [each.source_id for each in first.outcomes] == ["t2", "t1"]
    second = await closed.outcomes(page_size=2, page_token=first.next_page_token)
    assert [each.source_id for each in second.outcomes] == ["t0"]
    assert not second.next_page_token
    for fields in (
        {"page_token": first.next_page_token, "campaign_id": "campaign-2"},
        {"page_token": "x"},
        {"page_size": -1},
        {"campaign_id": "x" * 129},
    ):
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await closed.outcomes(**fields)
        assert refusal_of(refused.value).code == "INVALID_ARGUMENT"


async def insert_channels(closed: Closed) -> None:
    """Campaigns like the first one: on e-mail (2) a fifth of impressions convert, on push (1) a twentieth."""
    (kind,) = await closed.fetch(
        "select campaign_type from analytics.campaigns where campaign_id = $1", CAMPAIGN
    )
    await closed.execute("update analytics.campaigns set channel = 1 where campaign_id = $1", CAMPAIGN)
    for place in range(5):
        for channel, rate in ((1, 0.05), (2, 0.2)):
            name = f"other-{channel}-{place}"
            await closed.execute(
                "insert into analytics.campaigns (campaign_id, campaign_type, merchant_id, channel)"
                " values ($1, $2, 1, $3)",
                name,
                kind["campaign_type"],
                channel,
            )
            await closed.execute(
                "insert into analytics.campaign_delivery_daily values"
                " ($1, $2, 5000000, $3, 1, 1000, 0, 0, $4, 0, 2000000, 0, 0, 0, 0)",
                name,
                END_DAY - 5 * DAY,
                channel,
                round(1000 * rate) + place,
            )


async def test_a_better_channel_is_recommended(closed: Closed) -> None:
    await insert_channels(closed)
    channel = by_type(await closed.recommend())["channel"]
    assert (channel.choice, channel.effect_metric) == ("CHANNEL_EMAIL", "conversions_per_impression")
    assert channel.expected_effect == pytest.approx(3, rel=0.1)
    assert channel.expected_effect_interval.lower > 1
    assert channel.confidence >= 0.9
    assert "Other campaigns chose their channels" in channel.evidence


async def insert_segment(closed: Closed) -> None:
    (kind,) = await closed.fetch(
        "select campaign_type from analytics.campaigns where campaign_id = $1", CAMPAIGN
    )
    rows = await closed.fetch(
        "select c.campaign_id, sum(d.conversions) / sum(d.views) as rate from analytics.campaigns c"
        " join analytics.campaign_delivery_daily d using (campaign_id) where c.campaign_type = $1"
        " group by c.campaign_id",
        kind["campaign_type"],
    )
    for row in rows:
        for segment, times in (("loyal", 1.6), ("lapsed", 0.5)):
            await closed.execute(
                "insert into analytics.campaign_segment_moments values"
                " ($1, 'given', $2, 200, 0, 200, 200, 0, $3, 0, 0, 200, 200, 0, 200, $3, 0, $3, 0, 0, 0)",
                row["campaign_id"],
                segment,
                round(200 * float(row["rate"]) * times),
            )


async def test_a_segment_that_converts_more_is_recommended(closed: Closed) -> None:
    await insert_segment(closed)
    segment = by_type(await closed.recommend())["segment"]
    assert (segment.choice, segment.effect_metric) == ("loyal", "conversion_rate")
    assert segment.expected_effect == pytest.approx(0.6, abs=0.08)
    assert segment.expected_effect_interval.lower > 0.3
    assert segment.evidence.startswith("Descriptive")


async def insert_send_times(closed: Closed, *, peaks: tuple[int, ...]) -> None:
    """Users of New York reached at 9:00 their time, whose best hours are `peaks`, in turn."""
    events = []
    for place in range(60):
        values = np.full(24, 0.02)
        values[peaks[place % len(peaks)]] = 0.1
        await closed.execute(
            "insert into optimizer.user_optimal_send_times (user_id, campaign_type, time_zone, optimal_hour,"
            " optimal_day, observed_events, computed_at, source, quiet_start_hour, quiet_end_hour,"
            " hour_values, hour_probabilities, day_values, day_probabilities)"
            " values ($1, 0, 'America/New_York', $2, 0, 5, now(), 'user', 22, 7, $3, $3, $4, $4)",
            f"u{place}",
            peaks[place % len(peaks)],
            values.tolist(),
            [1 / 7] * 7,
        )
        at = datetime(2026, 11, 10, 14, place, tzinfo=UTC)
        events.append(
            Event(user_id=f"u{place}", event_id="d", event_type=DELIVERED, at=at, campaign_id=CAMPAIGN)
        )
    await insert_events(closed.addresses.admin, events)


@pytest.mark.parametrize(
    ("peaks", "choice", "gain"), [((19,), "19", 4.0), ((9, 12, 19), "own_best_hour", 0.1 / (0.14 / 3) - 1)]
)
async def test_better_hours_are_recommended(
    closed: Closed, peaks: tuple[int, ...], choice: str, gain: float
) -> None:
    await insert_send_times(closed, peaks=peaks)
    timing = by_type(await closed.recommend())["timing"]
    assert (timing.choice, timing.effect_metric) == (choice, "conversions_per_impression")
    assert timing.expected_effect == pytest.approx(gain)
    assert timing.expected_effect_interval.lower > 0
    assert "60 users lately reached" in timing.evidence


async def test_without_a_model_the_other_types_are_still_recommended(closed: Closed) -> None:
    await insert_channels(closed)
    await closed.execute("update optimizer.ml_models set status = 'retired'")
    answer = await closed.recommend()
    assert reasons(answer)["offer_amount"] == "MODEL_NOT_TRAINED"
    assert list(by_type(answer)) == ["channel"]


async def test_what_cannot_be_made_anew_now_stays(closed: Closed) -> None:
    offer = await closed.offer()
    await closed.execute("update optimizer.ml_models set status = 'retired'")
    closed.clock.now += DAY
    answer = await closed.recommend()
    assert by_type(answer)["offer_amount"] == offer
    assert "offer_amount" not in reasons(answer)
    closed.clock.now += 14 * DAY
    answer = await closed.recommend()
    assert not answer.recommendations
    assert reasons(answer)["offer_amount"] == "MODEL_NOT_TRAINED"


async def test_a_campaign_of_no_type_and_merchant_is_told_what_is_missing(closed: Closed) -> None:
    await closed.execute("insert into analytics.campaigns (campaign_id) values ('bare')")
    answer = await closed.recommend("bare")
    assert not answer.recommendations
    assert reasons(answer) == {
        "offer_amount": "OFFER_UNSUPPORTED",
        "timing": "CAMPAIGN_TYPE_UNKNOWN",
        "segment": "SEGMENTS_UNKNOWN",
        "channel": "CAMPAIGN_TYPE_UNKNOWN",
    }


async def test_without_revenue_the_offer_is_made_for_conversions(closed: Closed) -> None:
    await closed.execute("update analytics.campaign_delivery_daily set revenue_micros = 0")
    offer = await closed.offer()
    assert offer.effect_metric == "conversion_rate"
    assert float(offer.choice) > 20


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


async def test_the_job_says_what_it_did(closed: Closed) -> None:
    await closed.offer()
    closed.clock.now += 15 * DAY
    database = await Database.open(closed.addresses.optimizer, application_name="test")

    async def save(_cursor: Cursor) -> None:
        raise AssertionError("the job needs no cursor")

    try:
        job = build_outcomes_job(OutcomeKeeper(database, now=closed.clock), seconds=60.0)
        result = await job.run(JobContext(job_name=job.name, cursor={}, save=save))
    finally:
        await database.close()
    assert (job.name, str(job.schedule)) == ("outcomes", "every 60 s")
    assert result == "1 expired, 0 outcomes measured, 0 tests kept"


async def test_a_token_of_another_shape_is_refused(closed: Closed) -> None:
    for applied, name in ((10**30, str(uuid4())), (1, "x"), ("x", str(uuid4()))):
        token = encode_page_token({"applied": applied, "id": name, "campaign_id": ""})
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await closed.outcomes(page_token=token)
        assert refusal_of(refused.value).reason == "PAGE_TOKEN_INVALID"
