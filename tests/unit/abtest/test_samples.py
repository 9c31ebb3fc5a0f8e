"""Samples add up to the sample of all their values, and lose no digits on the way."""

from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.abtest.domain.model import GroupCounts
from services.abtest.domain.samples import CovariateSample, MeanSample, RatioSample, exact_deviations

VALUES = st.lists(st.tuples(st.floats(-1e6, 1e6), st.floats(-1e3, 1e3)), max_size=30)


def close(value: float) -> object:
    return pytest.approx(value, rel=1e-9, abs=1e-3)


def assert_alike(ours: MeanSample, theirs: MeanSample) -> None:
    assert ours.users == theirs.users
    assert ours.total == close(theirs.total)
    assert ours.squared_deviations == close(theirs.squared_deviations)


@given(first=VALUES, second=VALUES)
def test_two_samples_add_up_to_the_sample_of_all_values(
    first: list[tuple[float, float]], second: list[tuple[float, float]]
) -> None:
    def split(pairs: list[tuple[float, float]]) -> tuple[list[float], list[float]]:
        return [x for x, _ in pairs], [y for _, y in pairs]

    covariates = CovariateSample.from_values(*split(first)) + CovariateSample.from_values(*split(second))
    ratios = RatioSample.from_values(*split(first)) + RatioSample.from_values(*split(second))
    together = CovariateSample.from_values(*split(first + second))
    assert_alike(covariates.outcome, together.outcome)
    assert_alike(covariates.covariate, together.covariate)
    assert covariates.cross_deviations == close(together.cross_deviations)
    assert (ratios.numerator, ratios.denominator) == (covariates.outcome, covariates.covariate)
    assert ratios.cross_deviations == covariates.cross_deviations
    assert ratios.users == covariates.users == len(first) + len(second)


def test_a_sample_is_described_as_numpy_describes_its_values() -> None:
    values = np.random.default_rng(1).normal(3.0, 2.0, 100)
    sample = MeanSample.from_values(values.tolist())
    assert sample.mean == pytest.approx(values.mean(), rel=1e-12)
    assert sample.variance == pytest.approx(values.var(ddof=1), rel=1e-12)


def test_a_small_spread_beside_a_large_mean_keeps_its_digits() -> None:
    # Raw sums of squares would be 1e20, with 16384 between neighbouring doubles.
    near, far = MeanSample.from_values([1e10, 1e10 + 1]), MeanSample.from_values([1e10 + 2, 1e10 + 3])
    assert (near + far).squared_deviations == 5.0


def test_exact_sums_give_the_sample_of_the_values() -> None:
    # Purchases in micros: $10,000,000.000001 and the like, whose raw squares need 43 digits.
    micros = [10**13 + 1, 10**13 + 3, 10**13 + 5]
    sample = MeanSample.from_sums(
        users=3, total=sum(micros), squares=Decimal(sum(value**2 for value in micros)), unit=1_000_000
    )
    assert sample.mean == pytest.approx(10_000_000.000003, rel=1e-15)
    assert sample.squared_deviations == pytest.approx(8e-12, rel=1e-12)
    assert MeanSample.from_sums(users=0, total=0, squares=0) == MeanSample()
    assert exact_deviations(2, 3, 5, 1 * 2 + 2 * 3) == 0.5  # (1, 2) and (2, 3)


def test_what_too_few_users_cannot_tell_is_none() -> None:
    assert MeanSample().mean is None
    assert MeanSample.from_values([4.0]).mean == 4.0
    assert MeanSample.from_values([4.0]).variance is None
    assert RatioSample().ratio is None
    assert RatioSample.from_values([1.0], [0.0]).ratio is None
    assert RatioSample.from_values([1.0, 2.0], [4.0, 2.0]).ratio == 0.5
    assert MeanSample.from_counts(GroupCounts(users=0)) == MeanSample()
    assert MeanSample.from_values([]) + MeanSample() == MeanSample()


def test_conversions_are_values_of_0_and_1() -> None:
    counts = MeanSample.from_counts(GroupCounts(users=5, conversions=2))
    assert_alike(counts, MeanSample.from_values([1, 1, 0, 0, 0]))
