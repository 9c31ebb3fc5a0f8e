"""Metrics, intervals at their edges, and the portfolio."""

import math
from dataclasses import replace
from datetime import date

import pytest

from services.analytics.domain.design_effect import estimate_window_ratio_interval
from services.analytics.domain.intervals import (
    RatioMoments,
    estimate_rate_interval,
    estimate_ratio_interval,
    estimate_relative_variance,
    estimate_skewness,
    estimate_total_interval,
    estimate_wilson_interval,
)
from services.analytics.domain.metrics import (
    CampaignTotals,
    Counts,
    DateRange,
    UserMoments,
    count_breakeven_conversions,
    find_breakeven_conversion_rate,
    measure_campaign,
)
from services.analytics.domain.portfolio import (
    CampaignCount,
    Portfolio,
    PortfolioDay,
    add_portfolio,
    mean_roas,
    measure_portfolio,
)

DAYS = DateRange(start=date(2026, 3, 1), end=date(2026, 3, 31))
BEFORE = DateRange(start=date(2026, 1, 29), end=date(2026, 2, 28))


def test_a_campaign_without_events_has_counts_of_zero_and_no_ratio() -> None:
    metrics = measure_campaign(campaign_id="c1", currency_code=None, date_range=None, totals=CampaignTotals())
    ratios = [
        metrics.view_rate.value,
        metrics.ctr.value,
        metrics.conversion_rate.value,
        metrics.revenue_per_impression.value,
        metrics.cost_per_conversion,
        metrics.roas.value,
        metrics.roi,
        metrics.profit_margin,
        metrics.breakeven_conversions,
        metrics.user_conversion_rate.value,
    ]
    assert ratios == [None] * len(ratios)
    assert (
        metrics.roas.interval is metrics.view_rate.interval is metrics.user_conversion_rate.interval is None
    )


def test_the_guides_example_of_a_roi() -> None:
    """500 spent, 1200 taken by 95 conversions: ROAS 2.4, cost per conversion 5.26 (the guide's figures)."""
    counts = Counts(conversions=95, revenue_micros=1_200_000_000, cost_micros=500_000_000)
    metrics = measure_campaign(
        campaign_id="c1",
        currency_code="USD",
        date_range=DAYS,
        totals=CampaignTotals(counts=counts, moments=UserMoments(users=95)),
    )
    assert metrics.roas.value == 2.4
    assert metrics.profit_micros == 700_000_000
    assert metrics.cost_per_conversion == pytest.approx(5.26e6, rel=1e-3)
    assert metrics.roi == 1.4
    assert metrics.profit_margin == pytest.approx(7 / 12)
    assert metrics.breakeven_conversions == 40  # 500 / (1200 / 95) = 39.58


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        (Counts(conversions=10, revenue_micros=100, cost_micros=50), 5),
        (Counts(conversions=10, revenue_micros=100, cost_micros=51), 6),
        (Counts(conversions=3, revenue_micros=3 * 10**15, cost_micros=10**15), 1),
        (Counts(conversions=3, revenue_micros=10, cost_micros=0), 0),
        (Counts(conversions=0, revenue_micros=10, cost_micros=1), None),
        (Counts(conversions=3, revenue_micros=0, cost_micros=1), None),
    ],
)
def test_breakeven_is_the_least_whole_number_that_pays(counts: Counts, expected: int | None) -> None:
    assert count_breakeven_conversions(counts) == expected


def moments(pairs: list[tuple[int, int]], carriers: int | None = None) -> RatioMoments:
    return RatioMoments(
        users=len(pairs),
        y=sum(y for y, _ in pairs),
        x=sum(x for _, x in pairs),
        yy=sum(y * y for y, _ in pairs),
        xy=sum(y * x for y, x in pairs),
        xx=sum(x * x for _, x in pairs),
        carriers=carriers,
    )


def test_one_user_has_no_interval() -> None:
    assert estimate_rate_interval(moments([(3, 10)])) is None
    assert estimate_ratio_interval(moments([(3, 10)])) is None
    assert estimate_relative_variance(moments([(3, 10)])) is None


def test_money_of_one_user_has_no_interval() -> None:
    assert estimate_ratio_interval(moments([(10, 2), (0, 2), (0, 2)], carriers=1)) is None
    assert estimate_ratio_interval(moments([(10, 2), (9, 2), (8, 2), (0, 2)], carriers=3)) is not None


def test_a_rate_of_zero_or_one_is_judged_by_the_number_of_users() -> None:
    none = estimate_rate_interval(moments([(0, 50)] * 20))
    every = estimate_rate_interval(moments([(50, 50)] * 20))
    assert none is not None
    assert every is not None
    assert none.lower == 0
    assert 0.1 < none.upper < 0.2  # 20 users: Wilson's upper end at 0 of 20 is 0.161, wider by Student's t
    assert every.lower == pytest.approx(1 - none.upper)
    assert every.upper == 1


def test_a_rate_above_one_is_a_ratio() -> None:
    above = moments([(3, 2), (5, 2), (2, 2)])
    interval = estimate_rate_interval(above)
    assert interval == estimate_ratio_interval(above)
    assert interval is not None
    assert interval.lower < 10 / 6 < interval.upper


def test_users_that_agree_perfectly_leave_the_events_as_trials() -> None:
    """Each user views exactly half: no variance between users, so no more trials than events."""
    interval = estimate_rate_interval(moments([(5, 10)] * 3000))
    assert interval is not None
    assert interval.upper - interval.lower == pytest.approx(2 * 1.96 * math.sqrt(0.25 / 30_000), rel=0.01)


def test_money_of_which_one_user_makes_up_nearly_all_has_no_interval() -> None:
    """A whale of 25,000 beside 29 users of 5: 1.01 effective payers, whose interval would be [0, 4e12]."""
    whale = moments([(25_000, 2), *[(5, 2)] * 29], carriers=30)
    cubes = replace(whale, yyy=25_000**3 + 29 * 125)
    for life in (whale, cubes):
        assert estimate_ratio_interval(life) is None
        assert estimate_total_interval(life) is None
        assert estimate_window_ratio_interval(life, y=25_005, x=4, volume_share=0.9) is None
    two = replace(moments([(25_000, 2), (25_000, 3), *[(5, 2)] * 29], carriers=31), yyy=2 * 25_000**3)
    assert estimate_ratio_interval(two) is not None
    assert estimate_total_interval(two) is not None
    assert estimate_window_ratio_interval(two, y=25_000, x=60, volume_share=0.5) is None


def test_an_interval_stays_finite_where_two_users_carry_everything() -> None:
    interval = estimate_ratio_interval(moments([(10**15, 1), (10**15, 10**9)]))
    assert interval is not None
    assert 0 <= interval.lower <= interval.upper < math.inf


def test_wilson_without_trials_is_undefined_and_with_all_successes_ends_at_one() -> None:
    assert estimate_wilson_interval(0, 0) is None
    every = estimate_wilson_interval(7, 7)
    assert every is not None
    assert every.upper == 1
    none = estimate_wilson_interval(0, 7)
    assert none is not None
    assert none.lower == 0


def test_equal_amounts_are_not_skewed() -> None:
    equal = replace(moments([(5, 1)] * 4), yyy=500)
    assert estimate_skewness(equal) == 0
    assert estimate_skewness(moments([(5, 1), (6, 1)])) == 0


def test_money_of_users_who_are_all_alike_has_no_interval() -> None:
    """Ten users who paid 10 of a mean of 9: no width would be a certainty nobody has."""
    alike = replace(moments([(10, 2)] * 10, carriers=10), yyy=10_000)
    assert estimate_ratio_interval(alike) is None
    assert estimate_ratio_interval(replace(alike, yyy=None)) is None
    assert estimate_total_interval(alike) is None
    assert estimate_window_ratio_interval(alike, y=50, x=10, volume_share=0.5) is None


@pytest.mark.parametrize(("costs", "least"), [([2] * 9, -18.0), ([2, 2, 2, 2, 3, 2, 2, 2, 2], -21.5)])
def test_profit_is_not_below_what_is_spent(costs: list[int], least: float) -> None:
    """Three amounts make up everything; without revenue no more than the cost and its spread is lost."""
    pairs = [*((25_000, cost) for cost in costs[:3]), *((0, cost) for cost in costs[3:])]
    interval = estimate_total_interval(replace(moments(pairs, carriers=3), yyy=3 * 25_000**3))
    assert interval is not None
    assert least <= interval.lower <= -sum(costs)
    assert interval.upper > 75_000


def test_a_window_of_money_needs_a_life_that_tells() -> None:
    life = replace(moments([(5, 2), (9, 2), (0, 2), (4, 1)], carriers=3), yyy=125 + 729 + 64)
    given = estimate_window_ratio_interval(life, y=9, x=4, volume_share=0.8)
    without_cubes = estimate_window_ratio_interval(replace(life, yyy=None), y=9, x=4, volume_share=0.8)
    for interval in (given, without_cubes):
        assert interval is not None
        assert interval.lower < 9 / 4 < interval.upper
    assert estimate_window_ratio_interval(life, y=9, x=4, volume_share=0.0) is None
    assert estimate_window_ratio_interval(life, y=0, x=4, volume_share=0.8) is None
    assert estimate_window_ratio_interval(moments([(5, 2)]), y=9, x=4, volume_share=0.5) is None
    assert estimate_window_ratio_interval(life, y=18, x=7, volume_share=1.0) == estimate_ratio_interval(life)


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        (Counts(views=40, conversions=10, revenue_micros=100, cost_micros=50), 0.125),
        (Counts(views=2, conversions=1, revenue_micros=10, cost_micros=50), 2.5),
        (Counts(views=0, conversions=1, revenue_micros=10, cost_micros=5), None),
        (Counts(views=4, conversions=0, revenue_micros=0, cost_micros=5), None),
        (Counts(views=4, conversions=2, revenue_micros=-1, cost_micros=5), None),
    ],
)
def test_the_breakeven_rate_pays_the_cost_at_the_views_had(counts: Counts, expected: float | None) -> None:
    assert find_breakeven_conversion_rate(counts) == expected


def day(currency: str, revenue: int = 0, cost: int = 0, purchases: int = 0, taken: int = 0) -> PortfolioDay:
    return PortfolioDay(
        currency_code=currency,
        counts=Counts(impressions=10, revenue_micros=revenue, cost_micros=cost),
        purchases=purchases,
        purchase_revenue_micros=taken,
    )


def portfolio(days: list[PortfolioDay], before: list[PortfolioDay]) -> Portfolio:
    return measure_portfolio(
        date_range=DAYS, days=days, campaigns=[], range_before=BEFORE, days_before=before
    )


def test_sums_of_one_currency_have_money() -> None:
    totals = add_portfolio([day("USD", 5, 2), day("USD", 5, 0, 2, 9)])
    assert (totals.currency_code, totals.is_money_defined) == ("USD", True)
    assert (totals.counts.impressions, totals.counts.revenue_micros, totals.purchases) == (20, 10, 2)


def test_a_currency_without_money_does_not_spoil_the_sums() -> None:
    totals = add_portfolio([day("USD", 5), day("EUR")])
    assert (totals.currency_code, totals.is_money_defined) == ("USD", True)


def test_sums_across_currencies_have_no_money() -> None:
    totals = add_portfolio([day("USD", 5), day("EUR", 0, 1)])
    assert (totals.currency_code, totals.is_money_defined) == (None, False)
    assert totals.counts.impressions == 20


def test_nothing_at_all_is_zero_of_no_currency() -> None:
    totals = add_portfolio([])
    assert (totals.currency_code, totals.is_money_defined, totals.counts) == (None, True, Counts())


def test_the_change_is_a_fraction_and_undefined_without_a_before() -> None:
    change = portfolio([day("USD", 30, 4)], [day("USD", 20)]).change
    assert (change.revenue, change.impressions, change.cost, change.views) == (0.5, 0.0, None, None)


def test_money_is_not_compared_across_currencies() -> None:
    change = portfolio([day("USD", 30)], [day("EUR", 20)]).change
    assert (change.revenue, change.cost, change.purchase_revenue) == (None, None, None)
    assert change.impressions == 0.0


def test_every_currency_has_its_own_portfolio() -> None:
    campaigns = [
        CampaignCount(currency_code="USD", campaigns=2, campaigns_with_cost=2, roas_nanos=3_000_000_000),
        CampaignCount(currency_code="EUR", campaigns=1, campaigns_with_cost=0, roas_nanos=0),
    ]
    answer = measure_portfolio(
        date_range=DAYS,
        days=[day("USD", 5, 3), day("EUR", 9)],
        campaigns=campaigns,
        range_before=BEFORE,
        days_before=[],
    )
    assert [(c.currency_code, c.total_campaigns, c.average_roas) for c in answer.currencies] == [
        ("EUR", 1, None),
        ("USD", 2, 1.5),
    ]
    assert (answer.total_campaigns, answer.average_roas) == (3, 1.5)
    assert mean_roas([]) is None
