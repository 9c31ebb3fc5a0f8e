"""The steps around the model server's call."""

import math
from datetime import date

import numpy as np
import pytest

from services.optimizer.domain.campaigns import (
    PlannedCampaign,
    RevenueSpread,
    RevenueTotals,
    SentOffer,
    TypicalHistory,
    latest_offer,
    mean_daily_views,
)
from services.optimizer.domain.features import Encoding, Situation
from services.optimizer.domain.metrics import Conformal
from services.optimizer.domain.objectives import Economics, Objective
from services.optimizer.domain.offer_answer import (
    OfferCase,
    answer_offer,
    planned_situation,
    sent_anchor,
)
from services.optimizer.domain.recommendation import Question
from services.optimizer.domain.response import CURVE_OFFERS_MICROS, TypeResponse
from services.optimizer.domain.serving_parameters import ServingParameters, from_document, to_document
from services.optimizer.domain.support import TypeSupport

UNIT = 1_000_000
DAY = date(2026, 3, 2)
SUPPORT = {1: TypeSupport(tried_micros=(6 * UNIT, 9 * UNIT), varied_campaigns=1)}


def sent(offer: int | None, views: int, day: int = 1) -> SentOffer:
    return SentOffer(
        offer_micros=offer,
        impressions=2 * views,
        views=views,
        conversions=0,
        last_day=DAY.replace(day=day),
    )


def parameters(quantiles: dict[float, float]) -> ServingParameters:
    return ServingParameters(
        encoding=Encoding(merchant_codes={3: 1.0}, unknown_merchant_code=0.5),
        response={1: TypeResponse(coefficients=np.array([1.0, 0.5, 0.2]), covariance=np.eye(3))},
        support=SUPPORT,
        conformal=Conformal(model_variance=1e-4, quantiles=quantiles),
    )


def case(anchors: tuple[int, ...] = (6 * UNIT,), impressions: int = 10) -> OfferCase:
    return OfferCase(
        question=Question(
            campaign_type=1,
            current_offer_micros=6 * UNIT,
            objective=Objective.PROFIT,
            economics=Economics(mean_revenue=30.0, gross_margin_rate=0.8),
        ),
        situation=Situation(
            day=DAY,
            campaign_type=1,
            merchant_id=3,
            historical_impressions=impressions,
            historical_conversions=1,
        ),
        anchor_offers_micros=anchors,
        anchor_weights=(1.0,) * len(anchors),
        known_rate=None,
        daily_views=40.0,
    )


def test_the_level_is_set_where_the_campaign_was_seen() -> None:
    offers = (sent(6 * UNIT, 30), sent(None, 99), sent(8 * UNIT, 10), sent(9 * UNIT, 0))
    anchor = sent_anchor(offers, fallback_micros=7 * UNIT, campaign_type=1, support=SUPPORT)
    assert anchor == ((6 * UNIT, 8 * UNIT), (30.0, 10.0))


@pytest.mark.parametrize(
    ("current", "campaign_type", "expected"),
    [(7 * UNIT, 1, (7 * UNIT,)), (None, 1, (6 * UNIT, 9 * UNIT)), (None, 5, (15 * UNIT,))],
)
def test_a_campaign_never_seen_falls_back_step_by_step(
    current: int | None, campaign_type: int, expected: tuple[int, ...]
) -> None:
    offers, weights = sent_anchor(
        (sent(None, 5),), fallback_micros=current, campaign_type=campaign_type, support=SUPPORT
    )
    assert offers == expected
    assert weights == (1.0,) * len(expected)


def test_one_batch_holds_the_curve_and_the_anchors() -> None:
    features = case(anchors=(6 * UNIT, 7_990_000)).features(parameters({}))
    assert features.shape == (43, 7)
    assert features[:41, 0].tolist() == [offer / UNIT for offer in CURVE_OFFERS_MICROS]
    assert features[41:, 0].tolist() == pytest.approx([6.0, 7.99])


def test_an_answer_carries_intervals_of_the_days_size() -> None:
    predicted = np.full(42, 0.1)
    answer = answer_offer(case(), predicted, parameters({0.9: 1.6}), model_version=3)
    assert answer.interval is not None
    rate = answer.recommendation.conversion_rate
    reach = 1.6 * np.sqrt(rate * (1 - rate) / 40.0 + 1e-4)
    assert answer.interval.lower == pytest.approx(max(0.0, rate - reach))
    assert answer.interval.upper == pytest.approx(rate + reach)
    assert answer.model_version == 3
    assert len(answer.curve_intervals) == 41


def test_missing_intervals_and_history_are_said() -> None:
    answer = answer_offer(case(impressions=0), np.full(42, 0.1), parameters({}), model_version=3)
    assert answer.interval is None
    assert any("for an interval" in warning for warning in answer.warnings)
    assert any("no impressions" in warning for warning in answer.warnings)


def test_a_planned_campaign_takes_its_types_history_at_its_planners_rate() -> None:
    typical = TypicalHistory(impressions=1000.4, views=500.0, conversions=40.0)

    def situation(rate: float | None) -> Situation:
        planned = PlannedCampaign(
            campaign_type=1, merchant_id=3, current_offer_micros=None, current_conversion_rate=rate
        )
        return planned_situation(planned, typical, DAY)

    assert situation(None).historical_conversions == 40
    assert situation(0.2).historical_conversions == 100
    assert situation(0.2).historical_impressions == 1000


def test_the_latest_offer_is_the_most_viewed_of_the_last_day() -> None:
    assert latest_offer((sent(5 * UNIT, 50, 1), sent(7 * UNIT, 5, 2), sent(9 * UNIT, 6, 2))) == 9 * UNIT
    assert latest_offer((sent(None, 50),)) is None


def test_revenue_is_unknown_without_conversions_or_money() -> None:
    assert RevenueTotals(conversions=4, revenue_micros=100 * UNIT).economics(0.5).mean_revenue == 25.0
    assert RevenueTotals(conversions=0, revenue_micros=0).economics(0.5).mean_revenue is None
    assert RevenueTotals(conversions=4, revenue_micros=0).economics(0.5).mean_revenue is None


def test_the_mean_revenue_is_as_uncertain_as_its_days_say() -> None:
    days = np.array([[1, 20], [4, 100], [2, 30], [3, 90]], dtype=np.float64)
    conversions, revenue = days[:, 0], days[:, 1] * UNIT

    def error(days: int) -> float:
        spread = RevenueSpread(
            days=days,
            conversions_conversions=float(conversions @ conversions),
            conversions_revenue=float(conversions @ revenue),
            revenue_revenue=float(revenue @ revenue),
        )
        totals = RevenueTotals(conversions=10, revenue_micros=240 * UNIT, spread=spread)
        return totals.economics(None).revenue_relative_error

    # By hand: residuals -4, 4, -18, 18 about 24 a conversion; sqrt(680 * 4 / 3) / 10 / 24.
    assert error(4) == pytest.approx(math.sqrt(680 * 4 / 3) / 240)
    assert error(1) == 1.0
    nobody_knows = RevenueTotals(conversions=10, revenue_micros=240 * UNIT)
    assert nobody_knows.economics(None).revenue_relative_error == 1.0


def test_a_day_has_at_least_one_view() -> None:
    assert mean_daily_views(280.0) == 10.0
    assert mean_daily_views(0.0) == 1.0


def test_serving_parameters_survive_their_document() -> None:
    kept = parameters({0.8: 1.2, 0.9: 1.6})
    document = to_document(kept)
    again = from_document(document)
    assert to_document(again) == document
    assert again.encoding == kept.encoding
    assert again.support == kept.support
    assert again.conformal == kept.conformal
    np.testing.assert_array_equal(again.response[1].covariance, kept.response[1].covariance)
