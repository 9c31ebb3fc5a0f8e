"""Intervals against independent sources: statsmodels, a bootstrap, and simulated truth."""

from collections.abc import Sequence
from dataclasses import replace
from math import exp, log, sqrt

import numpy as np
import pytest
import statsmodels.api as sm
from numpy.typing import NDArray
from scipy import optimize, stats
from statsmodels.stats.proportion import proportion_confint

from services.analytics.domain.intervals import (
    RatioMoments,
    estimate_effective_trials,
    estimate_ratio_interval,
    estimate_relative_variance,
    estimate_skewness,
    estimate_total_interval,
    estimate_wilson_interval,
    score_interval,
    skewed_interval,
)

Integers = NDArray[np.int64]


def moments(y: Sequence[int] | Integers, x: Sequence[int] | Integers) -> RatioMoments:
    pairs = [(int(a), int(b)) for a, b in zip(y, x, strict=True)]
    return RatioMoments(
        users=len(pairs),
        y=sum(a for a, _ in pairs),
        x=sum(b for _, b in pairs),
        yy=sum(a * a for a, _ in pairs),
        xy=sum(a * b for a, b in pairs),
        xx=sum(b * b for _, b in pairs),
        carriers=sum(a > 0 for a, _ in pairs),
    )


@pytest.mark.parametrize(
    ("successes", "trials"), [(1, 10), (196, 1077), (158, 1076), (0, 7), (7, 7), (50, 200)]
)
@pytest.mark.parametrize("level", [0.8, 0.95, 0.999])
def test_wilson_equals_statsmodels(successes: int, trials: int, level: float) -> None:
    interval = estimate_wilson_interval(successes, trials, level)
    assert interval is not None
    lower, upper = proportion_confint(successes, trials, alpha=1 - level, method="wilson")
    assert [interval.lower, interval.upper] == pytest.approx([lower, upper], abs=1e-12)


def test_wilson_equals_the_published_example() -> None:
    """81 of 263: Newcombe, Statistics in Medicine 17 (1998) 857-872, table I, method 3: 0.2553 to 0.3662."""
    interval = estimate_wilson_interval(81, 263)
    assert interval is not None
    assert (round(interval.lower, 4), round(interval.upper, 4)) == (0.2553, 0.3662)


def repeating_users(rng: np.random.Generator, users: int = 400) -> tuple[Integers, Integers]:
    views = rng.integers(1, 20, users)
    rates = rng.beta(1.0, 4.0, users)
    return rng.binomial(views, rates), views


def test_the_delta_variance_equals_cluster_robust_regression() -> None:
    """Events regressed on a constant, clustered by user: statsmodels' sandwich corrects by G / (G - 1)."""
    y, x = repeating_users(np.random.default_rng(1))
    outcomes = np.concatenate([[1.0] * a + [0.0] * (b - a) for a, b in zip(y, x, strict=True)])
    groups = np.repeat(np.arange(len(x)), x)
    fit = sm.OLS(outcomes, np.ones((len(outcomes), 1))).fit(cov_type="cluster", cov_kwds={"groups": groups})
    ours = moments(y, x)
    assert ours.ratio == pytest.approx(float(fit.params[0]), rel=1e-12)
    variance = estimate_relative_variance(ours)
    assert variance is not None
    assert ours.ratio is not None
    assert sqrt(variance) * ours.ratio == pytest.approx(float(fit.bse[0]), rel=1e-9)


def test_the_ratio_interval_equals_a_bootstrap_of_users() -> None:
    rng = np.random.default_rng(2)
    cost = rng.integers(1, 8, 2000)
    revenue = rng.poisson(0.4, 2000) * np.rint(rng.lognormal(3, 0.8, 2000)).astype(np.int64)
    interval = estimate_ratio_interval(moments(revenue, cost))
    assert interval is not None
    picks = rng.integers(0, 2000, (4000, 2000))
    ratios = revenue[picks].sum(axis=1) / cost[picks].sum(axis=1)
    lower, upper = np.quantile(ratios, [0.025, 0.975])
    width = upper - lower
    assert interval.lower == pytest.approx(lower, abs=0.06 * width)
    assert interval.upper == pytest.approx(upper, abs=0.06 * width)


def test_the_ratio_interval_is_the_one_its_docstring_states() -> None:
    """Computed again from the definition with scipy.stats, for five users."""
    revenue, cost = np.array([0, 0, 5, 8, 13]), np.array([1, 2, 2, 3, 4])
    ratio = 26 / 12
    variance = 5 / 4 * ((revenue - ratio * cost) ** 2).sum() / 144
    # Kish's effective number of users behind the revenue: 26^2 / (25 + 64 + 169).
    width = stats.t.ppf(0.975, 676 / 258 - 1) * sqrt(variance) / ratio
    interval = estimate_ratio_interval(moments(revenue, cost))
    assert interval is not None
    assert interval.lower == pytest.approx(exp(log(ratio) - width))
    assert interval.upper == pytest.approx(exp(log(ratio) + width))


def test_money_in_micros_loses_nothing_to_rounding() -> None:
    """The residuals of a nearly perfect ratio of large amounts vanish in doubles; integers keep them."""
    users = 50
    x = [10**15] * users
    y = [2 * 10**15 + (1 if n % 2 else -1) for n in range(users)]
    variance = estimate_relative_variance(moments(y, x))
    assert variance == pytest.approx(users / (users - 1) * users / (2e15 * users) ** 2, rel=1e-9)


def test_skewed_money_over_few_buyers_is_covered_better_than_by_counting_them() -> None:
    """Log-normal amounts of sigma 1 from about 10 of 200 users: 95 % nominal. With one degree of freedom less
    than there are buyers, these runs cover 0.896 of the time. Of the intervals given: hardly any run has
    fewer than two effective buyers, and so none."""
    rng = np.random.default_rng(5)
    given, hits = 0, 0
    for _ in range(1500):
        views = rng.integers(1, 6, 200)
        bought = rng.binomial(views, rng.beta(0.18, 8.82, 200))
        owners = np.repeat(np.arange(200), bought)
        amounts = np.rint(1000 * rng.lognormal(3, 1.0, len(owners)))
        revenue = np.bincount(owners, weights=amounts, minlength=200).astype(np.int64)
        interval = estimate_ratio_interval(moments(revenue, 50 * views + 5000 * bought))
        truth = 1000 * 0.02 * exp(3 + 0.5) / (50 + 5000 * 0.02)
        if interval is not None:
            given += 1
            hits += interval.lower <= truth <= interval.upper
    assert given >= 1450
    assert hits / given >= 0.92


@pytest.mark.parametrize(("successes", "trials"), [(1, 10), (81, 263), (0, 7), (7, 7), (4000, 200_000)])
@pytest.mark.parametrize("level", [0.8, 0.95])
def test_the_score_interval_of_independent_trials_equals_statsmodels_clopper_pearson(
    successes: int, trials: int, level: float
) -> None:
    interval = score_interval(successes / trials, trials, 1e12, level)
    lower, upper = proportion_confint(successes, trials, alpha=1 - level, method="beta")
    assert [interval.lower, interval.upper] == pytest.approx([lower, upper], abs=1e-9)


def test_clopper_pearson_equals_the_published_example() -> None:
    """81 of 263: Newcombe, Statistics in Medicine 17 (1998) 857-872, table I, method 5: 0.2527 to 0.3676."""
    interval = score_interval(81 / 263, 263, 1e12, 0.95)
    assert (round(interval.lower, 4), round(interval.upper, 4)) == (0.2527, 0.3676)


def test_few_users_narrow_the_effective_number_of_trials_as_korn_and_graubard_do() -> None:
    """Their factor (z / t)^2, computed again with scipy.stats: 20 of 100 effective trials of 12 users."""
    trials = 100 * (stats.norm.ppf(0.975) / stats.t.ppf(0.975, 11)) ** 2
    interval = score_interval(0.2, 100, 12, 0.95)
    assert interval.lower == pytest.approx(stats.beta.ppf(0.025, 0.2 * trials, 0.8 * trials + 1))
    assert interval.upper == pytest.approx(stats.beta.ppf(0.975, 0.2 * trials + 1, 0.8 * trials))


def test_effective_trials_follow_the_design_effect_where_many_users_tell_it() -> None:
    """Against the intraclass correlation that statsmodels' cluster-robust variance implies."""
    y, x = repeating_users(np.random.default_rng(3), 20_000)
    outcomes = np.concatenate([[1.0] * a + [0.0] * (b - a) for a, b in zip(y, x, strict=True)])
    groups = np.repeat(np.arange(len(x)), x)
    fit = sm.OLS(outcomes, np.ones((len(outcomes), 1))).fit(cov_type="cluster", cov_kwds={"groups": groups})
    rate = float(fit.params[0])
    expected = rate * (1 - rate) / float(fit.bse[0]) ** 2
    assert estimate_effective_trials(moments(y, x)) == pytest.approx(expected, rel=0.001)


def test_the_skewness_is_scipys() -> None:
    y = np.array([0, 0, 0, 5, 8, 40], dtype=np.int64)
    given = replace(moments(y, [1] * 6), yyy=sum(int(a) ** 3 for a in y))
    assert estimate_skewness(given) == pytest.approx(stats.skew(y) / sqrt(6))


@pytest.mark.parametrize("skewness", [0.4, -0.3, 1e-9])
def test_the_skewed_interval_inverts_halls_transformation(skewness: float) -> None:
    """Hall (1992), eq. 2.7: the ends are where g(T) is the quantile, found again by bisection."""

    def transformed(t: float) -> float:
        return t + skewness * t**2 / 3 + skewness**2 * t**3 / 27 + skewness / 6

    interval = skewed_interval(10.0, 2.0, skewness, 31.0, 0.95)
    quantile = stats.t.ppf(0.975, 30)
    low = optimize.brentq(lambda t: transformed(t) - quantile, -40, 40)
    high = optimize.brentq(lambda t: transformed(t) + quantile, -40, 40)
    assert [interval.lower, interval.upper] == pytest.approx([10 - 2 * low, 10 - 2 * high], rel=1e-6)


def test_an_imported_cost_leaves_the_variance_of_revenue_over_a_constant() -> None:
    """All cost imported: ROAS is the revenue over a constant, its variance that of a sum of n users."""
    revenue = np.array([0, 0, 5, 8, 13], dtype=np.int64)
    given = RatioMoments(users=5, y=26, x=10, yy=258, xy=0, xx=0, x_known=10)
    variance = estimate_relative_variance(given)
    assert variance == pytest.approx(5 * np.var(revenue, ddof=1) / 26**2)


def test_the_interval_of_a_profit_is_students_where_nothing_is_skewed() -> None:
    revenue, cost = [1, 2, 3, 4, 5], [1, 1, 1, 1, 1]
    given = replace(moments(revenue, cost), yyy=225)
    interval = estimate_total_interval(given)
    assert interval is not None
    # Kish's effective number of users behind the revenue: 15^2 / 55.
    half = stats.t.ppf(0.975, 225 / 55 - 1) * sqrt(5 * 2.5)
    assert [interval.lower, interval.upper] == pytest.approx([10 - half, 10 + half])
    moved = estimate_total_interval(replace(given, x=9, x_known=4))
    assert moved is not None
    assert [moved.lower, moved.upper] == pytest.approx([6 - half, 6 + half])
    assert estimate_total_interval(moments(revenue, cost)) is None
