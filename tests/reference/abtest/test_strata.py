"""What is put together or compared over strata: against peers, and by simulated tests."""

import math

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats
from statsmodels.regression.linear_model import WLS
from statsmodels.stats.meta_analysis import combine_effects as meta_analysis
from statsmodels.stats.oneway import anova_generic

from services.abtest.domain.covariates import CUPED, adjust_by_covariate
from services.abtest.domain.estimates import Estimate, GroupEstimate
from services.abtest.domain.interactions import (
    SegmentSplit,
    compare_effects,
    compare_segments,
    estimate_log_rate_ratio,
    estimate_log_rate_ratio_within,
)
from services.abtest.domain.means import WELCH, estimate_mean
from services.abtest.domain.model import GroupCounts
from services.abtest.domain.novelty import (
    LEARNING,
    NOVELTY,
    STABLE,
    PeriodEffect,
    effects_of_counts,
    estimate_trend,
)
from services.abtest.domain.poststratification import Weighting, compare_strata
from services.abtest.domain.pre_exposure import PastSample, check_pre_exposure
from services.abtest.domain.samples import CovariateSample, MeanSample, Stratum
from services.abtest.domain.simpson import compare_pooled_with_strata

Values = NDArray[np.float64]


def band(level: float, tests: int) -> tuple[float, float]:
    """The 99.9 % binomial band of a share that is `level`."""
    radius = 3.29 * math.sqrt(level * (1 - level) / tests)
    return level - radius, level + radius


def stratum(label: str, *groups: Values) -> Stratum[GroupEstimate]:
    return Stratum(
        label=label, groups=tuple(estimate_mean(MeanSample.from_values(values)) for values in groups)
    )


def counts_stratum(label: str, *groups: tuple[int, int]) -> Stratum[GroupCounts]:
    """Counts as (conversions, users) per group."""
    return Stratum(label=label, groups=tuple(GroupCounts(users=users, conversions=c) for c, users in groups))


def samples_of(strata: list[Stratum[GroupCounts]]) -> list[Stratum[MeanSample]]:
    return [
        Stratum(label=each.label, groups=tuple(MeanSample.from_counts(group) for group in each.groups))
        for each in strata
    ]


@pytest.mark.parametrize("weighting", list(Weighting))
def test_a_stratified_effect_is_its_strata_s_weighted_mean(weighting: Weighting) -> None:
    generator = np.random.default_rng(1)
    values = [
        (generator.normal(5, 2, 30), generator.normal(6, 1, 40)),
        (generator.normal(9, 1, 200), generator.normal(9, 3, 20)),
    ]
    effect = compare_strata(
        [stratum(str(number), *pair) for number, pair in enumerate(values)],
        1,
        confidence_level=0.9,
        method=WELCH,
        weighting=weighting,
    )
    sizes = [(len(control), len(variant)) for control, variant in values]
    raw = [n * m / (n + m) if weighting is Weighting.INFORMATION else n + m for n, m in sizes]
    weights = np.array(raw) / sum(raw)
    # By hand, and Satterthwaite's degrees of freedom over all four means.
    difference = sum(w * (v.mean() - c.mean()) for w, (c, v) in zip(weights, values, strict=True))
    parts = [
        (w**2 * each.var(ddof=1) / len(each), len(each) - 1)
        for w, pair in zip(weights, values, strict=True)
        for each in pair
    ]
    variance = sum(part for part, _ in parts)
    degrees = variance**2 / sum(part**2 / (free) for part, free in parts)
    assert effect.method == "post_stratified_welch_t"
    assert effect.absolute_lift == pytest.approx(difference, rel=1e-9)
    assert effect.difference is not None
    assert effect.difference.standard_error == pytest.approx(math.sqrt(variance), rel=1e-9)
    assert effect.difference.degrees_of_freedom == pytest.approx(degrees, rel=1e-9)
    assert effect.test is not None
    assert effect.test.p_value == pytest.approx(
        2 * stats.t.sf(abs(difference) / math.sqrt(variance), degrees), rel=1e-9
    )


def test_strata_that_compare_nothing_are_left_out() -> None:
    generator = np.random.default_rng(2)
    control, variant = generator.normal(5, 1, (2, 20))
    only = stratum("1", control, variant)
    alone = stratum("2", control, np.array([]))
    single = stratum("3", control, np.array([100.0]))
    plain = compare_strata([only], 1, confidence_level=0.95, method=WELCH)
    assert compare_strata([alone, only, single], 1, confidence_level=0.95, method=WELCH) == plain
    assert plain.method == WELCH
    assert plain.test is not None
    assert plain.test.p_value == pytest.approx(
        stats.ttest_ind(variant, control, equal_var=False).pvalue, rel=1e-9
    )
    unknown = compare_strata([alone, single], 1, confidence_level=0.95, method=WELCH)
    assert unknown.absolute_lift == pytest.approx(100.0 - control.mean())
    assert unknown.test is None
    assert compare_strata([], 1, confidence_level=0.95, method=WELCH).absolute_lift is None


def test_strata_in_which_nothing_varies_have_a_difference_and_no_test() -> None:
    strata = [stratum(str(n), np.full(5, 1.0 + n), np.full(9, 2.0 + n)) for n in range(3)]
    effect = compare_strata(strata, 1, confidence_level=0.95, method=WELCH)
    assert effect.absolute_lift == pytest.approx(1.0)
    assert effect.test is None
    assert effect.absolute_lift_interval is None


def test_post_stratified_means_keep_their_level_where_pooled_ones_are_fooled() -> None:
    # A 10/90 week at a mean of 3 and a 50/50 week at a mean of 4, no effect in either; 4,000 users each.
    generator = np.random.default_rng(77)
    wrong_stratified = wrong_pooled = 0
    tests = 2000
    for _ in range(tests):
        weeks = []
        for sizes, mean in (((400, 3600), 3.0), ((2000, 2000), 4.0)):
            groups = tuple(
                MeanSample(
                    users=n,
                    total=n * generator.normal(mean, 5 / math.sqrt(n)),
                    squared_deviations=25 * generator.chisquare(n - 1),
                )
                for n in sizes
            )
            weeks.append(groups)
        stratified = compare_strata(
            [Stratum(label="", groups=tuple(map(estimate_mean, groups))) for groups in weeks],
            1,
            confidence_level=0.95,
            method=WELCH,
        )
        pooled = compare_strata(
            [Stratum(label="", groups=tuple(estimate_mean(a + b) for a, b in zip(*weeks, strict=True)))],
            1,
            confidence_level=0.95,
            method=WELCH,
        )
        assert stratified.test is not None
        assert pooled.test is not None
        wrong_stratified += stratified.test.p_value < 0.05
        wrong_pooled += pooled.test.p_value < 0.05
    low, high = band(0.05, tests)
    assert low <= wrong_stratified / tests <= high
    assert wrong_pooled / tests > 0.5


def test_covariates_and_strata_work_together() -> None:
    # A new stratum whose users have another past and another mean: the slope is one, the means are their own.
    generator = np.random.default_rng(4)
    strata, residuals = [], []
    for level, sizes in ((0.0, (50, 60)), (100.0, (10, 300))):
        groups = []
        for lift, users in zip((0.0, 1.0), sizes, strict=True):
            past = level + generator.normal(0, 3, users)
            groups.append((2.0 * past - 1.5 * level + lift + generator.normal(0, 1, users), past))
        strata.append(
            Stratum(label="", groups=tuple(CovariateSample.from_values(*group) for group in groups))
        )
        residuals.append(groups)
    adjustment = adjust_by_covariate(strata)
    assert adjustment is not None
    assert adjustment.coefficient == pytest.approx(2.0, abs=0.05)
    effect = compare_strata(adjustment.strata, 1, confidence_level=0.95, method=CUPED)
    assert effect.method == "post_stratified_cuped_welch_t"
    assert effect.absolute_lift == pytest.approx(1.0, abs=0.5)
    weights = np.array([50 * 60 / 110, 10 * 300 / 310])
    by_hand = [
        (v[0] - adjustment.coefficient * v[1]).mean() - (c[0] - adjustment.coefficient * c[1]).mean()
        for c, v in residuals
    ]
    assert effect.absolute_lift == pytest.approx((weights @ by_hand) / weights.sum(), rel=1e-9)


def test_the_interaction_of_means_is_welchs_analysis_of_variance() -> None:
    effects = [
        Estimate(value=1.0, standard_error=0.5, degrees_of_freedom=9),
        Estimate(value=2.5, standard_error=0.3, degrees_of_freedom=24),
        Estimate(value=1.2, standard_error=0.9, degrees_of_freedom=4),
    ]
    # statsmodels takes variances of single values and sizes: variance = n error^2, n = degrees + 1.
    sizes = [each.degrees_of_freedom + 1 for each in effects]
    theirs = anova_generic(
        np.array([each.value for each in effects]),
        np.array([n * each.standard_error**2 for n, each in zip(sizes, effects, strict=True)]),
        np.array(sizes),
        use_var="unequal",
        welch_correction=True,
    )
    ours = compare_effects(effects)
    assert ours is not None
    assert (ours.statistic, ours.p_value) == pytest.approx((theirs.statistic, theirs.pvalue), rel=1e-9)


def test_the_interaction_of_log_ratios_is_cochrans_q() -> None:
    pairs = [((30, 500), (50, 480)), ((10, 100), (9, 120)), ((70, 1000), (60, 1000))]
    effects = [estimate_log_rate_ratio(*counts_stratum("", *pair).groups) for pair in pairs]
    known = [effect for effect in effects if effect is not None]
    assert len(known) == 3
    theirs = meta_analysis(
        np.array([each.value for each in known]), np.array([each.standard_error**2 for each in known])
    )
    ours = compare_effects(known)
    assert ours is not None
    assert 2 * ours.statistic == pytest.approx(theirs.q, rel=1e-9)
    assert ours.p_value == pytest.approx(stats.chi2.sf(theirs.q, 2), rel=1e-9)
    assert compare_effects(known[:1]) is None


def test_the_interaction_keeps_its_level_over_segments_that_share_users() -> None:
    # Six segments, a user in each of them at random, rates from 3 % to 15 %, the same lift of 20 % in all.
    generator = np.random.default_rng(19)
    rates = np.array([0.03, 0.04, 0.06, 0.09, 0.12, 0.15])
    tests, single, several = 4000, 0, 0
    users = np.array([3000, 2500, 1500, 1000, 800, 600])
    control = generator.binomial(users, rates, (tests, 6))
    variant = generator.binomial(users, 1.2 * rates, (tests, 6))
    for index in range(tests):
        cells = [
            (GroupCounts(users=int(n), conversions=int(x)), GroupCounts(users=int(n), conversions=int(y)))
            for n, x, y in zip(users, control[index], variant[index], strict=True)
        ]
        effects = [effect for effect in (estimate_log_rate_ratio(*cell) for cell in cells) if effect]
        test = compare_effects(effects)
        single += test is not None and test.p_value < 0.05
        splits = []
        # Overlapping segments made of neighbouring cells; the rest is everybody else.
        for first in range(5):
            sides = []
            for members in ({first, first + 1}, set(range(6)) - {first, first + 1}):
                total = [GroupCounts(users=0), GroupCounts(users=0)]
                for member in members:
                    total = [a + b for a, b in zip(total, cells[member], strict=True)]
                sides.append(estimate_log_rate_ratio(total[0], total[1]))
            splits.append(SegmentSplit(segment=str(first), inside=sides[0], outside=sides[1]))
        found = compare_segments(splits)
        several += any(each.adjusted_p_value is not None and each.adjusted_p_value < 0.05 for each in found)
    low, high = band(0.05, tests)
    assert low <= single / tests <= high
    assert several / tests <= high


def test_an_effect_in_one_segment_is_found_and_thin_segments_are_unset() -> None:
    strong = estimate_log_rate_ratio(*counts_stratum("", (100, 1000), (200, 1000)).groups)
    none = estimate_log_rate_ratio(*counts_stratum("", (300, 3000), (300, 3000)).groups)
    thin = estimate_log_rate_ratio(*counts_stratum("", (2, 20), (3, 20)).groups)
    assert thin is None
    found = compare_segments(
        [
            SegmentSplit(segment="new", inside=strong, outside=none),
            SegmentSplit(segment="tiny", inside=thin, outside=none),
        ]
    )
    assert found[0].test is not None
    assert found[0].adjusted_p_value == found[0].test.p_value < 1e-6
    assert (found[1].test, found[1].adjusted_p_value) == (None, None)


def test_a_reversal_over_weight_epochs_is_told() -> None:
    # The weeks, 10/90 at 8 % and 50/50 at 10 %, here with a true lift of 3 % in both: pooled, the
    # variant, which had most of its users in the poor week, looks worse.
    weeks = [
        counts_stratum("1", (800, 10_000), (7416, 90_000)),
        counts_stratum("2", (5000, 50_000), (5150, 50_000)),
    ]
    found = compare_pooled_with_strata(samples_of(weeks), 1, significance_level=0.05)
    assert found is not None
    assert found.pooled_difference == pytest.approx(12_566 / 140_000 - 5800 / 60_000)
    weights = np.array([10 * 90 / 100, 25.0])
    expected = weights @ [7416 / 90_000 - 0.08, 0.103 - 0.10] / weights.sum()
    assert found.stratified_difference == pytest.approx(expected)
    assert found.pooled_difference < 0 < found.stratified_difference
    assert found.reverses


def test_reversals_by_chance_are_not_told() -> None:
    # Segments mixed at random, no effect: pooled and stratified signs differ in some tests.
    generator = np.random.default_rng(23)
    tests, differ, told = 3000, 0, 0
    for _ in range(tests):
        users = generator.multinomial(5000, [0.5, 0.3, 0.2], 2)
        conversions = generator.binomial(users, [0.05, 0.1, 0.3])
        strata = [
            counts_stratum(str(s), *((int(conversions[g, s]), int(users[g, s])) for g in range(2)))
            for s in range(3)
        ]
        found = compare_pooled_with_strata(samples_of(strata), 1, significance_level=0.05)
        assert found is not None
        assert found.test is not None
        differ += found.test.p_value < 0.05
        told += found.reverses
    low, high = band(0.05, tests)
    assert low <= differ / tests <= high
    assert told / tests <= 0.05


def test_pooling_is_not_compared_with_a_single_stratum_or_without_variance() -> None:
    week = counts_stratum("1", (5, 50), (7, 50))
    lonely = counts_stratum("2", (1, 50), (0, 1))
    assert compare_pooled_with_strata(samples_of([week, lonely]), 1, significance_level=0.05) is None
    still = [counts_stratum(str(n), (0, 10), (0, 10)) for n in range(2)]
    found = compare_pooled_with_strata(samples_of(still), 1, significance_level=0.05)
    assert found is not None
    assert (found.test, found.reverses) == (None, False)


def test_the_trend_is_statsmodels_weighted_least_squares() -> None:
    days = [(0, 0.30, 0.05), (1, 0.22, 0.06), (2, 0.20, 0.04), (5, 0.05, 0.08)]
    periods = [
        PeriodEffect(
            first_day=day,
            last_day=day,
            effect=Estimate(value=value, standard_error=error, degrees_of_freedom=math.inf),
        )
        for day, value, error in days
    ]
    table = np.array(days)
    fitted = WLS(table[:, 1], np.column_stack([np.ones(4), table[:, 0]]), weights=1 / table[:, 2] ** 2).fit(
        cov_type="fixed scale"
    )
    trend = estimate_trend(periods, significance_level=0.05)
    assert trend is not None
    assert trend.change_per_day.value == pytest.approx(fitted.params[1], rel=1e-9)
    assert trend.change_per_day.standard_error == pytest.approx(fitted.bse[1], rel=1e-9)
    assert trend.test.p_value == pytest.approx(
        2 * stats.norm.sf(abs(fitted.params[1] / fitted.bse[1])), rel=1e-9
    )
    assert trend.average.value == pytest.approx(np.average(table[:, 1], weights=1 / table[:, 2] ** 2))
    assert trend.pattern == NOVELTY
    assert estimate_trend(periods[:2], significance_level=0.05) is None


def exposed_days(
    generator: np.random.Generator, lifts: Values, *, users: int = 20_000, hazard: float = 0.02
) -> list[Stratum[GroupCounts]]:
    """Users still without a conversion at the start of each day, and those who convert on it."""
    at_risk = [users, users]
    days = []
    for day, lift in enumerate(lifts):
        converted = [int(generator.binomial(at_risk[g], hazard * (1 + lift * g))) for g in range(2)]
        days.append(counts_stratum(str(day), *zip(converted, at_risk, strict=True)))
        at_risk = [n - x for n, x in zip(at_risk, converted, strict=True)]
    return days


def test_the_trend_keeps_its_level_and_finds_novelty_and_learning() -> None:
    generator = np.random.default_rng(41)
    tests = 2000
    steady = [
        estimate_trend(
            effects_of_counts(exposed_days(generator, np.full(7, 0.2)), 1), significance_level=0.05
        )
        for _ in range(tests)
    ]
    patterns = [trend.pattern for trend in steady if trend is not None]
    assert len(patterns) == tests
    low, high = band(0.05, tests)
    assert low <= 1 - patterns.count(STABLE) / tests <= high
    for lifts, pattern in ((np.linspace(0.5, 0.0, 7), NOVELTY), (np.linspace(0.05, 0.6, 7), LEARNING)):
        trend = estimate_trend(effects_of_counts(exposed_days(generator, lifts), 1), significance_level=0.05)
        assert trend is not None
        assert trend.pattern == pattern


def test_days_with_few_conversions_are_taken_together() -> None:
    thin = [counts_stratum(str(day), (2, 100), (2, 100)) for day in range(8)]
    periods = effects_of_counts(thin, 1)
    # Five conversions per group are expected after three days; the last two join the second period.
    assert [(period.first_day, period.last_day, period.middle) for period in periods] == [
        (0, 2, 1),
        (3, 7, 5),
    ]
    assert periods[1].effect == estimate_log_rate_ratio(*counts_stratum("", (10, 500), (10, 500)).groups)
    assert effects_of_counts(thin[:2], 1) == ()


def test_groups_that_were_not_alike_before_are_told_by_segment() -> None:
    generator = np.random.default_rng(53)

    def past(segment: str | None, *shifts: float) -> PastSample:
        groups = tuple(MeanSample.from_values(generator.gamma(2, 3, 2000) + shift) for shift in shifts)
        return PastSample(metric="revenue", segment=segment, epochs=[Stratum(label="1", groups=groups)])

    samples = [past(None, 0.0, 0.0, 0.0), past("new", 0.0, 0.0, 1.0), past("loyal", 0.0, 0.0, -1.0)]
    checks = check_pre_exposure(samples, variants=2, confidence_level=0.95)
    assert [(check.segment, check.variant, check.warns) for check in checks] == [
        (None, 1, False),
        (None, 2, False),
        ("new", 1, False),
        ("new", 2, True),
        ("loyal", 1, False),
        ("loyal", 2, True),
    ]
    worst = max(check.effect.test.p_value for check in checks if check.effect.test is not None)
    assert max(p for check in checks if (p := check.adjusted_p_value) is not None) >= worst
    nothing = PastSample(
        metric="revenue", segment=None, epochs=[Stratum(label="1", groups=(MeanSample(), MeanSample()))]
    )
    (empty,) = check_pre_exposure([nothing], variants=1, confidence_level=0.95)
    assert (empty.adjusted_p_value, empty.warns) == (None, False)


def test_the_pre_exposure_check_keeps_its_level_over_segments_and_variants() -> None:
    generator = np.random.default_rng(59)
    tests, warned = 2000, 0
    for _ in range(tests):
        samples = []
        for segment in range(5):
            groups = tuple(
                MeanSample(
                    users=400,
                    total=400 * generator.normal(3, 5 / 20),
                    squared_deviations=25 * generator.chisquare(399),
                )
                for _ in range(3)
            )
            samples.append(
                PastSample(metric="m", segment=str(segment), epochs=[Stratum(label="1", groups=groups)])
            )
        checks = check_pre_exposure(samples, variants=2, confidence_level=0.95)
        warned += any(check.warns for check in checks)
    assert warned / tests <= band(0.01, tests)[1]


def test_a_log_rate_ratio_within_epochs_is_not_fooled_by_their_weights() -> None:
    # Equal rates in each of the two weeks; pooled, the variant's are lower.
    weeks = [
        counts_stratum("1", (800, 10_000), (7200, 90_000)),
        counts_stratum("2", (5000, 50_000), (5000, 50_000)),
    ]
    within = estimate_log_rate_ratio_within(weeks, 1)
    pooled = estimate_log_rate_ratio(*counts_stratum("", (5800, 60_000), (12_200, 140_000)).groups)
    assert within is not None
    assert pooled is not None
    assert within.value == pytest.approx(0.0, abs=1e-4)
    assert abs(pooled.value / pooled.standard_error) > 5
    assert estimate_log_rate_ratio_within(weeks[:1], 1) == estimate_log_rate_ratio(*weeks[0].groups)
    thin = [counts_stratum(str(week), (1, 50), (0, 50)) for week in range(2)]
    assert estimate_log_rate_ratio_within(thin, 1) is None
    assert estimate_log_rate_ratio_within([], 1) is None
