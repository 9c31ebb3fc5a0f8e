# ruff: noqa: ANN401 (fields of a campaign pass through here)
"""Which campaigns to show: order, scores, reasons, currencies, and what cannot be compared."""

from dataclasses import replace
from datetime import date
from typing import Any

import numpy as np
import pytest

from services.optimizer.domain.affinity_answer import MerchantAffinity
from services.optimizer.domain.campaign_choice import (
    ActiveCampaign,
    Candidate,
    choice_features,
    choose_candidates,
    rank_choices,
)
from services.optimizer.domain.features import Encoding
from services.optimizer.domain.metrics import Conformal

CONFORMAL = Conformal(model_variance=1e-4, quantiles={0.9: 1.7})
CAMPAIGN = ActiveCampaign(
    campaign_id="c",
    campaign_name="C",
    campaign_type=2,
    merchant_id=1,
    currency_code="USD",
    offer_micros=10_000_000,
    impressions=2_000,
    conversions=120,
    views=1_000,
    viewed_days=10,
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
    return Candidate(campaign=campaign, affinity=affinity(merchant, score))


def test_the_value_is_affinity_by_rate_by_offer_and_the_best_scores_one() -> None:
    candidates = [candidate("a", 0.5), candidate("b", 0.2), candidate("c", 0.5, offer_micros=20_000_000)]
    ranked = rank_choices(candidates, np.array([0.1, 0.4, 0.1]), CONFORMAL, limit=10)
    assert [choice.candidate.campaign.campaign_id for choice in ranked] == ["c", "b", "a"]
    assert [choice.expected_value for choice in ranked] == pytest.approx([1.0, 0.8, 0.5])
    assert [choice.score for choice in ranked] == pytest.approx([1.0, 0.8, 0.5])
    assert len(rank_choices(candidates, np.array([0.1, 0.4, 0.1]), CONFORMAL, limit=2)) == 2


def test_the_weightiest_reason_comes_first() -> None:
    candidates = [candidate("a", 0.9), candidate("b", 0.3), candidate("c", 0.3, offer_micros=30_000_000)]
    by_id = {
        choice.candidate.campaign.campaign_id: choice.reasons
        for choice in rank_choices(candidates, np.array([0.1, 0.3, 0.1]), CONFORMAL, limit=3)
    }
    assert by_id["a"][0] == "visited m1"
    assert by_id["b"][0] == "30.0% of those who view it convert, above your campaigns' middle"
    assert by_id["c"][0] == "offers 30.00 USD, above the 16.67 of active campaigns"
    assert "10.0% of those who view it convert, about your campaigns' middle" in by_id["a"]
    assert "offers 10.00 USD, below the 16.67 of active campaigns" in by_id["a"]


def test_offers_of_two_currencies_are_compared_by_their_own_means() -> None:
    """A hundred times the number is not a hundred times the offer."""
    candidates = [
        candidate("usd", 0.5),
        candidate("jpy", 0.5, currency_code="JPY", offer_micros=1_500_000_000),
        candidate("jpy-small", 0.5, currency_code="JPY", offer_micros=500_000_000),
    ]
    ranked = rank_choices(candidates, np.array([0.1, 0.1, 0.1]), CONFORMAL, limit=3)
    assert [choice.candidate.campaign.campaign_id for choice in ranked] == ["jpy", "usd", "jpy-small"]
    assert [choice.score for choice in ranked] == pytest.approx([1.0, 2 / 3, 1 / 3])


def test_equal_values_are_ordered_by_id_and_no_value_at_all_scores_zero() -> None:
    ranked = rank_choices(
        [candidate("b", 0.0), candidate("a", 0.0)], np.array([0.1, 0.1]), CONFORMAL, limit=9
    )
    assert [(choice.candidate.campaign.campaign_id, choice.score) for choice in ranked] == [
        ("a", 0.0),
        ("b", 0.0),
    ]
    assert rank_choices([], np.zeros(0), CONFORMAL, limit=9) == []


def test_a_rate_has_an_interval_where_its_days_are_known() -> None:
    seen, unseen = rank_choices(
        [candidate("seen", 0.5), candidate("unseen", 0.4, views=0, viewed_days=0)],
        np.array([0.1, 0.1]),
        CONFORMAL,
        limit=2,
    )
    assert seen.rate_interval is not None
    assert seen.rate_interval.lower < 0.1 < seen.rate_interval.upper
    assert unseen.rate_interval is None


def test_what_cannot_be_compared_is_left_out_and_the_nearest_come_first() -> None:
    campaigns = [
        replace(CAMPAIGN, campaign_id="far", merchant_id=2),
        replace(CAMPAIGN, campaign_id="near"),
        replace(CAMPAIGN, campaign_id="typeless", campaign_type=None),
        replace(CAMPAIGN, campaign_id="offerless", offer_micros=None),
        replace(CAMPAIGN, campaign_id="homeless", merchant_id=None),
        replace(CAMPAIGN, campaign_id="unknown", merchant_id=9),
    ]
    found = choose_candidates(campaigns, [affinity(2, 0.1), affinity(1, 0.6)])
    assert [entry.campaign.campaign_id for entry in found] == ["near", "far"]


def test_each_campaign_is_asked_about_at_its_own_offer() -> None:
    encoding = Encoding(merchant_codes={1: 4.0}, unknown_merchant_code=2.5)
    rows = choice_features(
        [candidate("a", 0.5), candidate("b", 0.5, merchant=9, offer_micros=5_000_000)],
        date(2026, 11, 20),
        encoding,
    )
    assert rows.tolist() == [
        [10.0, 4.0, 11.0, 2.0, 4.0, 2_000.0, 120.0],
        [5.0, 4.0, 11.0, 2.0, 2.5, 2_000.0, 120.0],
    ]
