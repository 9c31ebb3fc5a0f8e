"""Off-policy estimates against exact enumeration, numbers worked by hand, and simulated logs whose truth is
known.
"""

from itertools import product

import numpy as np
import pytest
from numpy.typing import NDArray

from services.optimizer.domain.features import FloatArray
from services.optimizer.domain.policies.off_policy import LoggedRewards, PolicyValue, evaluate_policy
from services.optimizer.domain.response.direct_model import cross_fit

PROPENSITIES = np.array([0.2, 0.8])
POLICY = np.array([0.7, 0.3])


def evaluate(
    user: list[int] | NDArray[np.intp],
    weight: list[float] | FloatArray,
    reward: list[float] | FloatArray,
    predicted: list[float] | FloatArray,
    for_policy: list[float] | FloatArray,
) -> PolicyValue:
    return evaluate_policy(
        LoggedRewards(
            user=np.asarray(user, dtype=np.intp),
            weight=np.asarray(weight, dtype=np.float64),
            reward=np.asarray(reward, dtype=np.float64),
            predicted=np.asarray(predicted, dtype=np.float64),
            predicted_for_policy=np.asarray(for_policy, dtype=np.float64),
        )
    )


def test_estimates_of_four_decisions_are_those_worked_by_hand() -> None:
    # Weights 2, 0, 1, 1; rewards 1, 5, 2, 4. IPS (2 + 0 + 2 + 4) / 4 = 2; SNIPS 8 / 4 = 2; effective 16 / 6.
    # DR: (1 + 2 (1 - 2)), (1 + 0), (2 + 1 (2 - 1)), (3 + 1 (4 - 3)) = -1, 1, 3, 4, mean 7 / 4.
    value = evaluate([0, 1, 2, 3], [2, 0, 1, 1], [1, 5, 2, 4], [2, 4, 1, 3], [1, 1, 2, 3])
    assert value.ips.value == pytest.approx(2.0)
    assert value.snips.value == pytest.approx(2.0)
    assert value.doubly_robust.value == pytest.approx(1.75)
    assert value.logged.value == pytest.approx(3.0)
    assert value.improvement.value == pytest.approx(-1.25)
    assert value.effective_decisions == pytest.approx(16 / 6)
    # IPS deviations 0, -2, 0, 2: variance 4 / 3 * 8 / 16.
    assert value.ips.standard_error == pytest.approx(np.sqrt(4 / 3 * 8 / 16))


def test_one_users_decisions_count_as_one() -> None:
    apart = evaluate([0, 1, 2, 3], [1, 1, 1, 1], [0, 0, 1, 1], [0] * 4, [0] * 4)
    together = evaluate([0, 0, 1, 1], [1, 1, 1, 1], [0, 0, 1, 1], [0] * 4, [0] * 4)
    # Deviations -1/2, -1/2, 1/2, 1/2 alone: 4 / 3 * 1 / 16; added up by user -1, 1: 2 * 2 / 16.
    assert apart.ips.standard_error == pytest.approx(np.sqrt(4 / 3 / 16))
    assert together.ips.standard_error == pytest.approx(np.sqrt(2 * 2 / 16))


@pytest.mark.parametrize("predictions", [(0.0, 0.0), (1.0, 3.0), (-7.0, 40.0)])
def test_ips_and_doubly_robust_are_unbiased_by_enumeration(predictions: tuple[float, float]) -> None:
    # Three decisions, two actions each, rewards by decision and action: every log that could have been drawn,
    # by its probability. However wrong the reward model is, the expectation is the policy's value.
    rewards = np.array([[1.0, 2.0], [0.0, 5.0], [3.0, -1.0]])
    truth = float(np.mean(rewards @ POLICY))
    q = np.array(predictions)
    expected_ips = expected_robust = mass = 0.0
    for actions in product(range(2), repeat=3):
        drawn = list(actions)
        probability = float(np.prod(PROPENSITIES[drawn]))
        value = evaluate(
            [0, 1, 2],
            (POLICY / PROPENSITIES)[drawn],
            rewards[np.arange(3), drawn],
            q[drawn],
            np.full(3, q @ POLICY),
        )
        mass += probability
        expected_ips += probability * value.ips.value
        expected_robust += probability * value.doubly_robust.value
    assert mass == pytest.approx(1.0)
    assert expected_ips == pytest.approx(truth)
    assert expected_robust == pytest.approx(truth)


def simulate(
    rng: np.random.Generator, users: int, offers: FloatArray, policy: FloatArray
) -> tuple[PolicyValue, float]:
    """A log of users who come back (1 to 5 times) and differ; the offer is drawn by the hour's
    propensities.
    """
    visits = rng.integers(1, 6, users)
    user = np.repeat(np.arange(users), visits)
    taste = np.repeat(rng.normal(0, 0.6, users), visits)
    morning = rng.random(len(user)) < 0.5
    propensity = np.where(morning[:, np.newaxis], [0.5, 0.3, 0.2], [0.2, 0.3, 0.5])
    rates = 1 / (1 + np.exp(1.8 - taste[:, np.newaxis] - 0.4 * morning[:, np.newaxis] - 0.09 * offers))
    action = (rng.random(len(user))[:, np.newaxis] > propensity.cumsum(axis=1)).sum(axis=1)
    row = np.arange(len(user))
    reward = (rng.random(len(user)) < rates[row, action]) * (40.0 - offers[action])
    model = cross_fit(reward, offers[action], morning[:, np.newaxis].astype(np.float64), user)
    at_offers = np.column_stack([model.predict(np.full(len(user), offer)) for offer in offers])
    value = evaluate(
        user,
        policy[action] / propensity[row, action],
        reward,
        at_offers[row, action],
        at_offers @ policy,
    )
    return value, float(np.mean(rates * (40.0 - offers) @ policy))


@pytest.fixture(scope="module")
def simulated() -> list[tuple[PolicyValue, float]]:
    rng = np.random.default_rng(20261)
    return [simulate(rng, 400, np.array([10.0, 15.0, 20.0]), np.array([0.0, 0.1, 0.9])) for _ in range(600)]


@pytest.mark.parametrize("name", ["ips", "snips", "doubly_robust"])
def test_estimates_hit_the_truth_on_average_and_cover_it_nine_times_in_ten(
    simulated: list[tuple[PolicyValue, float]], name: str
) -> None:
    estimates = [getattr(value, name) for value, _ in simulated]
    truths = np.array([truth for _, truth in simulated])
    errors = np.array([estimate.value for estimate in estimates]) - truths
    covered = np.mean(
        [estimate.lower <= truth <= estimate.upper for estimate, truth in zip(estimates, truths, strict=True)]
    )
    assert abs(errors.mean()) < 4 * errors.std() / np.sqrt(len(errors))
    assert 0.87 <= covered <= 0.95


def test_the_doubly_robust_estimate_scatters_least(simulated: list[tuple[PolicyValue, float]]) -> None:
    spread = {
        name: np.std([getattr(value, name).value - truth for value, truth in simulated])
        for name in ("ips", "snips", "doubly_robust")
    }
    assert spread["doubly_robust"] < spread["snips"] < spread["ips"]


def test_confidence_is_right_as_often_as_it_says(simulated: list[tuple[PolicyValue, float]]) -> None:
    # The truth of a difference changes little over simulations, so its scatter is that of the estimate: by
    # Student's t the share of estimates whose one-sided probability is below p is p.
    truth = np.mean([value.improvement.value for value, _ in simulated])
    scores = np.array(
        [
            (value.improvement.value - truth) / (value.improvement.standard_error or np.nan)
            for value, _ in simulated
        ]
    )
    assert np.mean(scores > 1.2816) == pytest.approx(0.1, abs=0.035)
    assert np.mean(scores < -1.2816) == pytest.approx(0.1, abs=0.035)
