"""Levels behind few successes: their mean and spread are those that they were drawn with."""

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.special import stdtrit

from services.optimizer.domain.response.logit_normal import (
    DEVIATIONS,
    Counts,
    LogitNormal,
    fit_logit_normal,
)
from services.optimizer.domain.response.response import logistic
from services.optimizer.domain.response.type_spreads import as_student, weigh_deviations


def fit_drawn(
    rng: np.random.Generator, *, groups: int, trials: int, mean: float, deviation: float
) -> tuple[LogitNormal, NDArray[np.float64]]:
    levels = mean + deviation * rng.normal(size=groups)
    counts = rng.poisson(trials, groups) + 1
    successes = rng.binomial(counts, logistic(levels))
    nothing = np.zeros(groups)
    return fit_logit_normal(Counts.of(np.arange(groups), counts, successes, nothing)), levels


@pytest.mark.parametrize(
    ("trials", "mean"), [(15, -1.4), (400, -4.6), (20_000, -1.4)], ids=["few views", "rare", "many"]
)
def test_the_law_is_found_without_bias_and_a_new_level_held(trials: int, mean: float) -> None:
    rng = np.random.default_rng(20261121)
    found, held = [], []
    for _ in range(80):
        law, _ = fit_drawn(rng, groups=20, trials=trials, mean=mean, deviation=0.5)
        found.append((law.mean, law.variance**0.5))
        share = weigh_deviations([law.heights])[0]
        deviation, degrees = as_student(share)
        reach = np.hypot(deviation, np.sum(share * law.mean_variances) ** 0.5) * stdtrit(degrees, 0.95)
        held.append(np.mean(np.abs(mean + 0.5 * rng.normal(size=40) - law.mean) <= reach))
    means, deviations = np.mean(found, axis=0)
    assert means == pytest.approx(mean, abs=0.06)  # half a success added to each group: 0.27 off
    assert deviations == pytest.approx(0.5, abs=0.07)
    assert np.mean(held) > 0.85


def test_where_counts_tell_all_it_is_the_levels_own_mean_and_spread() -> None:
    law, levels = fit_drawn(np.random.default_rng(2), groups=12, trials=4_000_000, mean=-1.0, deviation=0.6)
    assert law.mean == pytest.approx(float(levels.mean()), abs=0.002)
    # The deviation's prior weighs as much as one of some twenty.
    assert law.variance**0.5 == pytest.approx(float(levels.std(ddof=1)), rel=0.03)
    np.testing.assert_allclose(law.mean_variances, DEVIATIONS**2 / 12, rtol=0.06)
    np.testing.assert_allclose(law.means[:20], law.mean, atol=0.005)
    np.testing.assert_allclose(law.levels, levels, atol=0.01)
    np.testing.assert_allclose(law.responses, law.levels, atol=0.001)


@pytest.mark.parametrize("deviation", [0.36, 0.48, 0.62])
def test_many_groups_tell_their_spread_between_the_places_of_the_grid(deviation: float) -> None:
    # A normal sample's deviation is s, known with n - 1 degrees of freedom. The likelihood is summed at
    # 0.33, 0.42, 0.54 and 0.70: only those, and reaches were up to 12 % off and all degrees 500.
    rng = np.random.default_rng(5)
    law, levels = fit_drawn(rng, groups=300, trials=4_000_000, mean=-2.0, deviation=deviation)
    found, degrees = as_student(weigh_deviations([law.heights])[0])
    assert found == pytest.approx(float(levels.std(ddof=1)), rel=0.01)
    assert degrees == pytest.approx(299, rel=0.25)


def test_rows_of_one_group_share_its_level_beside_what_is_known_of_them() -> None:
    effect = np.array([0.0, 1.0, 0.0, 1.0, 1.0])
    position = np.array([1, 1, 0, 0, 0])
    trials = np.array([10**6] * 4 + [0])
    successes = np.round(trials * logistic(np.array([-2.0, -2.0, -1.0, -1.0, -1.0]) + effect)).astype(int)
    counts = Counts.of(position, trials, successes, effect)
    assert len(counts.trials) == 4
    np.testing.assert_allclose(fit_logit_normal(counts).levels, [-1.0, -2.0], atol=1e-3)


@pytest.mark.parametrize("successes", [0, 50])
def test_where_nothing_or_everything_succeeded_the_law_is_finite_and_wide(successes: int) -> None:
    counts = Counts.of(np.arange(6), np.full(6, 50), np.full(6, successes), np.zeros(6))
    law = fit_logit_normal(counts)
    edge = np.log(300 / 0.3) * (1 if successes else -1)  # the prior weighs as a third of a success does
    assert law.mean == pytest.approx(edge, abs=0.5)
    assert 0.5 < law.mean_variances.min() ** 0.5 < law.mean_variances.max() ** 0.5 < 5.0
    np.testing.assert_allclose(law.levels, law.mean, atol=0.2)


def test_a_lone_group_leaves_the_spread_to_its_prior() -> None:
    law, _ = fit_drawn(np.random.default_rng(3), groups=1, trials=100_000, mean=-1.0, deviation=0.0)
    assert law.variance**0.5 == pytest.approx(0.4, rel=0.01)
    assert np.ptp(law.heights) < 0.3  # from the mean's own prior
