"""Plans and unseen campaigns without a server: refusals, sums, levels of others, what a version keeps."""

import json
from dataclasses import replace
from datetime import date

import numpy as np
import pytest

from services.common.errors import FailedPreconditionError
from services.optimizer.domain.campaigns import TypicalHistory
from services.optimizer.domain.features import Situation
from services.optimizer.domain.models.serving_parameters import ServingParameters, from_document, to_document
from services.optimizer.domain.objectives import Economics, Objective
from services.optimizer.domain.offers.answer import answer_offer
from services.optimizer.domain.offers.case import OfferCase
from services.optimizer.domain.offers.prediction import NO_REVENUE, Plan, Surroundings, predict_plan
from services.optimizer.domain.offers.recommendation import Question
from services.optimizer.domain.offers.unseen_campaigns import as_seen, like_others
from services.optimizer.domain.response.between_campaigns import (
    BetweenCampaigns,
    MerchantEffect,
    Spread,
    TypeSpread,
)
from services.optimizer.domain.response.revenue_spread import CampaignRevenue
from tests.unit.optimizer.examples import MODEL

BETWEEN = BetweenCampaigns(
    types={
        1: TypeSpread(
            campaigns=20,
            level=Spread(mean=-3.0, deviation=0.4, degrees=24.0, mean_variance=0.008),
            view_rate=Spread(mean=0.0, deviation=0.1, degrees=24.0, mean_variance=0.0005),
        )
    },
    merchants={3: MerchantEffect(mean=0.5, variance=0.01)},
    merchant_variance=0.09,
    day_deviation=0.2,
)
KNOWN = replace(MODEL.parameters, between=BETWEEN)
PLAN = Plan(campaign_type=1, merchant_id=3, offer_micros=7_500_000, impressions=2_000)
TYPICAL = TypicalHistory(impressions=2_000.0, views=1_000.0, conversions=80.0, daily_views=50.0)
ALONE = Surroundings(daily_views=50.0, revenue=None)
CASE = OfferCase(
    question=Question(
        campaign_type=1,
        current_offer_micros=None,
        objective=Objective.CONVERSION_RATE,
        economics=Economics(mean_revenue=None, gross_margin_rate=None),
    ),
    situation=Situation(
        day=date(2026, 3, 2),
        campaign_type=1,
        merchant_id=3,
        historical_impressions=0,
        historical_conversions=0,
    ),
    anchor_offers_micros=(6_000_000, 7_000_000, 9_000_000),
    anchor_weights=(1.0, 1.0, 1.0),
    known_rate=None,
    daily_views=None,
)


def test_a_version_keeps_how_campaigns_differ() -> None:
    document = json.loads(json.dumps(to_document(KNOWN)))
    assert from_document(document).between == BETWEEN
    del document["between"]["types"]["1"]["level"]["mean_variance"]
    older = from_document(document).between.types[1].level
    assert older.mean_variance == pytest.approx(0.4**2 / 20)
    del document["between"]
    assert from_document(document).between == BetweenCampaigns()


def test_sums_follow_from_the_impressions() -> None:
    revenue = CampaignRevenue(mean=40.0, log_deviation=0.1, degrees=10.0, order_variation=1.0)
    prediction = predict_plan(PLAN, Surroundings(daily_views=50.0, revenue=revenue), KNOWN, 3)
    assert prediction.views is not None
    assert prediction.conversions is not None
    assert prediction.revenue is not None
    assert prediction.views.value == pytest.approx(1_000, rel=0.01)
    assert prediction.conversions.value == pytest.approx(1_000 * prediction.rate.value, rel=0.01)
    assert prediction.revenue.value == pytest.approx(40.0 * prediction.conversions.value, rel=1e-9)
    for estimate in (prediction.rate, prediction.views, prediction.conversions, prediction.revenue):
        assert estimate.lower < estimate.value < estimate.upper
    assert (prediction.campaigns, prediction.model_version) == (20, 3)
    assert NO_REVENUE not in prediction.warnings


def test_few_viewers_and_few_days_widen_the_sums_and_not_the_rate() -> None:
    small = predict_plan(replace(PLAN, impressions=200), ALONE, KNOWN, 3)
    large = predict_plan(replace(PLAN, impressions=200_000), ALONE, KNOWN, 3)
    assert small.rate == large.rate
    assert small.conversions is not None
    assert large.conversions is not None
    widths = [(sums.upper - sums.lower) / sums.value for sums in (small.conversions, large.conversions)]
    assert widths[0] > 1.3 * widths[1]
    assert NO_REVENUE in small.warnings


def test_an_unknown_merchants_campaign_is_less_certain() -> None:
    known = predict_plan(PLAN, ALONE, KNOWN, 3).rate
    unknown = predict_plan(replace(PLAN, merchant_id=99), ALONE, KNOWN, 3).rate
    assert known.value > 1.3 * unknown.value
    assert (unknown.upper / unknown.lower) > (known.upper / known.lower)


@pytest.mark.parametrize(
    ("plan", "parameters"),
    [
        (replace(PLAN, campaign_type=2), KNOWN),
        (PLAN, MODEL.parameters),
        (replace(PLAN, offer_micros=20_000_000), KNOWN),
    ],
    ids=["untried type", "too few campaigns", "untried offer"],
)
def test_what_the_data_cannot_speak_of_is_refused(plan: Plan, parameters: ServingParameters) -> None:
    with pytest.raises(FailedPreconditionError) as refused:
        predict_plan(plan, ALONE, parameters, 3)
    assert refused.value.reason == "OFFER_UNSUPPORTED"


def test_an_unseen_campaign_stands_where_others_do() -> None:
    case = like_others(CASE, TYPICAL, KNOWN)
    assert case.anchor_offers_micros == KNOWN.support[1].tried_micros
    assert case.daily_views == 50.0
    assert case.level is not None
    assert case.level == BETWEEN.new_level(1, 3)
    assert case.level_spread == case.level.normal_deviation > 0.0


@pytest.mark.parametrize("compared_with", [None, 6_000_000, 9_000_000, 80_000_000])
def test_the_offer_that_it_is_compared_with_does_not_move_an_unseen_campaign(
    compared_with: int | None,
) -> None:
    """At every offer it stands where a prediction of the plan does."""
    question = replace(CASE.question, current_offer_micros=compared_with)
    anchor = (compared_with or 7_000_000,)
    case = replace(CASE, question=question, anchor_offers_micros=anchor, anchor_weights=(1.0,))
    case = like_others(case, TYPICAL, KNOWN)
    rows = len(case.features(KNOWN))
    answer = answer_offer(case, np.full(rows, 0.9), KNOWN, 3)
    for point in answer.recommendation.curve:
        if point.is_supported:
            plan = replace(PLAN, offer_micros=point.offer_micros)
            predicted = predict_plan(plan, ALONE, KNOWN, 3).rate.value
            assert point.conversion_rate == pytest.approx(predicted, abs=1e-6)


def test_a_rate_that_was_seen_is_as_sure_as_the_views_behind_it() -> None:
    seen = replace(CASE, known_rate=0.2, known_rate_views=400, daily_views=50.0)
    assert as_seen(seen, KNOWN).level_spread == pytest.approx(1.0 / (400 * 0.2 * 0.8) ** 0.5)
    level = BETWEEN.new_level(1, 3)
    assert level is not None
    unknown = as_seen(replace(seen, known_rate_views=None), KNOWN)
    assert (unknown.level_spread, unknown.daily_views) == (level.normal_deviation, 50.0)
    alone = as_seen(replace(seen, known_rate_views=None), MODEL.parameters)
    assert alone.daily_views is None
    with pytest.raises(LookupError):
        as_seen(CASE, KNOWN)


def test_a_rate_that_was_seen_far_from_what_was_sent_is_refused() -> None:
    seen = replace(CASE, known_rate=0.2, known_rate_views=400, daily_views=50.0)
    with pytest.raises(FailedPreconditionError) as refused:
        as_seen(replace(seen, anchor_offers_micros=(1_000_000_000,)), KNOWN)
    assert refused.value.reason == "OFFER_UNSUPPORTED"
    assert refused.value.metadata["field"] == "current_offer"
    assert (
        "current_offer, 1000, and campaigns of this type have sent 6, 9, nothing near"
        in refused.value.message
    )
    untried = replace(KNOWN, support={})
    assert as_seen(replace(seen, anchor_offers_micros=(1_000_000_000,)), untried).level_spread > 0.0


def test_without_campaigns_to_be_like_an_unseen_one_has_no_interval() -> None:
    case = like_others(replace(CASE, daily_views=30.0), TYPICAL, MODEL.parameters)
    assert case == CASE
