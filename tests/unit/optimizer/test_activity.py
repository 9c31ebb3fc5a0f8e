"""How active users are around a cycle: the posterior against what can be computed otherwise."""

import numpy as np
import pytest
from scipy import optimize
from scipy.special import log_softmax

from services.optimizer.domain.send_time.activity import (
    Answers,
    Influence,
    circular_covariance,
    fit_population,
    posterior,
    relative_activity,
    with_level,
)

CELLS = 8
COVARIANCE = with_level(circular_covariance(CELLS, concentration=2.0), 0.3)


def test_neighbours_around_the_circle_go_together() -> None:
    covariance = circular_covariance(24, concentration=8.0)
    assert covariance[0, 23] == pytest.approx(covariance[0, 1])
    assert covariance[0, 1] > covariance[0, 2] > covariance[0, 6]
    assert np.linalg.eigvalsh(covariance).min() > 0


def test_the_mode_is_the_highest_point_of_the_posterior() -> None:
    """Against scipy's minimiser of the same density, written out here."""
    rng = np.random.default_rng(1)
    acts = rng.poisson(2.0, CELLS).astype(np.float64)
    deliveries = rng.poisson(5.0, (2, CELLS)).astype(np.float64)
    answered = rng.binomial(deliveries.astype(int), 0.4).astype(np.float64)
    answers = Answers(
        deliveries=deliveries[np.newaxis],
        answered=answered[np.newaxis],
        offset=np.array([[-0.5], [0.3]]) + np.zeros((2, CELLS)),
        influence=Influence(of_log=0.4, of_share=0.2),
    )
    mean = np.linspace(-0.5, 0.5, CELLS)

    def lost(x: np.ndarray) -> float:
        a = CELLS * np.exp(log_softmax(x))
        logits = answers.offset + 0.4 * np.log(a + 0.05) + 0.2 * a + x.mean()
        apart = x - mean
        likelihood = acts @ log_softmax(x)
        likelihood += (answered * logits - deliveries * np.log1p(np.exp(logits))).sum()
        return float(-likelihood + apart @ np.linalg.solve(COVARIANCE, apart) / 2)

    expected = optimize.minimize(lost, mean, method="BFGS", options={"gtol": 1e-8}).x
    found = posterior(acts[np.newaxis], mean[np.newaxis], COVARIANCE, answers)
    np.testing.assert_allclose(found.mean[0], expected, atol=2e-3)


def test_without_evidence_the_prior_stays() -> None:
    mean = np.linspace(-1, 1, CELLS)
    found = posterior(np.zeros((1, CELLS)), mean[np.newaxis], COVARIANCE)
    np.testing.assert_allclose(found.mean[0], mean, atol=1e-9)
    np.testing.assert_allclose(found.covariance[0], COVARIANCE, atol=1e-9)


def test_more_acts_say_more() -> None:
    mean = np.zeros((1, CELLS))
    acts = np.zeros((1, CELLS))
    acts[0, 3] = 1
    few, many = posterior(acts, mean, COVARIANCE), posterior(20 * acts, mean, COVARIANCE)
    assert few.mean[0].argmax() == many.mean[0].argmax() == 3
    assert many.mean[0, 3] > few.mean[0, 3] > 0
    assert many.deviation[0, 3] < few.deviation[0, 3]
    assert few.mean[0, 2] > few.mean[0, 7]  # a neighbour is lifted, the far side is not


def test_a_cell_never_tried_is_not_a_bad_one() -> None:
    deliveries, answered = np.zeros((1, 1, CELLS)), np.zeros((1, 1, CELLS))
    deliveries[0, 0, 2] = 20  # tried in vain; nothing was ever sent in the others
    answers = Answers(
        deliveries=deliveries,
        answered=answered,
        offset=np.zeros((1, CELLS)),
        influence=Influence(of_log=0.5, of_share=0.5),
    )
    found = posterior(np.zeros((1, CELLS)), np.zeros((1, CELLS)), COVARIANCE, answers)
    assert found.mean[0].argmin() == 2
    assert found.mean[0, 6] > found.mean[0, 2]


def test_the_population_is_learned_from_its_acts() -> None:
    """2,000 users drawn from a known mean and covariance; both come back but for noise and shrinkage."""
    rng = np.random.default_rng(2)
    mean = np.array([0.0, 0.5, 1.0, 0.5, 0.0, -0.5, -1.0, -0.5])
    covariance = with_level(circular_covariance(CELLS, concentration=1.0, scale=0.8), 0.0)
    x = rng.multivariate_normal(mean, covariance, 2_000)
    acts = np.array([rng.multinomial(60, share) for share in relative_activity(x) / CELLS], dtype=np.float64)
    found_mean, found_covariance = fit_population(acts, COVARIANCE)
    np.testing.assert_allclose(found_mean - found_mean.mean(), mean - mean.mean(), atol=0.08)
    projection = np.eye(CELLS) - 1 / CELLS
    difference = projection @ (found_covariance - covariance) @ projection
    assert np.abs(difference).max() < 0.12


def test_nobody_leaves_the_prior() -> None:
    mean, covariance = fit_population(np.zeros((0, CELLS)), COVARIANCE)
    np.testing.assert_allclose(mean, 0.0)
    np.testing.assert_allclose(covariance, COVARIANCE)


def test_relative_activity_has_the_mean_one() -> None:
    x = np.random.default_rng(3).normal(size=(4, CELLS))
    np.testing.assert_allclose(relative_activity(x).mean(axis=1), 1.0)
