"""Recommendations through a real server: what is said, kept, withheld and made anew."""

import asyncio
import re
from datetime import UTC, timedelta

import pytest

from gen.campaigns.optimizer.v1.offer_constraints_pb2 import SetOfferConstraintsRequest
from gen.campaigns.optimizer.v1.offers_pb2 import OptimizeOfferRequest
from tests.contract.optimizer.harness import NOON
from tests.contract.optimizer.recommendation_stand import CAMPAIGN, DAY, Closed, by_type, reasons
from tests.unit.optimizer.synthetic import END_DAY


async def test_an_offer_is_recommended_with_what_it_gains(closed: Closed) -> None:
    answer = await closed.recommend()
    offer = by_type(answer)["offer_amount"]
    said = f"Offer {float(offer.choice):.2f} USD instead of 5.00 USD: +"
    assert offer.recommendation.startswith(said)
    assert " USD profit per view (" in offer.recommendation
    assert offer.evidence.startswith("profit per view is expected to be ")
    assert " of it gross margin. The conversion rate is expected to be " in offer.evidence
    assert offer.evidence.count(" on nine days in ten)") == 2
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
        "timing": "TOO_FEW_REACHED",
        "segment": "SEGMENTS_UNKNOWN",
        "channel": "CHANNELS_UNKNOWN",
    }
    assert all(each.message for each in answer.withheld)


async def test_an_offer_is_told_in_the_campaigns_currency(closed: Closed) -> None:
    await closed.execute("update analytics.campaigns set currency_code = 'EUR'")
    offer = await closed.offer()
    assert offer.recommendation.startswith(f"Offer {float(offer.choice):.2f} EUR instead of 5.00 EUR: +")


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
    [
        (0.0, "is expected to be the best"),
        (0.5, r"with a probability of 0\.[5-7]\d; asked for is 0\.80 and 2%"),
    ],
)
async def test_what_may_gain_nothing_is_said_so_and_takes_an_open_one_back(
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
    said = {
        "NO_BETTER_CHOICE": "No other choice gains 2% profit per view",
        "GAIN_UNCERTAIN": "Whether one gains 2% profit per view is not known",
    }
    assert said[reasons(answer)["offer_amount"]] in message
    assert "the highest 90 % interval ends at" in message
    assert not answer.recommendations
    rows = await closed.fetch("select status from optimizer.campaign_optimizations")
    assert [row["status"] for row in rows] == ["superseded"]


async def test_an_offer_that_breaks_a_constraint_is_said_so(closed: Closed) -> None:
    best = await closed.offer()
    await closed.execute(
        "update analytics.campaigns set offer_amount_micros = $2 where campaign_id = $1",
        CAMPAIGN,
        round(float(best.choice) * 1e6),
    )
    await closed.stub.SetOfferConstraints(SetOfferConstraintsRequest(campaign_id=CAMPAIGN, maximum_offer=6.0))
    answer = await closed.recommend()
    (withheld,) = [each for each in answer.withheld if each.type == "offer_amount"]
    assert withheld.reason == "CURRENT_OFFER_CONSTRAINED"
    assert f"{float(best.choice):.2f} USD, breaks maximum_offer of 6 (campaign). The best" in withheld.message
    assert "is 6.00 USD; it is better with a probability of 0." in withheld.message
    asked = await closed.stub.OptimizeOffer(OptimizeOfferRequest(campaign_id=CAMPAIGN))
    said = f"The current offer, {float(best.choice):g}, breaks maximum_offer of 6 (campaign)."
    assert said in asked.warnings


async def test_nothing_is_recommended_for_a_campaign_that_is_over(closed: Closed) -> None:
    await closed.offer()
    await closed.execute(
        "update analytics.campaigns set start_at = null, end_at = $2 where campaign_id = $1",
        CAMPAIGN,
        closed.clock.now + timedelta(hours=1),
    )
    assert "offer_amount" in by_type(await closed.recommend())
    closed.clock.now += timedelta(hours=2)
    answer = await closed.recommend()
    assert not answer.recommendations
    assert set(reasons(answer).values()) == {"CAMPAIGN_ENDED"}
    assert len(answer.withheld) == 4
    ended_on = (closed.clock.now - timedelta(hours=1)).date()
    assert f"ended on {ended_on}" in answer.withheld[0].message
    asked = await closed.stub.OptimizeOffer(OptimizeOfferRequest(campaign_id=CAMPAIGN))
    assert f"The campaign ended on {ended_on}; nothing is sent in it any more." in asked.warnings


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
                "insert into analytics.campaigns (campaign_id, campaign_type, merchant_id, channel,"
                " currency_code) values ($1, $2, 1, $3, 'USD')",
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
    costs = (
        "costs 0.01 over the other channel against 0.04 USD over today's, an impression 0.0020 against 0.0020"
    )
    assert costs in channel.evidence


async def test_a_channel_whose_conversions_cost_more_is_not_recommended(closed: Closed) -> None:
    await insert_channels(closed)
    await closed.execute(
        "update analytics.campaign_delivery_daily set cost_micros = 5 * cost_micros"
        " where campaign_id like 'other-2-%'"
    )
    answer = await closed.recommend()
    assert reasons(answer)["channel"] == "COST_NOT_BETTER"
    (message,) = [each.message for each in answer.withheld if each.type == "channel"]
    assert "A conversion costs 0.05 over the other channel against 0.04 USD over today's" in message


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


async def test_the_surest_comes_first(closed: Closed) -> None:
    await insert_segment(closed)
    await insert_channels(closed)
    before = by_type(await closed.recommend())
    assert set(before) == {"offer_amount", "segment", "channel"}
    for kind, confidence in (("segment", 0.95), ("offer_amount", 0.85), ("channel", 0.91)):
        await closed.execute(
            "update optimizer.campaign_optimizations set recommendation = recommendation || $2::jsonb"
            " where optimization_type = $1",
            kind,
            f'{{"confidence": {confidence}}}',
        )
    assert list(by_type(await closed.recommend())) == ["segment", "channel", "offer_amount"]
    assert before["channel"].expected_effect > before["segment"].expected_effect


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


async def test_without_revenue_no_offer_is_recommended(closed: Closed) -> None:
    await closed.offer()
    await closed.execute("update analytics.campaign_delivery_daily set revenue_micros = 0")
    closed.clock.now += DAY
    answer = await closed.recommend()
    assert not answer.recommendations
    assert reasons(answer)["offer_amount"] == "REVENUE_UNKNOWN"
    (message,) = [each.message for each in answer.withheld if each.type == "offer_amount"]
    assert "record revenue with conversions" in message
    (row,) = await closed.fetch("select status from optimizer.campaign_optimizations")
    assert row["status"] == "superseded"
