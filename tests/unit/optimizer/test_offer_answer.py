"""The steps around the model server's call."""

import math
from dataclasses import replace
from datetime import date, timedelta

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
from services.optimizer.domain.models.serving_parameters import ServingParameters, from_document, to_document
from services.optimizer.domain.objectives import Economics, Objective
from services.optimizer.domain.offers.answer import answer_offer, rate_at
from services.optimizer.domain.offers.case import (
    OfferCase,
    days_to_come,
    planned_situation,
    sent_anchor,
)
from services.optimizer.domain.offers.constraints import Constraint, ConstraintKind, ConstraintSource
from services.optimizer.domain.offers.evidence import gather_evidence
from services.optimizer.domain.offers.recommendation import Question
from services.optimizer.domain.recommendations.terms import Terms, terms_of_offer
from services.optimizer.domain.response.doubly_robust import FalseSlope
from services.optimizer.domain.response.metrics import Conformal
from services.optimizer.domain.response.offer_cells import DrawnOffers
from services.optimizer.domain.response.response import CURVE_OFFERS_MICROS, TypeResponse, logistic
from services.optimizer.domain.response.support import TypeSupport

UNIT = 1_000_000
DAY = date(2026, 3, 2)
SUPPORT = {1: TypeSupport(tried_micros=(6 * UNIT, 9 * UNIT), varied_campaigns=1)}


def sent(offer: int | None, views: int, day: int = 1, viewed_days: int = 1) -> SentOffer:
    return SentOffer(
        offer_micros=offer,
        impressions=2 * views,
        views=views,
        conversions=0,
        viewed_days=viewed_days,
        last_day=DAY.replace(day=day),
    )


def parameters(quantiles: dict[float, float]) -> ServingParameters:
    return ServingParameters(
        encoding=Encoding(merchant_codes={3: 1.0}, unknown_merchant_code=0.5),
        response={
            1: TypeResponse(
                coefficients=np.array([1.0, 0.5, 0.2]), covariance=np.eye(3), slope=0.01, slope_error=0.03
            )
        },
        support=SUPPORT,
        conformal=Conformal(model_variance=1e-4, quantiles=quantiles),
    )


def case(
    *,
    anchors: tuple[int, ...] = (6 * UNIT,),
    impressions: int = 10,
    daily_views: float | None = 40.0,
    seen_until: date | None = None,
    revenue: float = 30.0,
    current: int = 6 * UNIT,
) -> OfferCase:
    return OfferCase(
        question=Question(
            campaign_type=1,
            current_offer_micros=current,
            objective=Objective.PROFIT,
            economics=Economics(mean_revenue=revenue, gross_margin_rate=0.8),
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
        daily_views=daily_views,
        seen_until=seen_until,
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


def test_an_answer_is_for_the_days_to_come_and_not_for_the_one_it_is_asked_on() -> None:
    """Asked on any day of a week it is the same, at the mean logit of the days that the campaign sends on."""
    week = [DAY + timedelta(days=ahead) for ahead in range(7)]
    sends = days_to_come(week[3], {week[1].weekday(), week[5].weekday()})
    assert sends == (week[5], week[1] + timedelta(days=7))
    assert days_to_come(week[3], ()) == tuple(day + timedelta(days=3) for day in week)

    asked = replace(case(anchors=(6 * UNIT, 8 * UNIT)), days=sends)
    features = asked.features(parameters({}))
    assert features.shape == (2 * 43, 7)
    assert features[:, 1].tolist() == [sends[0].weekday()] * 43 + [sends[1].weekday()] * 43
    np.testing.assert_array_equal(np.delete(features[:43], 1, axis=1), np.delete(features[43:], 1, axis=1))
    assert asked.forest_rows == len(asked.forest_features(parameters({}))) == 4

    slow, busy, mean = (logistic(np.full(43, level)) for level in (-2.4, -1.6, -2.0))
    of_days = answer_offer(asked, np.concatenate((slow, busy)), parameters({0.9: 1.6}), model_version=3)
    of_mean = answer_offer(replace(asked, days=()), mean, parameters({0.9: 1.6}), model_version=3)
    assert of_days.interval == of_mean.interval
    assert of_days.recommendation == of_mean.recommendation


def test_an_answer_carries_intervals_of_the_days_size() -> None:
    predicted = np.full(42, 0.1)
    answer = answer_offer(case(), predicted, parameters({0.9: 1.6}), model_version=3)
    at = CURVE_OFFERS_MICROS.index(6 * UNIT)
    rate, interval = answer.recommendation.curve[at].conversion_rate, answer.curve_intervals[at]
    reach = 1.6 * np.sqrt(rate * (1 - rate) / 40.0 + 1e-4)
    assert interval is not None
    assert interval.lower == pytest.approx(max(0.0, rate - reach))
    assert interval.upper == pytest.approx(rate + reach)
    best = CURVE_OFFERS_MICROS.index(answer.recommendation.offer_micros)
    assert answer.interval == answer.curve_intervals[best]
    assert answer.model_version == 3
    assert len(answer.curve_intervals) == 41


def test_an_interval_widens_away_from_the_offers_that_set_the_level() -> None:
    """By hand at $9, the level known at $6: the terms' differences and the false slope, in logits."""
    answer = answer_offer(case(), np.full(42, 0.1), parameters({0.9: 1.6}), model_version=3)
    at = CURVE_OFFERS_MICROS.index(9 * UNIT)
    point, interval = answer.recommendation.curve[at], answer.curve_intervals[at]
    terms = [9.0**4 / (9.0**4 + h**4) - 6.0**4 / (6.0**4 + h**4) for h in (7.0, 12.0, 19.0)]
    assert point.logit_spread == pytest.approx(math.sqrt(sum(term**2 for term in terms) + (0.03 * 3) ** 2))
    noise = point.conversion_rate * (1 - point.conversion_rate)
    assert interval is not None
    assert interval.upper - point.conversion_rate == pytest.approx(
        1.6 * math.sqrt(noise / 40.0 + 1e-4 + (noise * point.logit_spread) ** 2)
    )


@pytest.mark.parametrize(
    ("daily_views", "says"), [(None, "how large its days are is not known"), (1.0, "about 1 views")]
)
def test_an_interval_that_says_nothing_is_unset_and_why_is_said(daily_views: float | None, says: str) -> None:
    answer = answer_offer(
        case(daily_views=daily_views), np.full(42, 0.5), parameters({0.9: 1.6}), model_version=3
    )
    assert answer.interval is None
    assert any(says in warning for warning in answer.warnings)


def test_a_campaign_that_pauses_is_answered_for_as_it_was() -> None:
    answer = answer_offer(
        case(seen_until=date(2026, 1, 9)), np.full(42, 0.1), parameters({0.9: 1.6}), model_version=3
    )
    assert answer.interval is not None
    assert any("as it was until 2026-01-09" in warning for warning in answer.warnings)
    assert not any("no impressions" in warning for warning in answer.warnings)


@pytest.mark.parametrize("revenue", [11.3, 11.0])  # 0.8 x revenue is hardly above, or below, the offer
def test_no_percentage_of_next_to_nothing(revenue: float) -> None:
    answer = answer_offer(
        case(revenue=revenue, current=9 * UNIT), np.full(42, 0.1), parameters({0.9: 1.6}), model_version=3
    )
    comparison = answer.recommendation.comparison
    assert comparison is not None
    assert comparison.value_per_view < 0.1 * answer.recommendation.value_per_view
    assert comparison.improvement is None
    assert 0.0 < comparison.confidence < 1.0
    assert comparison.gain is not None
    assert comparison.gain.interval[0] < comparison.gain.value < comparison.gain.interval[1]
    said = next(warning for warning in answer.warnings if "No percentage is given" in warning)
    assert said.startswith(f"profit per view is expected to be {answer.recommendation.value_per_view:.4f} ")
    assert f"{comparison.gain.value:+.4f} (90 % interval {comparison.gain.interval[0]:+.4f} to" in said


def test_missing_intervals_and_history_are_said() -> None:
    answer = answer_offer(case(impressions=0), np.full(42, 0.1), parameters({}), model_version=3)
    assert answer.interval is None
    assert any("for an interval" in warning for warning in answer.warnings)
    assert any("no impressions" in warning for warning in answer.warnings)


def test_a_planned_campaign_takes_its_types_history_at_its_planners_rate() -> None:
    typical = TypicalHistory(impressions=1000.4, views=500.0, conversions=40.0, daily_views=25.0)

    def situation(rate: float | None) -> Situation:
        planned = PlannedCampaign(
            campaign_type=1, merchant_id=3, current_offer_micros=None, current_conversion_rate=rate
        )
        return planned_situation(planned, typical, DAY)

    assert situation(None).historical_conversions == 40
    assert situation(0.2).historical_conversions == 100
    assert situation(0.2).historical_impressions == 1000


def test_where_a_constraint_decides_nothing_better_is_said_to_lie_beyond() -> None:
    cap = Constraint(kind=ConstraintKind.MAXIMUM_OFFER, source=ConstraintSource.REQUEST, limit=6.0)
    free = answer_offer(case(revenue=300.0), np.full(42, 0.1), parameters({}), model_version=3)
    capped_case = replace(
        case(revenue=300.0), question=replace(case(revenue=300.0).question, constraints=(cap,))
    )
    capped = answer_offer(capped_case, np.full(42, 0.1), parameters({}), model_version=3)
    assert (free.recommendation.offer_micros, capped.recommendation.offer_micros) == (9 * UNIT, 6 * UNIT)
    assert any("a better one may lie beyond" in warning for warning in free.warnings)
    assert not any("a better one may lie beyond" in warning for warning in capped.warnings)


@pytest.mark.parametrize("offer", [6 * UNIT, 9 * UNIT])
def test_one_offer_alone_has_the_rate_of_the_curve(offer: int) -> None:
    known = parameters({0.9: 1.6})
    asked = case(anchors=(6 * UNIT, 8 * UNIT))
    answer = answer_offer(asked, np.r_[np.full(41, 0.5), 0.1, 0.2], known, model_version=3)
    alone = rate_at(asked, offer, np.array([0.1, 0.2]), known)
    at = CURVE_OFFERS_MICROS.index(offer)
    assert alone.rate == pytest.approx(answer.recommendation.curve[at].conversion_rate)
    interval = answer.curve_intervals[at]
    assert alone.interval is not None
    assert interval is not None
    assert (alone.interval.lower, alone.interval.upper) == pytest.approx((interval.lower, interval.upper))


def test_an_offer_moves_nothing_where_its_effect_is_not_known() -> None:
    silent = replace(parameters({}), response={})
    assert rate_at(case(), 20 * UNIT, np.array([0.1]), silent).rate == pytest.approx(0.1)


def test_the_views_of_all_types_and_of_the_own_are_told_apart() -> None:
    shown = FalseSlope(point_estimate=0.02, standard_error=0.01, views=26_427, campaigns=30)
    known = replace(
        parameters({}), false_slope=shown, drawn_offers={1: DrawnOffers(views=10_000, drawn_views=1_400)}
    )
    caveat = gather_evidence(1, known).caveat
    assert "30 campaigns of all types showed, whose offers were drawn at random (26427 views)." in caveat
    assert caveat.endswith("Of this type's own 10000 views, 1400 (14%) had such an offer.")


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


def test_days_without_a_view_do_not_make_a_day_smaller() -> None:
    offers = (
        sent(5 * UNIT, 90, viewed_days=2),
        sent(None, 30, viewed_days=2),
        sent(7 * UNIT, 0, viewed_days=0),
    )
    assert mean_daily_views(offers) == 30.0
    assert mean_daily_views((sent(7 * UNIT, 0, viewed_days=0),)) is None
    assert mean_daily_views(()) is None


def test_serving_parameters_survive_their_document() -> None:
    kept = parameters({0.8: 1.2, 0.9: 1.6})
    document = to_document(kept)
    again = from_document(document)
    assert to_document(again) == document
    assert again.encoding == kept.encoding
    assert again.support == kept.support
    assert again.conformal == kept.conformal
    np.testing.assert_array_equal(again.response[1].covariance, kept.response[1].covariance)


def test_an_offer_keeps_what_its_profit_was_counted_with() -> None:
    predicted = np.full(len(CURVE_OFFERS_MICROS) + 1, 0.3)
    asked = replace(case(), currency_code="EUR")
    answer = answer_offer(asked, predicted, parameters({}), 1)
    terms, recommended = terms_of_offer(answer), answer.recommendation
    assert (terms.currency_code, terms.gross_margin_rate) == ("EUR", 0.8)
    assert terms.predicted_profit == recommended.value_per_view
    assert recommended.comparison is not None
    assert terms.previous_profit == recommended.comparison.value_per_view
    economics = replace(asked.question.economics, gross_margin_rate=None)
    unsaid = replace(asked, question=replace(asked.question, economics=economics))
    assert terms_of_offer(answer_offer(unsaid, predicted, parameters({}), 1)) == Terms(
        currency_code="EUR", gross_margin_rate=None
    )
