"""CUPED against scipy, statsmodels' analysis of covariance, and by simulation."""

import math

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats
from statsmodels.regression.linear_model import OLS

from services.abtest.domain.covariates import CUPED, CovariateAdjustment, adjust_by_covariate
from services.abtest.domain.estimates import Effect, compare_estimates
from services.abtest.domain.means import compare_means
from services.abtest.domain.samples import CovariateSample, MeanSample, Stratum

Values = NDArray[np.float64]


def past_and_present(
    generator: np.random.Generator, users: int, *, slope: float, lift: float = 0.0
) -> tuple[Values, Values]:
    past = generator.gamma(2.0, 3.0, users)
    return 5.0 + lift + slope * past + generator.normal(0.0, 2.0, users), past


def adjusted(groups: list[tuple[Values, Values]]) -> tuple[CovariateAdjustment, Effect]:
    samples = tuple(CovariateSample.from_values(*group) for group in groups)
    adjustment = adjust_by_covariate([Stratum(label="1", groups=samples)])
    assert adjustment is not None
    effect = compare_estimates(*adjustment.strata[0].groups, confidence_level=0.95, method=CUPED)
    return adjustment, effect


@pytest.mark.parametrize("users", [(8, 8), (200, 200), (30, 3000), (2000, 200_000)])
def test_cuped_is_the_analysis_of_covariance(users: tuple[int, int]) -> None:
    generator = np.random.default_rng(sum(users))
    groups = [past_and_present(generator, size, slope=0.9, lift=0.3 * g) for g, size in enumerate(users)]
    adjustment, effect = adjusted(groups)
    now, past = (np.concatenate(values) for values in zip(*groups, strict=True))
    in_variant = np.repeat([0.0, 1.0], users)
    # statsmodels' least squares of the metric on group and covariate has the same slope and the same effect.
    fitted = OLS(now, np.column_stack([np.ones_like(now), in_variant, past])).fit()
    assert adjustment.coefficient == pytest.approx(fitted.params[2], rel=1e-9)
    assert effect.absolute_lift == pytest.approx(fitted.params[1], rel=1e-9)
    # Explained variance within groups: that of the fit beyond the one without the covariate.
    unadjusted = OLS(now, np.column_stack([np.ones_like(now), in_variant])).fit()
    assert adjustment.variance_reduction == pytest.approx(1 - fitted.ssr / unadjusted.ssr, rel=1e-9)
    # Welch of the adjusted values, by scipy, but for the slope's cost.
    residuals = [now - adjustment.coefficient * past for now, past in groups]
    theirs = stats.ttest_ind(residuals[1], residuals[0], equal_var=False)
    degrees = sum(users) - 2
    assert effect.test is not None
    assert effect.test.statistic == pytest.approx(
        theirs.statistic * math.sqrt((degrees - 2) / degrees), rel=1e-9
    )
    assert effect.difference is not None
    assert effect.difference.degrees_of_freedom == pytest.approx(theirs.df, rel=1e-9)


@pytest.mark.parametrize(("users", "tests", "slope"), [(8, 4000, 0.9), (1000, 2000, 0.9), (8, 4000, 0.0)])
def test_cuped_keeps_its_level(users: int, tests: int, slope: float) -> None:
    generator = np.random.default_rng(users)
    wrong = 0
    for _ in range(tests):
        _, effect = adjusted([past_and_present(generator, users, slope=slope) for _ in range(2)])
        assert effect.test is not None
        wrong += effect.test.p_value < 0.05
    # 99.9 % binomial band above 5 %; at 8 users per group the slope's cost is what keeps it.
    assert wrong / tests <= 0.05 + 3.29 * math.sqrt(0.05 * 0.95 / tests)
    if users > 100:
        assert wrong / tests >= 0.05 - 3.29 * math.sqrt(0.05 * 0.95 / tests)


def test_cuped_finds_more_and_tells_how_much_variance_it_took() -> None:
    generator = np.random.default_rng(5)
    groups = [past_and_present(generator, 4000, slope=0.9, lift=lift) for lift in (0.0, 0.2)]
    adjustment, effect = adjusted(groups)
    plain = compare_means(*(MeanSample.from_values(now) for now, _ in groups), confidence_level=0.95)
    # slope^2 Var(past) / Var(now) = 0.81 * 18 / (0.81 * 18 + 4).
    assert adjustment.variance_reduction == pytest.approx(14.58 / 18.58, abs=0.02)
    assert effect.difference is not None
    assert plain.difference is not None
    assert (effect.difference.standard_error / plain.difference.standard_error) ** 2 == pytest.approx(
        1 - adjustment.variance_reduction, abs=0.01
    )


def test_a_past_that_tells_nothing_is_not_adjusted_for() -> None:
    def stratum(outcome: list[float], covariate: list[float]) -> list[Stratum[CovariateSample]]:
        sample = CovariateSample.from_values(outcome, covariate)
        return [Stratum(label="1", groups=(sample, sample))]

    assert adjust_by_covariate([]) is None
    assert adjust_by_covariate(stratum([1.0, 2.0, 3.0], [0.0, 0.0, 0.0])) is None
    assert adjust_by_covariate(stratum([1.0, 1.0, 1.0], [0.0, 1.0, 2.0])) is None
    assert adjust_by_covariate(stratum([1.0, 2.0], [0.0, 1.0])) is None  # too few to estimate a slope
    samples = (
        CovariateSample.from_values([1.0, 2.0, 4.0, 4.0], [0.0, 1.0, 2.0, 4.0]),
        CovariateSample.from_values([3.0], [1.0]),
        CovariateSample(),
    )
    adjustment = adjust_by_covariate([Stratum(label="1", groups=samples)])
    assert adjustment is not None
    _, single, nobody = adjustment.strata[0].groups
    assert (nobody.value, nobody.users) == (None, 0)
    assert single.value is not None
    assert single.squared_standard_error is None
