"""What changes earned, by sums worked by hand, and whether that is what was promised."""

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy.special import stdtrit

from examples.outcome_intervals.worlds import add_up
from services.optimizer.domain.features import FloatArray
from services.optimizer.domain.offers.answer import Interval
from services.optimizer.domain.recommendations.outcomes import weigh_promise
from services.optimizer.domain.recommendations.promises import Agreement, Comparison, Promise
from services.optimizer.domain.recommendations.recommendations import Draft, RecommendationType
from services.optimizer.domain.recommendations.worth import (
    Clustering,
    EarningMoments,
    Figure,
    Level,
    Worth,
    measure_worth,
)

ENOUGH = (50, 50)
T_1 = float(stdtrit(1.0, 0.95))


def cells(users: int, days: int) -> FloatArray:
    """Nothing, by user and day: views, revenue and offers before, and since."""
    return np.zeros((users, days, 6))


def measure(
    made: FloatArray,
    *,
    margins: tuple[float | None, float | None] = (1.0, 1.0),
    conversions: tuple[int, int] = ENOUGH,
    by_user: bool = True,
) -> Worth:
    moments = add_up(made, conversions)
    if not by_user:
        moments = replace(moments, levels={Level.DAY: moments.levels[Level.DAY]})
    return measure_worth(moments, margins=margins, currency_code="EUR")


@pytest.fixture
def four_days() -> FloatArray:
    """One view of one user a day: revenue 2 and 4 on two days before, 7 and 9 on two days since."""
    made = cells(1, 4)
    made[0, :2, 0], made[0, :2, 1] = 1.0, [2.0, 4.0]
    made[0, 2:, 3], made[0, 2:, 4] = 1.0, [7.0, 9.0]
    return made


def test_days_are_the_units_where_events_are_not_kept(four_days: FloatArray) -> None:
    # Means 3 and 8, variances (1 + 1) / 2^2 * 2 / (2 - 1) = 1 each; Student's t of one degree.
    worth = measure(four_days, by_user=False)
    assert (worth.clustering, worth.observed_users, worth.previous_users) == (Clustering.DAYS, None, None)
    assert worth.currency_code == "EUR"
    earned = worth.revenue
    assert earned is not None
    assert earned.previous == Figure(value=3.0, interval=Interval(lower=3.0 - T_1, upper=3.0 + T_1))
    assert earned.observed == Figure(value=8.0, interval=Interval(lower=8.0 - T_1, upper=8.0 + T_1))
    half = T_1 * math.sqrt(2.0)
    assert earned.change == Figure(value=5.0, interval=Interval(lower=5.0 - half, upper=5.0 + half))
    assert earned.effect is None  # before may well be 0: no interval of the ratio 5 / 3 is bounded


def test_profit_takes_off_goods_and_redeemed_offers(four_days: FloatArray) -> None:
    four_days[0, 2:, 5] = 1.5
    worth = measure(four_days, margins=(0.5, 0.25))
    assert worth.gross_margin_rate == 0.25
    assert worth.profit is not None
    assert worth.profit.previous is not None
    assert worth.profit.observed is not None
    assert worth.profit.previous.value == pytest.approx(0.5 * 3.0)
    assert worth.profit.observed.value == pytest.approx(0.25 * 8.0 - 1.5)


def test_users_and_days_both_count() -> None:
    # Four users by four days; users earn 1, 2, 3 and 6 on every day, so that users make all the variance.
    made = cells(4, 4)
    made[:, :2, [0, 3]], made[:, 2:, [0, 3]] = [1.0, 0.0], [0.0, 1.0]
    made[:, :2, 1] = made[:, 2:, 4] = np.array([[1.0], [2.0], [3.0], [6.0]])
    worth = measure(made)
    earned = worth.revenue
    assert earned is not None
    assert (worth.observed_users, worth.previous_users) == (4, 4)
    # V_user = 4/3 * sum (2 d)^2 / 8^2 with d = -2, -1, 0, 3; V_day = 0; V_user_day = 8/7 * sum 2 d^2 / 8^2.
    squares = 14.0
    variance = 4 / 3 * 4 * squares / 64 - 8 / 7 * 2 * squares / 64
    assert earned.observed is not None
    assert earned.observed.interval is not None
    assert earned.observed.interval.upper - 3.0 == pytest.approx(T_1 * math.sqrt(variance))
    # The same users earn the same since as before: the change has no variance of theirs.
    assert earned.change is not None
    assert earned.change.interval is not None
    assert (earned.change.interval.lower, earned.change.interval.upper) == pytest.approx((0.0, 0.0))


def test_fiellers_interval_is_the_ratio_that_data_do_not_reject() -> None:
    rng = np.random.default_rng(7)
    made = cells(40, 40)
    made[:, :20, 0] = made[:, 20:, 3] = 1.0
    made[:, :20, 1], made[:, 20:, 4] = rng.gamma(2.0, 3.0, (40, 20)), rng.gamma(2.0, 4.0, (40, 20))
    earned = measure(made, by_user=False).revenue
    assert earned is not None
    assert earned.effect is not None
    assert earned.effect.interval is not None
    before, since = made[:, :20, 1].sum(axis=0) / 40, made[:, 20:, 4].sum(axis=0) / 40
    for ratio in (earned.effect.interval.lower + 1.0, earned.effect.interval.upper + 1.0):
        error = math.sqrt((since.var(ddof=1) + ratio**2 * before.var(ddof=1)) / 20)
        score = abs(since.mean() - ratio * before.mean()) / error
        assert score == pytest.approx(float(stdtrit(19.0, 0.95)))


def test_what_nobody_knows_is_not_said(four_days: FloatArray) -> None:
    assert measure(four_days, margins=(None, 1.0)).profit is None
    assert measure(four_days, margins=(1.0, None)).profit is None
    few = measure(four_days, conversions=(9, 50), by_user=False).revenue
    assert few is not None
    assert few.previous == Figure(value=3.0)
    assert (few.change, few.effect) == (None, None)
    assert few.observed is not None
    assert few.observed.interval is not None
    no_revenue = four_days.copy()
    no_revenue[:, :, 4] = 0.0
    assert measure(no_revenue).revenue is None
    nobody_bought = measure(no_revenue, conversions=(50, 0)).revenue
    assert nobody_bought is not None
    assert nobody_bought.observed == Figure(value=0.0)


def test_offers_that_are_not_known_leave_profit_unsaid(four_days: FloatArray) -> None:
    moments: EarningMoments = replace(add_up(four_days, ENOUGH), unpriced=(0, 1))
    worth = measure_worth(moments, margins=(1.0, 1.0), currency_code="EUR")
    assert worth.profit is None
    assert worth.revenue is not None


def test_without_views_before_nothing_is_compared(four_days: FloatArray) -> None:
    four_days[:, :2] = 0.0
    earned = measure(four_days, conversions=(0, 50)).revenue
    assert earned is not None
    assert (earned.previous, earned.change, earned.effect) == (None, None, None)
    assert earned.observed is not None


def test_no_percentage_of_a_loss(four_days: FloatArray) -> None:
    four_days[0, :2, 2] = 5.0
    profit = measure(four_days, by_user=False).profit
    assert profit is not None
    assert profit.change is not None
    assert profit.change.value == pytest.approx(10.0)
    assert profit.effect is None


def promise(observed: Figure | None, expected: Figure) -> Promise:
    return Promise(
        metric="profit_per_view", expected=expected, observed=observed, comparison=Comparison.BEFORE_AFTER
    )


def figure(lower: float, value: float, upper: float) -> Figure:
    return Figure(value=value, interval=Interval(lower=lower, upper=upper))


@pytest.mark.parametrize(
    ("observed", "agreement"),
    [
        (figure(0.05, 0.1, 0.2), Agreement.AGREES),
        (figure(-0.2, -0.1, -0.05), Agreement.BELOW),
        (figure(0.55, 0.6, 0.7), Agreement.ABOVE),
        (Figure(value=0.1), None),
        (None, None),
    ],
)
def test_a_promise_is_kept_where_both_errors_explain_the_difference(
    observed: Figure | None, agreement: Agreement | None
) -> None:
    assert promise(observed, figure(0.1, 0.2, 0.35)).agreement is agreement


def test_a_differences_interval_has_both_errors() -> None:
    # Lower: -0.1 - sqrt((0.1 - 0.05)^2 + (0.35 - 0.2)^2); upper: -0.1 + sqrt((0.2 - 0.1)^2 + (0.2 - 0.1)^2).
    difference = promise(figure(0.05, 0.1, 0.2), figure(0.1, 0.2, 0.35)).difference
    assert difference is not None
    assert difference.interval is not None
    assert difference.value == pytest.approx(-0.1)
    assert difference.interval.lower == pytest.approx(-0.1 - math.hypot(0.05, 0.15))
    assert difference.interval.upper == pytest.approx(-0.1 + math.hypot(0.1, 0.1))


DRAFT = Draft(
    type=RecommendationType.OFFER_AMOUNT,
    choice="12",
    text="",
    effect=0.2,
    interval=Interval(lower=0.1, upper=0.3),
    effect_metric="profit_per_view",
    confidence=0.9,
    confidence_method="",
    evidence="",
    evidence_kind="",
)


def test_a_promise_is_weighed_in_its_own_metric(four_days: FloatArray) -> None:
    worth, rate = measure(four_days), Figure(value=0.4)
    assert worth.profit is not None
    of_offer = weigh_promise(DRAFT, worth, None, rate)
    assert of_offer is not None
    assert (of_offer.observed, of_offer.comparison) == (worth.profit.effect, Comparison.BEFORE_AFTER)
    at_once = weigh_promise(DRAFT, None, worth, rate)
    assert at_once is not None
    assert (at_once.observed, at_once.comparison) == (worth.profit.effect, Comparison.CONCURRENT_OFFER)
    unknown = weigh_promise(DRAFT, replace(worth, profit=None), None, rate)
    assert unknown is not None
    assert unknown.observed is None
    timing = replace(DRAFT, type=RecommendationType.TIMING, effect_metric="conversions_per_impression")
    of_timing = weigh_promise(timing, worth, None, rate)
    assert of_timing is not None
    assert (of_timing.metric, of_timing.observed) == ("conversions_per_impression", rate)
    assert weigh_promise(replace(DRAFT, type=RecommendationType.SEGMENT), worth, None, rate) is None
    assert weigh_promise(replace(DRAFT, effect=None), worth, None, rate) is None
