"""The luck of hours of a campaign, against the likelihood of contrasts and against simulated luck."""

import numpy as np
import pytest
from scipy import linalg, stats

from services.optimizer.domain.features import FloatArray
from services.optimizer.domain.send_time.hour_luck import estimate_hour_luck
from services.optimizer.domain.send_time.timing_gain import HOURS_ALIKE, gain_from_document


def test_luck_is_what_the_likelihood_of_contrasts_makes_of_it() -> None:
    # Harville (Biometrika 61, 1974): restricted likelihood is that of any 23 contrasts of the 24 residuals.
    rng = np.random.default_rng(7)
    means = rng.uniform(2.0, 30.0, (3, 24))
    conversions = rng.poisson(means * np.exp(rng.normal(0.0, 0.3, (3, 24)))).astype(np.float64)
    contrasts = linalg.null_space(np.ones((1, 24)))
    grid = np.linspace(np.log(0.02), np.log(1.2), 113)
    logs = stats.norm.logpdf(grid, np.log(0.2), 0.7)
    for own, expected in zip(conversions, means, strict=True):
        for place, deviation in enumerate(np.exp(grid)):
            covariance = contrasts.T @ (np.diag(1.0 / expected) + deviation**2 * HOURS_ALIKE) @ contrasts
            logs[place] += stats.multivariate_normal.logpdf(
                contrasts.T @ (own / expected - 1.0), np.zeros(23), covariance
            )
    share = np.exp(logs - logs.max())
    mean = np.average(np.exp(2.0 * grid), weights=share)
    found = estimate_hour_luck(conversions, means)
    assert found.variance == pytest.approx(mean, rel=1e-3)
    error = np.sqrt(np.average((np.exp(2.0 * grid) - mean) ** 2, weights=share))
    assert found.error == pytest.approx(error, rel=2e-3)


def simulate(deviation: float, worlds: int, campaigns: int = 5) -> FloatArray:
    """Estimates (worlds) of campaigns of 120 conversions, 40 % of them at one hour."""
    rng = np.random.default_rng(31_001)
    expected = np.zeros((campaigns, 24))
    expected[:, 7:22] = 0.6 * 120 / 15
    expected[np.arange(campaigns), np.resize([9, 11, 12, 15, 18], campaigns)] += 0.4 * 120
    root = np.linalg.cholesky(HOURS_ALIKE)
    found = []
    for _ in range(worlds):
        rates = expected * np.exp(deviation * rng.normal(size=(campaigns, 24)) @ root.T)
        conversions = rng.poisson(rates).astype(np.float64)
        means = expected * (conversions.sum(axis=1) / expected.sum(axis=1))[:, np.newaxis]
        found.append(estimate_hour_luck(conversions, means).variance)
    return np.array(found)


def test_luck_is_found_though_levels_are_fitted() -> None:
    assert simulate(0.28, 60).mean() == pytest.approx(0.0784, abs=0.015)
    assert simulate(0.0, 60).mean() < 0.02


def test_many_campaigns_tell_the_luck_between_the_places_of_the_grid() -> None:
    # Places lie 34 % apart where the likelihood is summed, at 0.372 and 0.499: only those, and it was 0.138.
    assert simulate(0.42, 1, 1000)[0] == pytest.approx(0.42**2, rel=0.1)


def test_hours_without_conversions_to_expect_tell_nothing() -> None:
    # The prior alone: exp(2 (log 0.2 + 0.7 z)) on the grid.
    nothing = estimate_hour_luck(np.zeros((2, 24)), np.zeros((2, 24)))
    grid = np.linspace(np.log(0.02), np.log(1.2), 113)
    weights = stats.norm.pdf(grid, np.log(0.2), 0.7)
    assert nothing.variance == pytest.approx(np.average(np.exp(2.0 * grid), weights=weights), rel=1e-3)


def test_a_calibration_of_older_terms_is_not_read() -> None:
    assert gain_from_document({"coefficients": [1.0, 0.0, 0.1, 0.2], "hour_variance": 0.01}) is None
    assert gain_from_document(None) is None
