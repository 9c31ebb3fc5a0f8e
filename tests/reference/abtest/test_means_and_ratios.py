"""Means and ratios of sums against scipy and statsmodels, to 1e-9, and by simulation."""

import math
from collections.abc import Iterator
from itertools import product

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats
from statsmodels.regression.linear_model import WLS
from statsmodels.stats.weightstats import CompareMeans, DescrStatsW

from services.abtest.domain.means import WELCH_WINSORIZED, compare_means, estimate_mean
from services.abtest.domain.model import GroupCounts
from services.abtest.domain.ratios import DELTA_METHOD, compare_ratios, estimate_ratio
from services.abtest.domain.samples import MeanSample, RatioSample

Values = NDArray[np.float64]
SIZES = ((1, 1), (1, 40), (2, 2), (7, 9), (50, 50), (100, 10_000), (10_000, 100), (1_000_000, 1_000_000))
MEANS = ((0.0, 0.0), (3.0, 3.0), (2.0, 2.5), (-1.0, 4.0), (1e6, 1.001e6))
SPREADS = ((0.0, 0.0), (0.0, 1.5), (1.0, 1.0), (0.01, 30.0))
LEVELS = (0.80, 0.95, 0.999)


def mean_samples() -> Iterator[tuple[MeanSample, MeanSample]]:
    """Nothing that varies, one group that does not, one-user arms, 1:100 imbalance, a million users."""
    for sizes, means, spreads in product(SIZES, MEANS, SPREADS):
        control, variant = (
            MeanSample(users=users, total=mean * users, squared_deviations=spread**2 * (users - 1))
            for users, mean, spread in zip(sizes, means, spreads, strict=True)
        )
        yield control, variant


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_welch_agrees_with_scipy(level: float) -> None:
    checked = 0
    for control, variant in mean_samples():
        ours = compare_means(control, variant, confidence_level=level)
        assert ours.absolute_lift == pytest.approx(
            variant.total / variant.users - control.total / control.users, rel=1e-12
        )
        if control.variance is None or variant.variance is None or control.variance + variant.variance == 0:
            # scipy answers nan or inf here: one user, or nothing varies.
            assert ours.test is None
            assert ours.absolute_lift_interval is None
            assert ours.relative_lift_interval is None
            continue
        theirs = stats.ttest_ind_from_stats(
            variant.total / variant.users,
            math.sqrt(variant.variance),
            variant.users,
            control.total / control.users,
            math.sqrt(control.variance),
            control.users,
            equal_var=False,
        )
        assert ours.test is not None
        assert ours.difference is not None
        assert ours.absolute_lift_interval is not None
        assert ours.test.statistic == pytest.approx(theirs.statistic, rel=1e-9)
        if theirs.pvalue > 1e-280:
            assert ours.test.p_value == pytest.approx(theirs.pvalue, rel=1e-9)
        assert 10**ours.test.log10_p_value == pytest.approx(theirs.pvalue, rel=1e-9, abs=1e-280)
        error = math.sqrt(control.variance / control.users + variant.variance / variant.users)
        radius = error * stats.t.isf((1 - level) / 2, ours.difference.degrees_of_freedom)
        assert ours.absolute_lift is not None
        assert (ours.absolute_lift_interval.lower, ours.absolute_lift_interval.upper) == pytest.approx(
            (ours.absolute_lift - radius, ours.absolute_lift + radius), rel=1e-9
        )
        checked += 1
    assert checked > 80


def test_welch_of_conversions_and_of_single_values_agrees_with_scipy_and_statsmodels() -> None:
    generator = np.random.default_rng(12)
    for users in ((3, 300), (40, 40), (2000, 20)):
        control, variant = (generator.lognormal(1.0, 1.2, size) for size in users)
        ours = compare_means(
            MeanSample.from_values(control), MeanSample.from_values(variant), confidence_level=0.95
        )
        theirs = stats.ttest_ind(variant, control, equal_var=False)
        interval = theirs.confidence_interval(0.95)
        compared = CompareMeans(DescrStatsW(variant), DescrStatsW(control))
        assert ours.test is not None
        assert ours.difference is not None
        assert ours.absolute_lift_interval is not None
        assert (ours.test.statistic, ours.test.p_value) == pytest.approx(
            (theirs.statistic, theirs.pvalue), rel=1e-9
        )
        assert ours.difference.degrees_of_freedom == pytest.approx(theirs.df, rel=1e-9)
        ends = (ours.absolute_lift_interval.lower, ours.absolute_lift_interval.upper)
        assert ends == pytest.approx((interval.low, interval.high), rel=1e-9)
        assert ends == pytest.approx(compared.tconfint_diff(usevar="unequal"), rel=1e-9)
        own = ours.control.interval(0.95)
        assert own is not None
        assert (own.lower, own.upper) == pytest.approx(DescrStatsW(control).tconfint_mean(0.05), rel=1e-9)
    counts = [GroupCounts(users=50, conversions=10), GroupCounts(users=70, conversions=30)]
    ours = compare_means(*map(MeanSample.from_counts, counts), confidence_level=0.95)
    zeros_and_ones = [
        [1] * counts.conversions + [0] * (counts.users - counts.conversions) for counts in counts
    ]
    assert ours.test is not None
    assert ours.test.p_value == pytest.approx(
        stats.ttest_ind(*zeros_and_ones, equal_var=False).pvalue, rel=1e-9
    )


def test_the_lift_of_means_is_a_ratio_with_an_interval_on_the_log_scale() -> None:
    control = MeanSample.from_values([1.0, 2.0, 3.0, 4.0])
    variant = MeanSample.from_values([2.0, 3.0, 4.0, 9.0])
    ours = compare_means(control, variant, confidence_level=0.9)
    assert ours.relative_lift == pytest.approx(4.5 / 2.5 - 1)
    # By hand: Var(log mean) = variance / (users mean^2), 5/3/4/2.5^2 and 29/3/4/4.5^2.
    parts = [(5 / 3) / 4 / 2.5**2, (29 / 3) / 4 / 4.5**2]
    degrees = sum(parts) ** 2 / sum(part**2 / 3 for part in parts)
    radius = stats.t.ppf(0.95, degrees) * math.sqrt(sum(parts))
    assert ours.relative_lift_interval is not None
    assert ours.relative_lift_interval.lower == pytest.approx(4.5 / 2.5 * math.exp(-radius) - 1, rel=1e-9)
    assert ours.relative_lift_interval.upper == pytest.approx(4.5 / 2.5 * math.exp(radius) - 1, rel=1e-9)


def test_a_lift_over_nothing_or_over_a_loss_is_unset() -> None:
    zero, loss, gain = (MeanSample.from_values(values) for values in ([0.0, 0.0], [-1.0, -3.0], [1.0, 3.0]))
    for control in (zero, loss):
        effect = compare_means(control, gain, confidence_level=0.95)
        assert effect.relative_lift is None
        assert effect.relative_lift_interval is None
        assert effect.absolute_lift is not None
    fall = compare_means(gain, loss, confidence_level=0.95)
    assert (fall.relative_lift, fall.relative_lift_interval) == (-2.0, None)
    nobody = compare_means(MeanSample(), gain, confidence_level=0.95)
    assert (nobody.absolute_lift, nobody.relative_lift, nobody.test) == (None, None, None)


def test_winsorised_means_are_those_of_the_capped_values() -> None:
    generator = np.random.default_rng(3)
    control, variant = generator.pareto(2.0, (2, 500))
    # scipy winsorises at a share of the values, for us one cap of both groups together: 10 of 1,000.
    everybody = np.concatenate([control, variant])
    capped = np.asarray(stats.mstats.winsorize(everybody, limits=(0, 0.01)))
    cap = np.sort(everybody)[-11]
    ours = compare_means(
        MeanSample.from_values(np.minimum(control, cap)),
        MeanSample.from_values(np.minimum(variant, cap)),
        confidence_level=0.95,
        winsorized=True,
    )
    theirs = stats.ttest_ind(capped[500:], capped[:500], equal_var=False)
    assert ours.method == WELCH_WINSORIZED
    assert ours.test is not None
    assert ours.test.method == WELCH_WINSORIZED
    assert ours.test.p_value == pytest.approx(theirs.pvalue, rel=1e-9)


def ratio_values(generator: np.random.Generator, users: int, rate: float) -> tuple[Values, Values]:
    """Clicks and views: views geometric, a user's own click rate beta around `rate`."""
    views = generator.geometric(0.2, users)
    own_rates = generator.beta(4 * rate, 4 * (1 - rate), users)
    return generator.binomial(views, own_rates).astype(float), views.astype(float)


@pytest.mark.parametrize("users", [(2, 2), (7, 40), (1500, 1500), (50, 5000), (10_000, 1_000_000)])
def test_the_delta_method_is_welch_of_each_users_part(users: tuple[int, int]) -> None:
    generator = np.random.default_rng(sum(users))
    groups = [ratio_values(generator, size, 0.3) for size in users]
    ours = compare_ratios(*(RatioSample.from_values(*group) for group in groups), confidence_level=0.95)
    # Deng et al. (2018), section 3: clicks - R views, over the mean views, is a user's part in the ratio.
    ratios = [clicks.sum() / views.sum() for clicks, views in groups]
    parts = [
        ratio + (clicks - ratio * views) / views.mean()
        for ratio, (clicks, views) in zip(ratios, groups, strict=True)
    ]
    theirs = stats.ttest_ind(parts[1], parts[0], equal_var=False)
    interval = theirs.confidence_interval(0.95)
    assert ours.method == DELTA_METHOD
    assert ours.absolute_lift == pytest.approx(ratios[1] - ratios[0], rel=1e-9)
    assert ours.test is not None
    assert ours.absolute_lift_interval is not None
    assert (ours.test.statistic, ours.test.p_value) == pytest.approx(
        (theirs.statistic, theirs.pvalue), rel=1e-9
    )
    assert (ours.absolute_lift_interval.lower, ours.absolute_lift_interval.upper) == pytest.approx(
        (interval.low, interval.high), rel=1e-9
    )


def test_the_delta_method_is_the_error_of_a_regression_clustered_by_user() -> None:
    # The ratio is the weighted mean of click rates per user; statsmodels' heteroscedastic error of that
    # regression with HC0 is the delta method's with n in place of n - 1.
    clicks, views = ratio_values(np.random.default_rng(9), 400, 0.2)
    fitted = WLS(clicks / views, np.ones(400), weights=views).fit(cov_type="HC0")
    ours = estimate_ratio(RatioSample.from_values(clicks, views))
    assert ours.value == pytest.approx(fitted.params[0], rel=1e-9)
    assert ours.squared_standard_error == pytest.approx(fitted.bse[0] ** 2 * 400 / 399, rel=1e-9)


def test_ratios_that_nothing_supports_are_unset() -> None:
    no_views = RatioSample.from_values([0.0, 0.0], [0.0, 0.0])
    alike = RatioSample.from_values([1.0, 1.0], [2.0, 2.0])
    effect = compare_ratios(no_views, alike, confidence_level=0.95)
    assert (effect.absolute_lift, effect.relative_lift, effect.test) == (None, None, None)
    assert compare_ratios(alike, alike, confidence_level=0.95).test is None
    single = estimate_ratio(RatioSample.from_values([1.0], [4.0]))
    assert (single.value, single.squared_standard_error) == (0.25, None)
    assert estimate_ratio(RatioSample()).value is None


def click_cells() -> tuple[Values, Values, Values]:
    """Clicks, views and probability of each kind of user: up to 12 views, and 10 % clicked."""
    cells = [(clicks, views) for views in range(1, 13) for clicks in range(views + 1)]
    clicks, views = np.array(cells, dtype=np.float64).T
    probability = stats.geom.pmf(views, 0.3) * stats.betabinom.pmf(clicks, views.astype(int), 0.4, 3.6)
    return clicks, views, probability / probability.sum()


def test_the_delta_method_keeps_its_level_over_simulated_a_a_tests() -> None:
    clicks, views, probability = click_cells()
    # How many users of each kind 10,000 tests of two groups have.
    kinds = np.random.default_rng(2018).multinomial(1500, probability, (2, 10_000))
    values, squared_errors = [], []
    for group in kinds:
        ratio = (group @ clicks) / (group @ views)
        squares = group @ clicks**2 - 2 * ratio * (group @ (clicks * views)) + ratio**2 * (group @ views**2)
        values.append(ratio)
        squared_errors.append(squares * 1500 / 1499 / (group @ views) ** 2)
    statistics = (values[1] - values[0]) / np.sqrt(squared_errors[0] + squared_errors[1])
    for index in range(50):
        samples = (
            RatioSample.from_values(np.repeat(clicks, group[index]), np.repeat(views, group[index]))
            for group in kinds
        )
        test = compare_ratios(*samples, confidence_level=0.95).test
        assert test is not None
        assert test.statistic == pytest.approx(statistics[index], rel=1e-9)
    wrong = (np.abs(statistics) > stats.t.isf(0.025, 2998)).mean()
    # Issue: 4.3 to 5.7 % at 1,500 users per group, the 99.9 % binomial band of 10,000 tests.
    assert 0.043 <= wrong <= 0.057
    # Views as units, as a chi-squared test of clicks over views takes them, are wrong twice as often.
    seen = [group @ views for group in kinds]
    pooled = sum(group @ clicks for group in kinds) / (seen[0] + seen[1])
    naive = (values[1] - values[0]) / np.sqrt(pooled * (1 - pooled) * (1 / seen[0] + 1 / seen[1]))
    assert (np.abs(naive) > stats.norm.isf(0.025)).mean() > 0.1


def test_welch_keeps_its_level_over_simulated_a_a_tests() -> None:
    # Revenue per user: 5 % buy, for a lognormal amount; 1,000 users per group, from sufficient statistics.
    generator = np.random.default_rng(31)
    buyers = generator.binomial(1000, 0.05, (2, 10_000))
    amounts = generator.lognormal(3.0, 0.5, (*buyers.shape, buyers.max()))
    amounts *= np.arange(buyers.max()) < buyers[..., None]
    totals, squares = amounts.sum(axis=-1), (amounts**2).sum(axis=-1)
    deviations = squares - totals**2 / 1000
    wrong = 0
    for index in range(10_000):
        control, variant = (
            MeanSample(
                users=1000,
                total=float(totals[group, index]),
                squared_deviations=float(deviations[group, index]),
            )
            for group in range(2)
        )
        effect = compare_means(control, variant, confidence_level=0.95)
        assert effect.test is not None
        assert effect.absolute_lift_interval is not None
        rejects = effect.test.p_value < 0.05
        # The test and its interval are one: either both exclude no difference, or neither.
        assert rejects != (effect.absolute_lift_interval.lower <= 0 <= effect.absolute_lift_interval.upper)
        wrong += rejects
    assert 0.0428 <= wrong / 10_000 <= 0.0572


def test_an_estimate_of_one_group_is_unset_without_a_spread() -> None:
    assert estimate_mean(MeanSample.from_values([3.0])).interval(0.95) is None
    assert estimate_mean(MeanSample.from_values([3.0, 3.0])).interval(0.95) is None
