"""Which offer is recommended, and why none is where it gains less than matters."""

from dataclasses import replace
from datetime import date

import numpy as np
import pytest

from services.optimizer.domain.features import Encoding, Situation
from services.optimizer.domain.models.serving_parameters import ServingParameters
from services.optimizer.domain.objectives import Economics, Objective
from services.optimizer.domain.offers.answer import OfferAnswer, answer_offer
from services.optimizer.domain.offers.case import OfferCase
from services.optimizer.domain.offers.recommendation import Comparison, Gain, Question
from services.optimizer.domain.recommendations.offer_drafts import draft_offer
from services.optimizer.domain.response.metrics import Conformal
from services.optimizer.domain.response.response import TypeResponse
from services.optimizer.domain.response.support import TypeSupport
from tests.unit.optimizer.draft_outcomes import recommended, withheld

UNIT = 1_000_000


@pytest.fixture(scope="module")
def answer() -> OfferAnswer:
    """An answer that recommends another offer than today's."""
    case = OfferCase(
        question=Question(
            campaign_type=1,
            current_offer_micros=6 * UNIT,
            objective=Objective.PROFIT,
            economics=Economics(mean_revenue=60.0, gross_margin_rate=0.8),
        ),
        situation=Situation(
            day=date(2026, 3, 2),
            campaign_type=1,
            merchant_id=3,
            historical_impressions=10,
            historical_conversions=1,
        ),
        anchor_offers_micros=(6 * UNIT,),
        anchor_weights=(1.0,),
        known_rate=None,
        daily_views=40.0,
        seen_until=None,
    )
    parameters = ServingParameters(
        encoding=Encoding(merchant_codes={3: 1.0}, unknown_merchant_code=0.5),
        response={
            1: TypeResponse(
                coefficients=np.array([1.0, 0.5, 0.2]), covariance=np.eye(3), slope=0.01, slope_error=0.03
            )
        },
        support={1: TypeSupport(tried_micros=(6 * UNIT, 9 * UNIT), varied_campaigns=1)},
        conformal=Conformal(model_variance=1e-4, quantiles={0.9: 1.6}),
    )
    found = answer_offer(case, np.full(42, 0.1), parameters, model_version=3)
    assert found.recommendation.offer_micros != 6 * UNIT
    return found


def told(
    answer: OfferAnswer, *, confidence: float, gain: float, most: float | None, is_said: bool = True
) -> OfferAnswer:
    """The answer, comparing its offer with today's like this."""
    comparison = Comparison(
        conversion_rate=0.1,
        value_per_view=answer.recommendation.value_per_view / (1.0 + gain),
        improvement=Gain(value=gain, interval=(gain - 0.01, gain + 0.011)) if is_said else None,
        gain=None,
        confidence=confidence,
        most_improvement=lambda: most,
    )
    return replace(answer, recommendation=replace(answer.recommendation, comparison=comparison))


@pytest.mark.parametrize(
    ("gain", "most", "reason"),
    [(0.006, 0.017, "NO_BETTER_CHOICE"), (0.006, 0.03, "GAIN_UNCERTAIN"), (0.0199, 0.031, "GAIN_UNCERTAIN")],
)
def test_an_offer_that_gains_less_than_matters_is_not_recommended_however_surely(
    answer: OfferAnswer, gain: float, most: float, reason: str
) -> None:
    outcome = withheld(draft_offer(told(answer, confidence=0.99, gain=gain, most=most)))
    assert outcome.reason == reason
    assert f", {gain:+.1%}) is better with a probability of 0.99; asked for is 0.80 and 2%" in outcome.message


def test_an_offer_is_recommended_where_it_is_likely_enough_better_by_what_matters(
    answer: OfferAnswer,
) -> None:
    assert recommended(draft_offer(told(answer, confidence=0.8, gain=0.0201, most=0.031))).effect == 0.0201
    unsure = withheld(draft_offer(told(answer, confidence=0.79, gain=0.5, most=0.9)))
    assert unsure.reason == "GAIN_UNCERTAIN"


@pytest.mark.parametrize(("gain", "is_recommended"), [(30.0, True), (-2.0, True), (0.01, False)])
def test_a_gain_without_a_percentage_has_to_matter_too(
    answer: OfferAnswer, gain: float, is_recommended: bool
) -> None:
    """30 times next to nothing, a loss turned into as much, and a margin that nobody knows."""
    outcome = draft_offer(told(answer, confidence=0.9, gain=gain, most=None, is_said=False))
    if is_recommended:
        assert recommended(outcome).effect is None
    else:
        assert withheld(outcome).reason == "GAIN_UNCERTAIN"
