"""Welch's test of skewed amounts between groups of very different size: where it fails, and says so."""

import numpy as np
import pytest
from scipy import stats

from services.abtest.domain.metric_comparison import compare_metric
from services.abtest.domain.metrics import REVENUE, Metric, MetricKind, MetricRole
from services.abtest.domain.outcomes import MetricOutcome
from services.abtest.domain.samples import MeanSample, Stratum
from tests.abtest_factories import design

TESTS = 2000
REVENUE_PER_USER = Metric(name="revenue", role=MetricRole.PRIMARY, kind=MetricKind.MEAN, numerator=REVENUE)


def draw(generator: np.random.Generator, users: int) -> MeanSample:
    """One user in ten buys, for log-normal amounts."""
    buys = generator.random(users) < 0.1
    values = np.where(buys, generator.lognormal(3, 1, users), 0.0)
    return MeanSample(users=users, total=float(values.sum()), squared_deviations=float(values.var() * users))


def run(sizes: tuple[int, int], tests: int) -> tuple[float, float]:
    """Return the shares of A/A tests with p under 0.05, and with the warning."""
    generator = np.random.default_rng(7)
    wrong = warned = 0
    for _ in range(tests):
        groups = (draw(generator, sizes[0]), draw(generator, sizes[1]))
        outcome = MetricOutcome(metric=REVENUE_PER_USER, strata=(Stratum(label="1", groups=groups),))
        (comparison,) = compare_metric(design(), outcome).comparisons
        assert comparison.test is not None
        wrong += comparison.test.p_value < 0.05
        warned += any("more than fourfold" in warning for warning in comparison.warnings)
    return wrong / tests, warned / tests


def band(tests: int) -> tuple[float, float]:
    lower, upper = stats.binom.interval(0.999, tests, 0.05)
    return lower / tests, upper / tests


@pytest.mark.parametrize("sizes", [(3600, 400), (400, 3600)])
def test_lopsided_groups_with_few_buyers_break_the_level_and_are_warned_of(sizes: tuple[int, int]) -> None:
    wrong, warned = run(sizes, TESTS)
    assert wrong > band(TESTS)[1]
    assert warned == 1.0


def test_equal_groups_hold_the_level_without_a_warning() -> None:
    wrong, warned = run((2000, 2000), TESTS)
    assert band(TESTS)[0] <= wrong <= band(TESTS)[1]
    assert warned == 0.0
