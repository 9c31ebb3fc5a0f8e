"""What is put together or compared over strata: against peers, and by simulated tests."""

import math

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.meta_analysis import combine_effects as meta_analysis
from statsmodels.stats.oneway import anova_generic

from services.abtest.domain.covariates import CUPED, adjust_by_covariate
from services.abtest.domain.estimates import Estimate, GroupEstimate
from services.abtest.domain.interactions import (
    SegmentSplit,
    compare_effects,
    compare_segments,
    estimate_log_rate_ratio,
)
from services.abtest.domain.means import WELCH, estimate_mean
from services.abtest.domain.model import GroupCounts
from services.abtest.domain.poststratification import Weighting, compare_strata
from services.abtest.domain.samples import CovariateSample, MeanSample, Stratum
from services.abtest.domain.simpson import compare_pooled_with_strata
from tests.reference.abtest.stratified import Values, band, counts_stratum, samples_of


def stratum(label: str, *groups: Values) -> Stratum[GroupEstimate]:
    return Stratum(
        label=label, groups=tuple(estimate_mean(MeanSample.from_values(values)) for values in groups)
    )


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


def test_pooling_is_not_compared_with_a_single_stratum_or_without_variance() -> None:
    week = counts_stratum("1", (5, 50), (7, 50))
    lonely = counts_stratum("2", (1, 50), (0, 1))
    assert compare_pooled_with_strata(samples_of([week, lonely]), 1, significance_level=0.05) is None
    still = [counts_stratum(str(n), (0, 10), (0, 10)) for n in range(2)]
    found = compare_pooled_with_strata(samples_of(still), 1, significance_level=0.05)
    assert found is not None
    assert (found.test, found.reverses) == (None, False)
