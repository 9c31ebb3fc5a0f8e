"""Deciding an offer from a curve."""

from dataclasses import replace

import numpy as np
import pytest

from services.common.errors import FailedPreconditionError
from services.optimizer.domain.objectives import Economics, Objective, value_per_conversion
from services.optimizer.domain.offers.constraints import Constraint, ConstraintKind, ConstraintSource
from services.optimizer.domain.offers.recommendation import (
    Comparison,
    Gain,
    Knowledge,
    OfferRecommendation,
    Question,
    decide_offer,
)
from services.optimizer.domain.response.offer_odds import MOST_CONFIDENCE
from services.optimizer.domain.response.response import (
    CURVE_OFFERS_MICROS,
    Anchor,
    TypeResponse,
    anchored_rates,
)
from services.optimizer.domain.response.support import TypeSupport

UNIT = 1_000_000
EVERYTHING = TypeSupport(tried_micros=CURVE_OFFERS_MICROS, varied_campaigns=3)
ANCHOR = Anchor(offers=np.array([10.0]), rates=np.array([0.1]), weights=np.array([1.0]))
SLOPE_ERROR = 0.03
RESPONSE = TypeResponse(
    coefficients=np.array([0.5, 2.0, 0.5]), covariance=np.eye(3), slope=0.01, slope_error=SLOPE_ERROR
)


def decide(
    *,
    objective: Objective = Objective.PROFIT,
    current: int | None = 10 * UNIT,
    revenue: float | None = 40.0,
    revenue_error: float = 0.0,
    margin: float | None = 1.0,
    support: TypeSupport = EVERYTHING,
    response: TypeResponse = RESPONSE,
    constraints: tuple[Constraint, ...] = (),
    views_a_day: float | None = None,
    level_variance: float = 0.0,
) -> OfferRecommendation:
    return decide_offer(
        Question(
            campaign_type=1,
            current_offer_micros=current,
            objective=objective,
            economics=Economics(
                mean_revenue=revenue, gross_margin_rate=margin, revenue_relative_error=revenue_error
            ),
            constraints=constraints,
        ),
        Knowledge(
            response={1: response},
            support={1: support},
            anchor=ANCHOR,
            forest=np.full(len(CURVE_OFFERS_MICROS), 0.1),
            views_a_day=views_a_day,
            level_variance=level_variance,
        ),
    )


def compared(recommendation: OfferRecommendation) -> Comparison:
    assert recommendation.comparison is not None
    return recommendation.comparison


def uncertain(covariance: np.ndarray) -> TypeResponse:
    return TypeResponse(
        coefficients=RESPONSE.coefficients, covariance=covariance, slope=0.01, slope_error=SLOPE_ERROR
    )


def test_the_best_offer_is_the_one_of_the_highest_value() -> None:
    recommendation = decide()
    offers = np.array(CURVE_OFFERS_MICROS) / UNIT
    values = anchored_rates(RESPONSE, offers, ANCHOR) * (40.0 - offers)
    assert recommendation.offer_micros == CURVE_OFFERS_MICROS[int(np.argmax(values))]
    assert recommendation.value_per_view == pytest.approx(values.max())
    assert compared(recommendation).conversion_rate == pytest.approx(0.1)
    gained = compared(recommendation)
    assert gained.improvement is not None
    assert gained.gain is not None
    assert gained.improvement.value == pytest.approx(values.max() / 3.0 - 1)
    assert gained.gain.value == pytest.approx(recommendation.value_per_view - gained.value_per_view)
    assert gained.gain.interval[0] < gained.gain.value < gained.gain.interval[1]
    assert not recommendation.is_at_edge


def test_an_unsupported_offer_is_never_recommended() -> None:
    low = TypeSupport(tried_micros=(5 * UNIT, 8 * UNIT), varied_campaigns=1)
    recommendation = decide(support=low, current=6 * UNIT)
    assert recommendation.offer_micros == 8 * UNIT
    assert recommendation.is_at_edge


def test_nothing_is_compared_with_an_unsupported_current_offer() -> None:
    low = TypeSupport(tried_micros=(5 * UNIT, 8 * UNIT), varied_campaigns=1)
    recommendation = decide(support=low, current=20 * UNIT)
    assert recommendation.current_offer_micros == 20 * UNIT
    assert recommendation.comparison is None


def test_confidence_is_a_half_for_the_same_offer_and_grows_with_certainty() -> None:
    best = decide().offer_micros
    same = compared(decide(current=best))
    assert same.confidence == 0.5
    assert same.improvement == same.gain == Gain(value=0.0, interval=(0.0, 0.0))
    vague = compared(decide(response=uncertain(np.eye(3) * 4.0)))
    sure = compared(decide())
    known = compared(decide(response=uncertain(np.zeros((3, 3)))))
    assert 0.5 < vague.confidence < sure.confidence < known.confidence <= MOST_CONFIDENCE


@pytest.mark.parametrize("revenue_error", [0.0, 0.5])
def test_confidence_agrees_with_draws_of_all_that_is_uncertain(revenue_error: float) -> None:
    """The delta method against 200,000 draws of the coefficients and the false slope (the curve kept at the
    anchor), of the anchor's level, and of the mean revenue."""
    covariance = np.eye(3) * 0.25
    recommendation = decide(
        response=uncertain(covariance), current=8 * UNIT, revenue_error=revenue_error, level_variance=0.01
    )
    rng = np.random.default_rng(3)
    best = recommendation.offer_micros / UNIT
    offers = np.array([best, 8.0, 10.0])
    powered = offers[:, None] ** 4
    terms = powered / (powered + np.array([7.0, 12.0, 19.0]) ** 4)
    draws = rng.multivariate_normal(RESPONSE.coefficients, covariance, 200_000)
    logits = np.log(0.1 / 0.9) + draws @ (terms[:2] - terms[2]).T
    logits += rng.normal(0.01, SLOPE_ERROR, (200_000, 1)) * (offers[:2] - offers[2])
    logits += rng.normal(0.0, 0.1, (200_000, 1))
    rates = 1 / (1 + np.exp(-logits))
    revenue = 40.0 * np.exp(np.sqrt(np.log1p(revenue_error**2)) * rng.standard_normal(200_000))
    values = rates * (revenue[:, None] - offers[:2])
    assert compared(recommendation).confidence == pytest.approx(
        np.mean(values[:, 0] > values[:, 1]), abs=0.01
    )


@pytest.mark.parametrize("revenue_error", [0.0, 0.1])
def test_the_gain_has_an_interval_that_agrees_with_draws(revenue_error: float) -> None:
    """Against 200,000 draws of the coefficients, the false slope and the mean revenue."""
    covariance = np.eye(3) * 0.02
    recommendation = decide(response=uncertain(covariance), current=8 * UNIT, revenue_error=revenue_error)
    rng = np.random.default_rng(3)
    offers = np.array([recommendation.offer_micros / UNIT, 8.0, 10.0])
    powered = offers[:, None] ** 4
    terms = powered / (powered + np.array([7.0, 12.0, 19.0]) ** 4)
    draws = rng.multivariate_normal(RESPONSE.coefficients, covariance, 200_000)
    logits = np.log(0.1 / 0.9) + draws @ (terms[:2] - terms[2]).T
    logits += rng.normal(0.01, SLOPE_ERROR, (200_000, 1)) * (offers[:2] - offers[2])
    revenue = 40.0 * np.exp(np.sqrt(np.log1p(revenue_error**2)) * rng.standard_normal((200_000, 1)))
    values = (revenue - offers[:2]) / (1 + np.exp(-logits))
    gains = values[:, 0] / values[:, 1] - 1.0
    told = compared(recommendation)
    assert told.improvement is not None
    assert told.gain is not None
    assert told.improvement.interval == pytest.approx(tuple(np.quantile(gains, [0.05, 0.95])), rel=0.06)
    amounts = np.quantile(values[:, 0] - values[:, 1], [0.05, 0.95])
    assert told.gain.interval == pytest.approx(tuple(amounts), abs=0.06 * float(amounts[1] - amounts[0]))


@pytest.mark.parametrize("revenue_error", [0.0, 0.1])
def test_no_other_offer_gains_more_than_the_highest_end_of_their_intervals(revenue_error: float) -> None:
    """Against 100,000 draws: the highest 95 % quantile of what any of the curve's offers gains."""
    covariance = np.eye(3) * 0.02
    best = decide(response=uncertain(covariance), revenue_error=revenue_error).offer_micros
    comparison = compared(decide(response=uncertain(covariance), revenue_error=revenue_error, current=best))
    rng = np.random.default_rng(3)
    offers = np.array([*CURVE_OFFERS_MICROS, best, 10 * UNIT]) / UNIT
    powered = offers[:, None] ** 4
    terms = powered / (powered + np.array([7.0, 12.0, 19.0]) ** 4)
    draws = rng.multivariate_normal(RESPONSE.coefficients, covariance, 100_000)
    logits = np.log(0.1 / 0.9) + draws @ (terms[:-1] - terms[-1]).T
    logits += rng.normal(0.01, SLOPE_ERROR, (100_000, 1)) * (offers[:-1] - offers[-1])
    revenue = 40.0 * np.exp(np.sqrt(np.log1p(revenue_error**2)) * rng.standard_normal((100_000, 1)))
    values = (revenue - offers[:-1]) / (1 + np.exp(-logits))
    gains = values[:, :-1] / values[:, -1:] - 1.0
    most = comparison.most_improvement()
    assert most == pytest.approx(np.quantile(gains, 0.95, axis=0).max(), abs=0.005)
    known = compared(decide(response=uncertain(np.zeros((3, 3))), current=best)).most_improvement()
    assert known is not None
    assert most is not None
    assert 0.0 <= known < most


def test_offers_that_cannot_earn_gain_nothing_and_forbidden_ones_do_not_count() -> None:
    current = 8 * UNIT
    scarce = compared(decide(current=current, revenue=12.0)).most_improvement()
    free = compared(decide(current=current)).most_improvement()
    cap = Constraint(kind=ConstraintKind.MAXIMUM_OFFER, source=ConstraintSource.REQUEST, limit=8.0)
    capped = compared(decide(current=current, constraints=(cap,))).most_improvement()
    assert scarce is not None
    assert free is not None
    assert capped is not None
    assert 0.0 <= scarce < free
    assert 0.0 <= capped < free
    assert compared(decide(current=15 * UNIT, revenue=12.0)).most_improvement() is None


def test_against_an_offer_that_loses_no_percentage_is_given_and_no_certainty_claimed() -> None:
    comparison = compared(decide(current=15 * UNIT, revenue=12.0))
    assert comparison.improvement is None
    assert comparison.gain is not None
    assert comparison.gain.interval[0] < comparison.gain.value < comparison.gain.interval[1]
    assert comparison.confidence == MOST_CONFIDENCE
    # The loss is no surer than the revenue: in 28 % of the cases it exceeds 15, and the current offer earns.
    doubtful = compared(decide(current=15 * UNIT, revenue=12.0, revenue_error=0.4))
    assert 0.6 < doubtful.confidence < 0.9


def test_an_objective_without_money_does_not_mind_uncertain_revenue() -> None:
    sure = compared(decide(objective=Objective.REVENUE)).confidence
    unsure = compared(decide(objective=Objective.REVENUE, revenue_error=0.9)).confidence
    rate = compared(decide(objective=Objective.CONVERSION_RATE, revenue=None)).confidence
    assert unsure == pytest.approx(sure)
    assert rate == pytest.approx(sure)


@pytest.mark.parametrize(
    ("support", "says"),
    [
        (TypeSupport(tried_micros=(), varied_campaigns=0), "viewed often enough"),
        (TypeSupport(tried_micros=(10 * UNIT,), varied_campaigns=0), "ever changed its offer"),
        (TypeSupport(tried_micros=(50 * UNIT, 90 * UNIT), varied_campaigns=2), "outside"),
    ],
)
def test_without_support_there_is_no_recommendation(support: TypeSupport, says: str) -> None:
    with pytest.raises(FailedPreconditionError, match=says) as refused:
        decide(support=support)
    assert refused.value.reason == "OFFER_UNSUPPORTED"


@pytest.mark.parametrize("objective", [Objective.PROFIT, Objective.REVENUE])
def test_unknown_revenue_is_refused_where_it_matters(objective: Objective) -> None:
    with pytest.raises(FailedPreconditionError) as refused:
        decide(objective=objective, revenue=None)
    assert refused.value.reason == "REVENUE_UNKNOWN"
    assert decide(objective=Objective.CONVERSION_RATE, revenue=None).offer_micros == 25 * UNIT


def test_values_per_conversion_are_as_defined() -> None:
    offers = np.array([5.0, 20.0])
    economics = Economics(mean_revenue=60.0, gross_margin_rate=0.3)
    assert value_per_conversion(Objective.PROFIT, offers, economics).tolist() == [13.0, -2.0]
    assert value_per_conversion(Objective.REVENUE, offers, economics).tolist() == [60.0, 60.0]
    assert value_per_conversion(Objective.CONVERSION_RATE, offers, economics).tolist() == [1.0, 1.0]
    everything = Economics(mean_revenue=60.0, gross_margin_rate=None)
    assert value_per_conversion(Objective.PROFIT, offers, everything).tolist() == [55.0, 40.0]


def test_no_confidence_rests_on_a_margin_that_nobody_said() -> None:
    """Any margin from 0 to 1 is as likely, whatever the revenue is."""
    economics = Economics(mean_revenue=60.0, gross_margin_rate=None, revenue_relative_error=0.2)
    likely = economics.plausible()
    margins = np.array([each.gross_margin_rate for each in likely], dtype=np.float64)
    revenues = np.array([each.mean_revenue for each in likely], dtype=np.float64)
    assert np.histogram(margins, bins=10, range=(0.0, 1.0))[0].tolist() == pytest.approx([10] * 10, abs=1.1)
    assert abs(np.corrcoef(margins, revenues)[0, 1]) < 0.05
    stated = [each.gross_margin_rate for each in replace(economics, gross_margin_rate=0.4).plausible()]
    assert stated == [0.4] * len(likely)


def test_a_losing_campaign_is_refused() -> None:
    with pytest.raises(FailedPreconditionError) as refused:
        decide(revenue=4.0)
    assert refused.value.reason == "OFFER_UNPROFITABLE"
