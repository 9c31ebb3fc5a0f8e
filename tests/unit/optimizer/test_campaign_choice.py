# ruff: noqa: ANN401 (fields of a campaign pass through here)
"""Which campaigns to show: order, scores, reasons, rates, and what cannot be compared."""

import math
from collections.abc import Sequence
from dataclasses import replace
from datetime import date
from typing import Any

import numpy as np
import pytest

from services.optimizer.domain.affinity.answer import MerchantAffinity, UserScores
from services.optimizer.domain.affinity.response import UNKNOWN_RESPONSE
from services.optimizer.domain.features import Situation
from services.optimizer.domain.objectives import Economics, Objective
from services.optimizer.domain.offers.answer import ExpectedRate, Interval, rate_at
from services.optimizer.domain.offers.case import OfferCase
from services.optimizer.domain.offers.recommendation import Question
from services.optimizer.domain.recommendations.campaign_choice import (
    ActiveCampaign,
    Candidate,
    choice_features,
    choose_candidates,
    expect_rates,
    nearest_merchants,
    rank_choices,
    within_batch,
)
from services.optimizer.domain.response.between_campaigns import Spread
from services.optimizer.domain.response.response import logistic
from tests.unit.optimizer.examples import MODEL

CAMPAIGN = ActiveCampaign(
    campaign_id="c",
    campaign_name="C",
    campaign_type=2,
    merchant_id=1,
    currency_code="USD",
    offer_micros=10_000_000,
)


def affinity(merchant: int, score: float) -> MerchantAffinity:
    return MerchantAffinity(
        merchant_id=merchant,
        merchant_name=f"m{merchant}",
        score=score,
        score_range=None,
        reasons=(f"visited m{merchant}",),
        is_returning=True,
        distance_km=None,
    )


def candidate(campaign_id: str, score: float, *, merchant: int = 1, **fields: Any) -> Candidate:
    campaign = replace(CAMPAIGN, campaign_id=campaign_id, merchant_id=merchant, **fields)
    return Candidate(campaign=campaign, affinity=score)


def scores(*candidates: Candidate, exponent: float = 1.0) -> UserScores:
    known = {entry.campaign.merchant_id or 0: entry.affinity for entry in candidates}
    return UserScores(
        scores=known,
        explain=lambda chosen: tuple(affinity(merchant, known[merchant]) for merchant in chosen),
        response=replace(UNKNOWN_RESPONSE, exponent=exponent, usual_log_score=math.log(0.4)),
    )


def rates(*values: float) -> list[ExpectedRate]:
    return [ExpectedRate(rate=value, interval=None) for value in values]


def test_the_order_is_by_affinity_and_rate_and_no_offer_buys_a_place() -> None:
    """Odds of 1/9 and 2/3, moved by affinities of 0.5, 0.2 and 0.4 over the usual 0.4."""
    candidates = [candidate("a", 0.5), candidate("b", 0.2), candidate("c", 0.4, offer_micros=20_000_000)]
    ranked = rank_choices(candidates, rates(0.1, 0.4, 0.1), scores(*candidates), limit=10)
    assert [choice.candidate.campaign.campaign_id for choice in ranked] == ["b", "a", "c"]
    assert [choice.expected_value for choice in ranked] == pytest.approx([1 / 4, 5 / 41, 1 / 10])
    assert [choice.score for choice in ranked] == pytest.approx([1.0, 20 / 41, 2 / 5])
    assert len(rank_choices(candidates, rates(0.1, 0.4, 0.1), scores(*candidates), limit=2)) == 2


def test_affinity_counts_as_much_as_views_told_and_no_more() -> None:
    candidates = [candidate("near", 0.8), candidate("good", 0.2)]
    first = {
        exponent: rank_choices(candidates, rates(0.1, 0.2), scores(*candidates, exponent=exponent), limit=1)
        for exponent in (0.0, 0.2, 1.0)
    }
    names = {exponent: choice[0].candidate.campaign.campaign_id for exponent, choice in first.items()}
    assert names == {0.0: "good", 0.2: "good", 1.0: "near"}
    assert first[0.0][0].expected_value == pytest.approx(0.2)


def test_the_weightier_reason_comes_first_and_the_offer_last() -> None:
    candidates = [candidate("a", 0.9), candidate("b", 0.3), candidate("c", 0.3, currency_code="")]
    by_id = {
        choice.candidate.campaign.campaign_id: choice.reasons
        for choice in rank_choices(candidates, rates(0.1, 0.3, 0.1), scores(*candidates), limit=3)
    }
    assert by_id["a"] == (
        "visited m1",
        "10.0% of all who view it are expected to convert, about the middle of the campaigns compared",
        "offers 10.00 USD",
    )
    assert by_id["b"][0].startswith("30.0% of all who view it are expected to convert, above the middle of")
    assert by_id["c"][-1] == "offers 10.00"


def test_what_is_expected_is_told_with_its_interval() -> None:
    """Odds of 1/9, 1/4 and 3/7, moved by an affinity of half the usual one."""
    near = candidate("a", 0.2)
    rate = ExpectedRate(rate=0.2, interval=Interval(lower=0.1, upper=0.3))
    (choice,) = rank_choices([near], [rate], scores(near), limit=1)
    assert choice.expected_value == pytest.approx(1 / 9)
    assert choice.value_interval is not None
    assert [choice.value_interval.lower, choice.value_interval.upper] == pytest.approx([1 / 19, 3 / 17])
    assert choice.reasons[1].startswith(
        "20.0% (10.0% to 30.0% on nine days in ten) of all who view it are expected"
    )


def test_equal_values_are_ordered_by_id() -> None:
    candidates = [candidate("b", 0.0), candidate("a", 0.0)]
    ranked = rank_choices(candidates, rates(0.1, 0.1), scores(*candidates), limit=9)
    assert [(choice.candidate.campaign.campaign_id, choice.score) for choice in ranked] == [
        ("a", 1.0),
        ("b", 1.0),
    ]
    assert rank_choices([], [], scores(), limit=9) == []


def test_what_cannot_be_compared_is_left_out_and_the_nearest_come_first() -> None:
    campaigns = [
        replace(CAMPAIGN, campaign_id="far", merchant_id=2),
        replace(CAMPAIGN, campaign_id="near"),
        replace(CAMPAIGN, campaign_id="typeless", campaign_type=None),
        replace(CAMPAIGN, campaign_id="offerless", offer_micros=None),
        replace(CAMPAIGN, campaign_id="homeless", merchant_id=None),
        replace(CAMPAIGN, campaign_id="unknown", merchant_id=9),
    ]
    found = choose_candidates(campaigns, {2: 0.1, 1: 0.6})
    assert [entry.campaign.campaign_id for entry in found] == ["near", "far"]


def test_only_the_merchants_of_the_chosen_are_explained() -> None:
    asked: list[Sequence[int]] = []

    def explain(chosen: Sequence[int]) -> tuple[MerchantAffinity, ...]:
        asked.append(chosen)
        return tuple(affinity(merchant, 0.5) for merchant in chosen)

    candidates = [candidate(f"c{merchant}", 0.5, merchant=merchant) for merchant in (4, 3, 2, 1)]
    found = rank_choices(
        candidates, rates(0.1, 0.2, 0.3, 0.4), UserScores(scores={}, explain=explain), limit=2
    )
    assert [choice.affinity.merchant_id for choice in found] == [1, 2]
    assert asked == [[1, 2]]


def test_merchants_are_looked_at_until_their_campaigns_are_enough() -> None:
    near = {merchant: 1.0 / merchant for merchant in (1, 2, 3, 4)}
    counts = {1: 10, 2: 3_990, 3: 1, 4: 1, None: 50}
    assert nearest_merchants(counts, near) == [1, 2]
    assert nearest_merchants({**counts, 2: 3_989}, near) == [1, 2, 3]
    assert nearest_merchants({None: 50}, {}) == []


def case(campaign_type: int, *offers: int, level: Spread | None = None) -> OfferCase:
    return OfferCase(
        question=Question(
            campaign_type=campaign_type,
            current_offer_micros=None,
            objective=Objective.CONVERSION_RATE,
            economics=Economics(mean_revenue=None, gross_margin_rate=None),
        ),
        situation=Situation(
            day=date(2026, 11, 20),
            campaign_type=campaign_type,
            merchant_id=3,
            historical_impressions=2_000,
            historical_conversions=120,
        ),
        anchor_offers_micros=offers,
        anchor_weights=(1.0,) * len(offers),
        known_rate=None,
        daily_views=None,
        level=level,
    )


def test_each_campaign_is_asked_about_at_the_offers_it_sent_and_answered_at_its_own() -> None:
    cases = [
        case(1, 6_000_000, 8_000_000),
        case(1, 6_000_000, level=Spread(mean=-2.0, deviation=0.0, degrees=9.0)),
        case(9, 9_000_000),
    ]
    candidates = [candidate("a", 0.5, offer_micros=6_000_000), candidate("b", 0.5), candidate("c", 0.5)]
    rows = choice_features(cases, MODEL.parameters)
    assert rows[:, 0].tolist() == [6.0, 8.0, 9.0]
    predicted = np.array([0.1, 0.2, 0.3])
    found = expect_rates([each.campaign for each in candidates], cases, predicted, MODEL.parameters)
    assert found[0] == rate_at(cases[0], 6_000_000, predicted[:2], MODEL.parameters)
    effect = float(MODEL.parameters.response[1].effect(np.array([10.0]))[0])
    assert found[1].rate == pytest.approx(float(logistic(np.array([effect - 2.0]))[0]))
    assert found[2].rate == pytest.approx(0.3)  # its type's answer to offers is not known
    assert choice_features([], MODEL.parameters).shape == (0, 7)


def test_no_more_is_asked_than_the_model_server_takes_at_once() -> None:
    cases = [case(1, *([6_000_000] * 2_000))] * 3
    assert within_batch(cases) == 2
    assert within_batch([]) == 0
