"""Outcomes of applied recommendations and ended tests, measured beside what was predicted."""

import math
from datetime import UTC, date, datetime
from uuid import uuid4

import grpc
import pytest

from gen.campaigns.optimizer.v1 import offers_pb2
from services.common.paging import encode_page_token
from tests.contract.optimizer.harness import (
    refusal_of,
)
from tests.contract.optimizer.recommendation_stand import CAMPAIGN, DAY, Closed, decision, end_test
from tests.unit.optimizer.synthetic import END_DAY


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
    offer, rates = await closed.offer(), await predicted_rates(closed)
    await decision(closed.stub, "MarkRecommendationApplied", recommendation_id=offer.recommendation_id)
    await insert_days(closed, END_DAY + DAY, 10, offer=float(offer.choice), views=200, rate=0.3)
    await insert_days(closed, END_DAY + DAY, 10, offer=5.5, views=999, rate=0.9)
    await closed.execute(
        "delete from analytics.campaign_delivery_daily where campaign_id = $1 and day between $2 and $3",
        CAMPAIGN,
        END_DAY - 27 * DAY,
        END_DAY,
    )
    await insert_days(closed, END_DAY - 3 * DAY, 3, offer=5, views=100, rate=0.15)
    await insert_days(closed, END_DAY - 3 * DAY, 3, offer=9, views=999, rate=0.9)
    closed.clock.now += 11 * DAY
    assert await closed.reckon() == "0 expired, 1 outcomes measured, 0 tests kept"
    (outcome,) = (await closed.outcomes(campaign_id=CAMPAIGN)).outcomes
    assert (outcome.source, outcome.source_id) == ("recommendation", offer.recommendation_id)
    assert (outcome.type, outcome.choice) == ("offer_amount", offer.choice)
    assert (outcome.previous_offer, outcome.offer_amount) == (5.0, float(offer.choice))
    assert outcome.effect_metric == "conversion_rate"
    assert outcome.predicted_conversion_rate == pytest.approx(rates[outcome.offer_amount])
    assert outcome.expected_effect == pytest.approx(rates[outcome.offer_amount] / rates[5.0] - 1)
    assert outcome.observed_views == 2000
    assert outcome.observed_conversion_rate == pytest.approx(0.3, abs=0.01)
    interval = outcome.observed_conversion_rate_interval
    assert interval.lower < outcome.observed_conversion_rate < interval.upper < 0.32
    assert outcome.predicted_conversion_rate_interval.lower < outcome.predicted_conversion_rate
    assert outcome.previous_predicted_conversion_rate == pytest.approx(rates[5.0])
    assert outcome.previous_conversion_rate == pytest.approx(0.15)  # at the $5 before, not at the $9
    assert (outcome.previous_views, outcome.previous_conversions) == (300, 45)
    before = outcome.previous_conversion_rate_interval
    # Days of 14, 15 and 16 in 100: R = 0.15, var(R) / R^2 = 3 / 2 * 2 / 45^2; t of 2 degrees is 2.92.
    times = math.exp(2.919986 * math.sqrt(3 / 2 * 2 / 45**2))
    assert (before.lower, before.upper) == pytest.approx((0.15 / times, 0.15 * times))
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


async def predicted_rates(closed: Closed) -> dict[float, float]:
    """What was predicted of the campaign, by offer, by the answer that the recommendation was made from."""
    answer = await closed.stub.OptimizeOffer(offers_pb2.OptimizeOfferRequest(campaign_id=CAMPAIGN))
    return {point.offer_amount: point.predicted_conversion_rate for point in answer.response_curve}


async def test_hours_are_measured_by_impressions_as_they_were_recommended(closed: Closed) -> None:
    offer = await closed.offer()
    await closed.execute(
        "update optimizer.campaign_optimizations set optimization_type = 'timing', choice = '19',"
        " recommendation = recommendation || $1::jsonb",
        '{"type": "timing", "choice": "19", "effect": 0.25, "effect_metric": "conversions_per_impression",'
        ' "interval": {"lower": 0.1, "upper": 0.4}, "offer_micros": null, "previous_offer_micros": null,'
        ' "predicted_rate": null,'
        ' "predicted_interval": null, "previous_rate": null}',
    )
    await decision(closed.stub, "MarkRecommendationApplied", recommendation_id=offer.recommendation_id)
    await closed.execute("delete from analytics.campaign_delivery_daily where campaign_id = $1", CAMPAIGN)
    for first_day, views in ((END_DAY - 4 * DAY, 60), (END_DAY + DAY, 120)):
        await insert_days(closed, first_day, 5, offer=5, views=views, rate=0.2)
    await closed.execute(
        "update analytics.campaign_delivery_daily set impressions = 200 where campaign_id = $1", CAMPAIGN
    )
    closed.clock.now += 11 * DAY
    await closed.reckon()
    (outcome,) = (await closed.outcomes()).outcomes
    assert outcome.effect_metric == "conversions_per_impression"
    assert outcome.expected_effect == 0.25
    assert outcome.expected_effect_interval == outcome.promise.expected.interval
    assert (outcome.expected_effect_interval.lower, outcome.expected_effect_interval.upper) == (0.1, 0.4)
    assert not outcome.HasField("previous_predicted_conversion_rate")
    # As many of the views convert, and twice as many of the impressions.
    assert outcome.observed_conversion_rate == pytest.approx(outcome.previous_conversion_rate, abs=0.005)
    assert outcome.observed_effect == pytest.approx(1.0, abs=0.05)
    # Days of 200 impressions: four before that of the application, which is on neither side, and five since.
    assert (outcome.worth.previous_trials, outcome.worth.observed_trials) == (800, 1_000)
    before, since = (
        conversions / trials
        for conversions, trials in (
            (outcome.previous_conversions, outcome.worth.previous_trials),
            (outcome.observed_conversions, outcome.worth.observed_trials),
        )
    )
    assert since / before - 1.0 == pytest.approx(outcome.observed_effect)
    assert outcome.observed_effect_interval.lower > 0.8


async def test_an_unknown_campaign_has_no_outcomes(closed: Closed) -> None:
    assert not (await closed.outcomes(campaign_id=CAMPAIGN)).outcomes
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await closed.outcomes(campaign_id="nope")
    refusal = refusal_of(refused.value)
    assert (refusal.code, refusal.reason) == ("NOT_FOUND", "CAMPAIGN_UNKNOWN")


async def test_what_was_applied_after_the_job_read_its_clock_is_measured(closed: Closed) -> None:
    offer = await closed.offer()
    closed.clock.now += DAY
    await decision(closed.stub, "MarkRecommendationApplied", recommendation_id=offer.recommendation_id)
    closed.clock.now -= DAY / 2
    assert await closed.reckon() == "0 expired, 1 outcomes measured, 0 tests kept"
    (outcome,) = (await closed.outcomes()).outcomes
    assert outcome.measure_time == outcome.apply_time


async def test_an_outcome_without_views_says_only_that(closed: Closed) -> None:
    offer = await closed.offer()
    await decision(closed.stub, "MarkRecommendationApplied", recommendation_id=offer.recommendation_id)
    await closed.reckon()
    (outcome,) = (await closed.outcomes()).outcomes
    assert (outcome.observed_views, outcome.observed_conversions) == (0, 0)
    assert not outcome.HasField("observed_conversion_rate")
    assert not outcome.HasField("observed_effect")


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
    assert outcome.effect_metric == "converting_users"
    assert outcome.is_final


async def test_of_a_test_in_which_nobody_converted_no_change_is_told(closed: Closed) -> None:
    started_at = datetime(2027, 1, 4, 12, tzinfo=UTC)
    for campaign, offer in (("campaign-1", 7), ("campaign-2", 9)):
        await insert_days(closed, date(2027, 1, 4), 1, offer=offer, views=100, rate=0.01, campaign=campaign)
    await end_test(closed, "t/1", started_at)
    await closed.execute(
        "update abtest.ab_test_group_results set conversions = 0, relative_lift = null,"
        " relative_lift_lower = -0.97, relative_lift_upper = 63.4 where group_index = 1"
    )
    closed.clock.now = started_at + 6 * DAY
    await closed.reckon()
    (outcome,) = (await closed.outcomes(campaign_id="campaign-2")).outcomes
    assert not outcome.HasField("observed_effect")
    assert not outcome.HasField("observed_effect_interval")
    rate = outcome.observed_conversion_rate_interval
    assert (outcome.observed_conversion_rate, rate.lower) == (0.0, 0.0)
    assert rate.upper == pytest.approx(1.0 - 0.05**0.01)
    assert outcome.previous_conversion_rate_interval == rate


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


async def test_a_token_of_another_shape_is_refused(closed: Closed) -> None:
    for applied, name in ((10**30, str(uuid4())), (1, "x"), ("x", str(uuid4()))):
        token = encode_page_token({"applied": applied, "id": name, "campaign_id": ""})
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await closed.outcomes(page_token=token)
        assert refusal_of(refused.value).reason == "PAGE_TOKEN_INVALID"
