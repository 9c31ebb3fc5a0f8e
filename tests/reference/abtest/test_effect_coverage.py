"""How often the intervals of means, ratios and adjusted means hold a true effect, by seeded simulation.

Every interval is tried at 95 % and must hold the truth within the 99.9 % binomial band of as many tests.
"""

import math
from collections.abc import Callable, Iterator

import numpy as np
import pytest
from numpy.typing import NDArray

from services.abtest.domain.covariates import CUPED, adjust_by_covariate
from services.abtest.domain.estimates import Effect, compare_estimates
from services.abtest.domain.means import WELCH, compare_means, estimate_mean
from services.abtest.domain.poststratification import Weighting, compare_strata
from services.abtest.domain.ratios import compare_ratios
from services.abtest.domain.samples import CovariateSample, MeanSample, RatioSample, Stratum

TESTS = 2000
BAND = 3.29 * math.sqrt(0.05 * 0.95 / TESTS)
Values = NDArray[np.float64]


def revenue(generator: np.random.Generator, users: int, lift: float) -> Values:
    """A tenth of the users buy, for a lognormal amount, which the variant raises."""
    return (generator.random(users) < 0.1) * generator.lognormal(3.0, 0.5, users) * (1 + lift)


def mean_effects(generator: np.random.Generator) -> Iterator[tuple[Effect, float, float]]:
    mean = 0.1 * math.exp(3.0 + 0.125)
    for _ in range(TESTS):
        groups = [MeanSample.from_values(revenue(generator, 1000, lift)) for lift in (0.0, 0.2)]
        yield compare_means(*groups, confidence_level=0.95), 0.2 * mean, 0.2


def ratio_effects(generator: np.random.Generator) -> Iterator[tuple[Effect, float, float]]:
    for _ in range(TESTS):
        groups = []
        for rate in (0.10, 0.12):
            views = generator.geometric(0.2, 1500)
            clicks = generator.binomial(views, generator.beta(4 * rate, 4 * (1 - rate), 1500))
            groups.append(RatioSample.from_values(clicks.astype(float), views.astype(float)))
        yield compare_ratios(*groups, confidence_level=0.95), 0.02, 0.2


def adjusted_effects(generator: np.random.Generator) -> Iterator[tuple[Effect, float, float]]:
    for _ in range(TESTS):
        samples = []
        for lift, users in ((0.0, 300), (1.2, 900)):
            past = generator.gamma(2.0, 3.0, users)
            now = 0.8 * past + 1.2 + lift + generator.normal(0.0, 2.0, users)
            samples.append(CovariateSample.from_values(now, past))
        adjustment = adjust_by_covariate([Stratum(label="1", groups=tuple(samples))])
        assert adjustment is not None
        effect = compare_estimates(*adjustment.strata[0].groups, confidence_level=0.95, method=CUPED)
        yield effect, 1.2, 0.2


def stratified_effects(generator: np.random.Generator) -> Iterator[tuple[Effect, float, float]]:
    # Segments of 70 % and 30 % of the users, with means of 2 and 6 and lifts of 0.2 and 0.8: on average 0.38
    # over 3.2. How many users a segment gets in a group is left to chance.
    for _ in range(TESTS):
        strata = []
        users = generator.multinomial(4000, [0.35, 0.35, 0.15, 0.15])
        for (mean, lift), (n, m) in zip(((2.0, 0.2), (6.0, 0.8)), users.reshape(2, 2), strict=True):
            samples = [
                MeanSample(
                    users=int(size),
                    total=size * generator.normal(center, 1.0 / math.sqrt(size)),
                    squared_deviations=generator.chisquare(size - 1),
                )
                for size, center in ((n, mean), (m, mean + lift))
            ]
            strata.append(Stratum(label=str(mean), groups=tuple(map(estimate_mean, samples))))
        shares = users.reshape(2, 2).sum(axis=1) / users.sum()
        effect = compare_strata(strata, 1, confidence_level=0.95, method=WELCH, weighting=Weighting.USERS)
        lift, mean = shares @ [0.2, 0.8], shares @ [2.0, 6.0]
        yield effect, float(lift), float(lift / mean)


@pytest.mark.parametrize("effects", [mean_effects, ratio_effects, adjusted_effects, stratified_effects])
def test_intervals_of_difference_and_lift_cover_the_truth(
    effects: Callable[[np.random.Generator], Iterator[tuple[Effect, float, float]]],
) -> None:
    difference_held = lift_held = 0
    for effect, difference, lift in effects(np.random.default_rng(20_261_121)):
        interval, lift_interval = effect.absolute_lift_interval, effect.relative_lift_interval
        assert interval is not None
        assert lift_interval is not None
        difference_held += interval.lower <= difference <= interval.upper
        lift_held += lift_interval.lower <= lift <= lift_interval.upper
    assert difference_held / TESTS == pytest.approx(0.95, abs=BAND)
    assert lift_held / TESTS == pytest.approx(0.95, abs=BAND)
