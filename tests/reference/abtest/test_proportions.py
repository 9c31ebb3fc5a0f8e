"""Comparisons of two groups against scipy.stats, statsmodels, exact fractions and published figures."""

import math
from fractions import Fraction
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats
from statsmodels.stats.power import NormalIndPower
from statsmodels.stats.proportion import (
    confint_proportions_2indep,
    power_proportions_2indep,
    proportion_confint,
)

from services.abtest.domain.model import GroupCounts
from services.abtest.domain.power import power_of_comparison
from services.abtest.domain.proportions import (
    SMALLEST_P_VALUE,
    chi_squared_test,
    compare_proportions,
    difference_interval,
    fisher_exact_log10_p_value,
    lift_interval,
    smallest_expected_count,
    wilson_interval,
)

SHARES = (0.0, 0.001, 0.02, 0.1, 0.5, 0.93, 1.0)
SIZES = (
    (1, 1),
    (1, 40),
    (7, 9),
    (50, 50),
    (100, 10_000),
    (10_000, 100),
    (1000, 1000),
    (1_000_000, 1_000_000),
)
LEVELS = (0.80, 0.95, 0.999)


def tables() -> list[tuple[GroupCounts, GroupCounts]]:
    """Zero cells, full cells, one-user arms, 1:100 imbalance, a million users, with few conversions."""
    few = [
        (GroupCounts(users=n0, conversions=x0), GroupCounts(users=n1, conversions=x1))
        for n0, n1 in ((1_000_000, 1_000_000), (10_000, 1_000_000))
        for x0, x1 in ((0, 1), (0, 4), (2, 7), (n0, n1 - 3), (n0 - 5, n1))
    ]
    return few + [
        (
            GroupCounts(users=n0, conversions=round(share0 * n0)),
            GroupCounts(users=n1, conversions=round(share1 * n1)),
        )
        for (n0, n1), share0, share1 in product(SIZES, SHARES, SHARES)
    ]


def as_table(control: GroupCounts, variant: GroupCounts) -> NDArray[np.int64]:
    rows = [(counts.conversions, counts.users - counts.conversions) for counts in (control, variant)]
    return np.array(rows, dtype=np.int64)


def test_nobody_is_compared_with_nobody() -> None:
    nobody, somebody = GroupCounts(users=0), GroupCounts(users=10, conversions=3)
    for control, variant in ((nobody, somebody), (somebody, nobody)):
        assert smallest_expected_count(control, variant) is None
        assert compare_proportions(control, variant) is None
        assert difference_interval(control, variant, 0.95) is None
        assert lift_interval(control, variant, 0.95) is None


def test_chi_squared_agrees_with_scipy() -> None:
    checked = 0
    for control, variant in tables():
        if not smallest_expected_count(control, variant):
            assert compare_proportions(control, variant) is None
            continue
        ours = chi_squared_test(control, variant)
        theirs = stats.chi2_contingency(as_table(control, variant), correction=False)
        assert ours.statistic == pytest.approx(theirs.statistic, rel=1e-9, abs=1e-9)
        assert ours.p_value == pytest.approx(max(theirs.pvalue, SMALLEST_P_VALUE), rel=1e-9)
        assert ours.log10_p_value == pytest.approx(
            (math.log(2) + float(stats.norm.logsf(math.sqrt(theirs.statistic)))) / math.log(10),
            rel=1e-9,
            abs=1e-12,
        )
        checked += 1
    assert checked > 200


def test_a_p_value_below_the_smallest_double_is_told_by_its_logarithm() -> None:
    control, variant = (GroupCounts(users=1_000_000, conversions=x) for x in (100_000, 200_000))
    test = compare_proportions(control, variant)
    assert test is not None
    assert test.p_value == SMALLEST_P_VALUE
    # Abramowitz and Stegun 7.1.23: erfc(y) ~ exp(-y^2) (1 - 1 / (2 y^2) + 3 / (4 y^4)) / (y sqrt(pi)).
    y_squared = test.statistic / 2
    series = math.log1p(-1 / (2 * y_squared) + 3 / (4 * y_squared**2))
    expected = (-y_squared - math.log(math.pi * y_squared) / 2 + series) / math.log(10)
    assert test.log10_p_value == pytest.approx(expected, rel=1e-12)
    assert test.log10_p_value < -8000


def test_fisher_agrees_with_scipy() -> None:
    checked = 0
    for control, variant in tables():
        expected = smallest_expected_count(control, variant)
        if not expected or expected >= 5:
            continue
        theirs = stats.fisher_exact(as_table(control, variant)).pvalue
        ours = compare_proportions(control, variant)
        assert ours is not None
        assert ours.method == "fisher_exact"
        assert ours.p_value == pytest.approx(theirs, rel=1e-9), (control, variant)
        checked += 1
    assert checked > 100


def test_fishers_p_value_below_the_smallest_double_is_told_by_its_logarithm() -> None:
    # All 400 of control convert and nobody of 40,000: a single table is as unlikely, one of C(40400, 400).
    control, variant = GroupCounts(users=400, conversions=400), GroupCounts(users=40_000, conversions=0)
    test = compare_proportions(control, variant)
    assert test is not None
    assert test.method == "fisher_exact"
    assert test.p_value == SMALLEST_P_VALUE
    assert test.log10_p_value == pytest.approx(-math.log10(math.comb(40_400, 400)), rel=1e-12)
    assert test.log10_p_value < -900


@given(n0=st.integers(1, 60), n1=st.integers(1, 60), share0=st.floats(0, 1), share1=st.floats(0, 1))
def test_fisher_agrees_with_exact_fractions(n0: int, n1: int, share0: float, share1: float) -> None:
    x0, x1 = round(share0 * n0), round(share1 * n1)
    if x0 + x1 in (0, n0 + n1):
        return
    total = math.comb(n0 + n1, x0 + x1)
    weights = {
        k: Fraction(math.comb(n0, k) * math.comb(n1, x0 + x1 - k), total)
        for k in range(max(0, x0 + x1 - n1), min(n0, x0 + x1) + 1)
    }
    limit = weights[x0] * (1 + Fraction(1, 10**7))
    exact = float(sum(weight for weight in weights.values() if weight <= limit))
    ours = 10 ** fisher_exact_log10_p_value(
        GroupCounts(users=n0, conversions=x0), GroupCounts(users=n1, conversions=x1)
    )
    assert ours == pytest.approx(exact, rel=1e-9)


@pytest.mark.parametrize("level", LEVELS)
def test_wilson_and_newcombe_agree_with_statsmodels(level: float) -> None:
    for control, variant in tables():
        lower, upper = proportion_confint(variant.conversions, variant.users, 1 - level, method="wilson")
        wilson = wilson_interval(variant, level)
        assert (wilson.lower, wilson.upper) == pytest.approx((lower, upper), rel=1e-9, abs=1e-12)
        theirs = confint_proportions_2indep(
            variant.conversions,
            variant.users,
            control.conversions,
            control.users,
            method="newcomb",
            compare="diff",
            alpha=1 - level,
        )
        ours = difference_interval(control, variant, level)
        assert ours is not None
        assert (ours.lower, ours.upper) == pytest.approx(theirs, rel=1e-9, abs=1e-12), (control, variant)


def test_newcombe_gives_the_papers_figures() -> None:
    # Newcombe (1998), table II, method 10: 56/70 - 48/80 is 0.0524 to 0.3339,
    # and 9/10 - 3/10 is 0.1705 to 0.8090.
    ours = difference_interval(
        GroupCounts(users=80, conversions=48), GroupCounts(users=70, conversions=56), 0.95
    )
    assert ours is not None
    assert (round(ours.lower, 4), round(ours.upper, 4)) == (0.0524, 0.3339)
    ours = difference_interval(
        GroupCounts(users=10, conversions=3), GroupCounts(users=10, conversions=9), 0.95
    )
    assert ours is not None
    assert (round(ours.lower, 4), round(ours.upper, 4)) == (0.1705, 0.8090)


@pytest.mark.parametrize("level", LEVELS)
def test_lift_interval_agrees_with_statsmodels(level: float) -> None:
    for control, variant in tables():
        if control.conversions == control.users and variant.conversions == variant.users:
            assert lift_interval(control, variant, level) is None
            continue
        zero = control.conversions == 0 or variant.conversions == 0
        theirs = confint_proportions_2indep(
            variant.conversions,
            variant.users,
            control.conversions,
            control.users,
            method="log-adjusted" if zero else "log",
            compare="ratio",
            alpha=1 - level,
        )
        ours = lift_interval(control, variant, level)
        assert ours is not None
        assert (1 + ours.lower, 1 + ours.upper) == pytest.approx(theirs, rel=1e-9), (control, variant)


def test_the_guides_power_claim_and_the_true_figure() -> None:
    # The guide: 10 % against 12 % with 1,000 per group has over 80 % power. It has 29.8 %.
    power = power_of_comparison(
        control_rate=0.10, variant_rate=0.12, control_users=1000, variant_users=1000, confidence_level=0.95
    )
    assert power is not None
    assert round(100 * power, 1) == 29.8


def test_the_guides_power_by_simulation() -> None:
    generator = np.random.default_rng(20_261_120)
    control, variant = generator.binomial(1000, [[0.10], [0.12]], (2, 20_000))
    found = chi_squared_statistics(control, variant, 1000) > stats.chi2.isf(0.05, 1)
    # 99.9 % binomial band around 29.8 %: 3.29 standard errors of 0.32 %.
    assert found.mean() == pytest.approx(0.298, abs=0.0107)


@pytest.mark.parametrize("rate", [0.01, 0.1, 0.45])
@pytest.mark.parametrize("effect", [-0.3, 0.05, 0.5])
@pytest.mark.parametrize("level", LEVELS)
def test_power_agrees_with_statsmodels(rate: float, effect: float, level: float) -> None:
    variant_rate = rate * (1 + effect)
    theirs = power_proportions_2indep(
        variant_rate - rate, rate, 2000, ratio=1, alpha=1 - level, return_results=False
    )
    ours = power_of_comparison(
        control_rate=rate,
        variant_rate=variant_rate,
        control_users=2000,
        variant_users=2000,
        confidence_level=level,
    )
    assert ours == pytest.approx(theirs, rel=1e-9)


def test_power_of_unequal_groups_is_that_of_a_z_test() -> None:
    # With equal variances under both hypotheses (rates 0.4 and 0.6), against statsmodels' NormalIndPower.
    ours = power_of_comparison(
        control_rate=0.4, variant_rate=0.6, control_users=100, variant_users=100, confidence_level=0.95
    )
    pooled = NormalIndPower().power(0.2 / 0.5, 100, 0.05, ratio=1)
    assert ours == pytest.approx(pooled, abs=0.02)
    more = power_of_comparison(
        control_rate=0.4, variant_rate=0.6, control_users=100, variant_users=1000, confidence_level=0.95
    )
    assert ours is not None
    assert more is not None
    assert more > ours


def chi_squared_statistics(
    control: NDArray[np.int64], variant: NDArray[np.int64], users: int
) -> NDArray[np.float64]:
    """Vectorised Pearson statistics of equal groups; checked against ours below."""
    converted = control + variant
    with np.errstate(invalid="ignore", divide="ignore"):
        statistics: NDArray[np.float64] = (
            2 * users * (variant - control) ** 2 / (converted * (2.0 * users - converted))
        )
    return statistics


def test_chi_squared_keeps_its_level_over_simulated_a_a_tests() -> None:
    generator = np.random.default_rng(4)
    control, variant = generator.binomial(1000, 0.10, (2, 10_000))
    statistics = chi_squared_statistics(control, variant, 1000)
    for index in range(200):
        test = chi_squared_test(
            GroupCounts(users=1000, conversions=int(control[index])),
            GroupCounts(users=1000, conversions=int(variant[index])),
        )
        assert test.statistic == pytest.approx(statistics[index], rel=1e-12)
    # 99.9 % binomial band of 10,000 tests at 5 %: 4.28 to 5.72 %.
    assert 0.0428 <= (statistics > stats.chi2.isf(0.05, 1)).mean() <= 0.0572


@pytest.mark.parametrize(("users", "rate"), [(1000, 0.10), (60, 0.06)])
def test_fisher_keeps_its_level_over_simulated_a_a_tests(users: int, rate: float) -> None:
    generator = np.random.default_rng(5)
    # Fisher's p-value of a table of equal groups is that of the table the other way round.
    pairs = np.sort(generator.binomial(users, rate, (2, 10_000)), axis=0)
    tables, times = np.unique(pairs, axis=1, return_counts=True)
    wrong = 0
    for (x0, x1), count in zip(tables.T, times, strict=True):
        if x1 == 0:
            continue
        log10_p_value = fisher_exact_log10_p_value(
            GroupCounts(users=users, conversions=int(x0)), GroupCounts(users=users, conversions=int(x1))
        )
        wrong += int(count) * (log10_p_value < math.log10(0.05))
    assert wrong / 10_000 <= 0.05


def test_yates_agrees_with_scipy_and_stays_under_its_level() -> None:
    checked = 0
    for control, variant in tables():
        if not smallest_expected_count(control, variant):
            assert compare_proportions(control, variant, yates=True) is None
            continue
        ours = chi_squared_test(control, variant, yates=True)
        # Yates (1934): scipy corrects by as much as lies between seen and expected counts, and so do we.
        theirs = stats.chi2_contingency(as_table(control, variant), correction=True)
        assert ours.method == "pearson_chi_squared_yates"
        assert ours.statistic == pytest.approx(theirs.statistic, rel=1e-9, abs=1e-9)
        assert ours.p_value == pytest.approx(max(theirs.pvalue, SMALLEST_P_VALUE), rel=1e-9)
        checked += 1
    assert checked > 200
    thin = compare_proportions(
        GroupCounts(users=20, conversions=1), GroupCounts(users=20, conversions=4), yates=True
    )
    assert thin is not None
    assert thin.method == "fisher_exact"
    control_counts, variant_counts = np.random.default_rng(4).binomial(1000, 0.10, (2, 10_000))
    converted = control_counts + variant_counts
    corrected = np.maximum(0, np.abs(variant_counts - control_counts) - 1.0)
    statistics = 2000 * corrected**2 / (converted * (2000.0 - converted))
    for index in range(100):
        test = chi_squared_test(
            GroupCounts(users=1000, conversions=int(control_counts[index])),
            GroupCounts(users=1000, conversions=int(variant_counts[index])),
            yates=True,
        )
        assert test.statistic == pytest.approx(statistics[index], rel=1e-12)
    assert (statistics > stats.chi2.isf(0.05, 1)).mean() <= 0.05
