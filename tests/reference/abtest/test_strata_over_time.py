"""Effects over days, pre-exposure checks and weight epochs: against peers, and by simulated tests."""

import math

import numpy as np
import pytest
from scipy import stats
from statsmodels.regression.linear_model import WLS

from services.abtest.domain.estimates import Estimate
from services.abtest.domain.interactions import (
    estimate_log_rate_ratio,
    estimate_log_rate_ratio_within,
)
from services.abtest.domain.model import GroupCounts
from services.abtest.domain.novelty import (
    LEARNING,
    NOVELTY,
    STABLE,
    PeriodEffect,
    effects_of_counts,
    estimate_trend,
)
from services.abtest.domain.pre_exposure import PastSample, check_pre_exposure
from services.abtest.domain.samples import MeanSample, Stratum
from services.abtest.domain.simpson import compare_pooled_with_strata
from tests.reference.abtest.stratified import Values, band, counts_stratum, samples_of


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
