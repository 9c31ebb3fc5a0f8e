"""What applied offers and ended tests earned, over the real job, database and stub, beside what was
promised."""

from datetime import UTC, date, datetime

import pytest

from gen.campaigns.optimizer.v1 import offers_pb2, outcomes_pb2
from tests.contract.optimizer.recommendation_stand import CAMPAIGN, DAY, Closed, decision, end_test
from tests.unit.optimizer.synthetic import END_DAY

REVENUE = 40


async def insert_days(
    closed: Closed,
    first_day: date,
    *,
    offer: float,
    rate: float,
    days: int = 10,
    views: int = 200,
    campaign: str = CAMPAIGN,
) -> None:
    """Days that convert a little more, and less, than `rate`; a conversion brings 40."""
    for place in range(days):
        conversions = round(views * rate) + place % 3 - 1
        await closed.execute(
            "insert into analytics.campaign_delivery_daily values"
            " ($1, $2, $3, 2, 1, $4, $4, 0, $5, $6, 0, 0, 0, 0, 0)",
            campaign,
            first_day + place * DAY,
            round(offer * 1e6),
            views,
            conversions,
            conversions * REVENUE * 1_000_000,
        )


async def measure(closed: Closed, **fields: object) -> outcomes_pb2.OfferOutcome:
    closed.clock.now += 11 * DAY
    await closed.reckon()
    (outcome,) = (await closed.outcomes(**fields)).outcomes
    return outcome


async def apply_offer(closed: Closed) -> tuple[float, offers_pb2.OptimizeOfferResponse]:
    """Apply the offer that is recommended, and forget what was before; the answer that it was made from."""
    answer = await closed.stub.OptimizeOffer(offers_pb2.OptimizeOfferRequest(campaign_id=CAMPAIGN))
    recommended = await closed.offer()
    await decision(closed.stub, "MarkRecommendationApplied", recommendation_id=recommended.recommendation_id)
    await closed.execute("delete from analytics.campaign_delivery_daily where campaign_id = $1", CAMPAIGN)
    await insert_days(closed, END_DAY - 12 * DAY, offer=5, rate=0.15)
    return float(recommended.choice), answer


async def test_an_applied_offer_is_verified_by_profit_as_it_was_promised(closed: Closed) -> None:
    offer, answer = await apply_offer(closed)
    await insert_days(closed, END_DAY + DAY, offer=offer, rate=0.4)
    outcome = await measure(closed)
    worth, promise = outcome.worth, outcome.promise
    assert (worth.currency_code, worth.gross_margin_rate, worth.clustering) == ("USD", 1.0, "days")
    assert not worth.HasField("observed_users")
    # Per view: rate x (revenue - offer); of ten days one conversion is missing (one of 2,000 views).
    assert worth.profit.previous.value == pytest.approx((0.15 - 0.0005) * (REVENUE - 5))
    assert worth.profit.observed.value == pytest.approx((0.4 - 0.0005) * (REVENUE - offer))
    assert worth.revenue.observed.value == pytest.approx((0.4 - 0.0005) * REVENUE)
    gain = worth.profit.observed.value / worth.profit.previous.value - 1
    assert worth.profit.effect.value == pytest.approx(gain)
    assert worth.profit.effect.interval.lower < gain < worth.profit.effect.interval.upper
    values = {point.offer_amount: point.objective_value for point in answer.response_curve}
    assert worth.predicted_profit == pytest.approx(values[offer])
    assert worth.previous_predicted_profit == pytest.approx(values[5.0])
    assert promise.metric == "profit_per_view"
    assert promise.expected.value == pytest.approx(answer.expected_improvement_percent / 100)
    told = answer.expected_improvement_percent_interval
    ends = promise.expected.interval.lower, promise.expected.interval.upper
    assert ends == pytest.approx((told.lower / 100, told.upper / 100))
    assert promise.observed == worth.profit.effect
    assert promise.difference.value == pytest.approx(gain - promise.expected.value)
    assert promise.agreement in {"agrees", "below", "above"}
    assert (outcome.comparison, outcome.HasField("concurrent_worth")) == ("before_after", False)
    assert "not what the change caused" in outcome.reading
    assert "regression to the mean" in outcome.reading


async def test_the_previous_offer_on_the_same_days_is_the_better_comparison(closed: Closed) -> None:
    """Everybody converts twice as often since, whatever the offer: nothing is gained by it."""
    offer, _ = await apply_offer(closed)
    await insert_days(closed, END_DAY + DAY, offer=offer, rate=0.3)
    await insert_days(closed, END_DAY + DAY, offer=5, rate=0.3)
    outcome = await measure(closed)
    assert outcome.comparison == "concurrent_offer"
    assert "same days" in outcome.reading
    earned = outcome.concurrent_worth.profit
    assert earned.effect.value == pytest.approx((REVENUE - offer) / (REVENUE - 5) - 1)
    assert earned.effect.value < 0 < outcome.worth.profit.effect.value
    assert outcome.promise.observed == earned.effect
    assert outcome.promise.agreement == "below"


async def test_of_an_unknown_margin_no_profit_is_said(closed: Closed) -> None:
    """A recommendation from before its terms were kept: revenue is told, and what was promised."""
    offer, _ = await apply_offer(closed)
    await closed.execute(
        "update optimizer.campaign_optimizations set recommendation = recommendation - 'terms'"
    )
    await insert_days(closed, END_DAY + DAY, offer=offer, rate=0.4)
    outcome = await measure(closed)
    assert not outcome.worth.HasField("gross_margin_rate")
    assert not outcome.worth.HasField("profit")
    assert outcome.worth.currency_code == "USD"
    assert outcome.worth.revenue.change.value > 0
    assert outcome.promise.HasField("expected")
    assert not outcome.promise.HasField("observed")
    assert not outcome.promise.HasField("difference")
    assert outcome.promise.agreement == ""


async def test_what_is_counted_is_counted_once_a_day(closed: Closed) -> None:
    await apply_offer(closed)
    await measure(closed)
    assert await closed.reckon() == "0 expired, 0 outcomes measured, 0 tests kept"
    closed.clock.now += DAY
    assert await closed.reckon() == "0 expired, 1 outcomes measured, 0 tests kept"


async def test_a_tests_campaigns_are_compared_over_its_days(closed: Closed) -> None:
    started_at = datetime(2027, 1, 4, 12, tzinfo=UTC)
    for campaign, rate in (("campaign-1", 0.1), ("campaign-2", 0.2)):
        await insert_days(closed, date(2027, 1, 4), offer=7, rate=rate, days=6, campaign=campaign)
    await end_test(closed, "t", started_at)
    closed.clock.now = started_at
    outcome = await measure(closed, campaign_id="campaign-2")
    assert outcome.comparison == "randomised_control"
    assert not outcome.HasField("promise")
    earned = outcome.worth.profit
    assert (earned.previous.value, earned.observed.value) == pytest.approx((0.1 * 33, 0.2 * 33))
    assert earned.change.interval.lower > 0
    await closed.execute(
        "update analytics.campaigns set currency_code = 'EUR' where campaign_id = 'campaign-1'"
    )
    await end_test(closed, "t2", started_at)
    await end_test(closed, "t3", started_at)
    await closed.execute(
        "update abtest.ab_test_groups set campaign_id = 'gone' where test_id = 't3' and group_index = 0"
    )
    await closed.reckon()
    latest = {each.source_id: each for each in (await closed.outcomes(campaign_id="campaign-2")).outcomes}
    assert not latest["t2"].HasField("worth")  # in two currencies
    assert not latest["t3"].HasField("worth")  # against a campaign that nobody knows
