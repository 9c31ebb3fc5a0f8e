"""The bandit's posterior, weights and stopping rule."""

import numpy as np
import pytest

from services.abtest.domain.bandit import (
    BanditDesign,
    Posterior,
    allocate,
    differ,
    find_leader,
    judge_bandit,
    probabilities_best,
    stratified_posteriors,
)
from services.abtest.domain.model import EpochCounts, GroupCounts

DESIGN = BanditDesign(
    exploration_floor=0.05,
    refresh_interval_seconds=3600,
    minimum_users_per_group=100,
    stopping_gain=0.01,
    stopping_probability=0.95,
)


def counted(*groups: tuple[int, int], number: int = 1, weights: tuple[float, ...] = ()) -> EpochCounts:
    """Counts as (conversions, users) per group."""
    return EpochCounts(
        epoch=number,
        weights=weights or (1 / len(groups),) * len(groups),
        groups=tuple(GroupCounts(users=users, conversions=conversions) for conversions, users in groups),
    )


def test_one_epoch_gives_the_beta_binomial_posterior() -> None:
    posteriors = stratified_posteriors([counted((10, 100), (9, 50))], 2)
    assert posteriors == (Posterior(alpha=11.0, beta=91.0), Posterior(alpha=10.0, beta=42.0))
    assert posteriors[1].mean == pytest.approx(10 / 52)


def test_without_users_the_posterior_is_the_uniform_prior() -> None:
    assert stratified_posteriors([], 3) == (Posterior(alpha=1.0, beta=1.0),) * 3
    assert stratified_posteriors([counted((1, 10), (0, 0))], 2) == (Posterior(alpha=1.0, beta=1.0),) * 2


def test_rates_that_drift_while_weights_change_do_not_pass_for_an_effect() -> None:
    """Both groups convert alike, 8 % in a week of 10/90 and 10 % in one of 50/50."""
    weeks = [counted((80, 1000), (720, 9000)), counted((500, 5000), (500, 5000), number=2)]
    pooled = probabilities_best(stratified_posteriors([counted((580, 6000), (1220, 14000))], 2))
    stratified = probabilities_best(stratified_posteriors(weeks, 2))
    assert pooled[0] > 0.98
    assert stratified[0] == pytest.approx(0.5, abs=0.01)


def test_probabilities_and_gains_agree_with_a_million_draws() -> None:
    posteriors = stratified_posteriors([counted((100, 1000), (120, 1000), (1200, 10_000))], 3)
    probabilities = probabilities_best(posteriors)
    leader = find_leader(posteriors, probabilities, DESIGN)
    generator = np.random.default_rng(1)
    draws = np.stack([generator.beta(each.alpha, each.beta, 1_000_000) for each in posteriors])
    best = np.bincount(draws.argmax(axis=0), minlength=3) / 1_000_000
    gains = draws.max(axis=0) / draws[leader.group_index] - 1.0
    assert probabilities == pytest.approx(tuple(best), abs=0.002)
    assert sum(probabilities) == pytest.approx(1.0)
    assert leader.probability_gain_is_small == pytest.approx(np.mean(gains <= 0.01), abs=0.002)
    assert leader.remaining_gain == pytest.approx(np.quantile(gains, 0.95), rel=0.01)


def test_much_to_gain_over_a_leader_that_nobody_knows_is_left_open() -> None:
    posteriors = (Posterior(alpha=1.0, beta=1e6), Posterior(alpha=1.0, beta=1.0))
    leader = find_leader(posteriors, (1.0, 0.0), DESIGN)
    assert leader.remaining_gain is None
    assert leader.probability_gain_is_small < 0.01


@pytest.mark.parametrize("groups", [2, 3, 10])
def test_every_group_keeps_the_floor_and_weights_sum_to_one(groups: int) -> None:
    generator = np.random.default_rng(groups)
    for probabilities in generator.dirichlet([0.2] * groups, size=50):
        weights = allocate(tuple(probabilities), 0.05)
        assert min(weights) >= 0.05
        assert sum(weights) == pytest.approx(1.0, abs=1e-12)
        assert np.argmax(weights) == np.argmax(probabilities)


def test_small_changes_of_weights_are_left() -> None:
    assert not differ((0.5, 0.5), (0.505, 0.495))
    assert differ((0.5, 0.5), (0.52, 0.48))


def test_weights_stay_until_every_group_has_its_least_users() -> None:
    state = judge_bandit(DESIGN, [counted((0, 99), (50, 900))], weights=(0.3, 0.7), ratio_mismatch=False)
    assert state.next_weights == (0.3, 0.7)
    assert state.leader is None
    assert state.probabilities_best is None
    assert not state.stops
    assert "one has 99" in state.reason


def test_nothing_follows_from_a_sample_ratio_mismatch() -> None:
    state = judge_bandit(DESIGN, [counted((0, 900), (90, 900))], weights=(0.5, 0.5), ratio_mismatch=True)
    assert state.next_weights == (0.5, 0.5)
    assert state.leader is None
    assert not state.stops
    assert "sample-ratio mismatch" in state.reason


def test_weights_follow_the_better_group_and_the_search_ends_once_little_is_left_to_gain() -> None:
    early = judge_bandit(DESIGN, [counted((10, 100), (16, 100))], weights=(0.5, 0.5), ratio_mismatch=False)
    assert early.next_weights[1] > 0.8
    assert early.leader is not None
    assert early.leader.group_index == 1
    assert not early.stops
    assert "it ends at 95 %" in early.reason
    late = judge_bandit(DESIGN, [counted((500, 5000), (700, 5000))], weights=(0.5, 0.5), ratio_mismatch=False)
    assert late.stops
    assert late.next_weights == (0.05, 0.95)
    assert late.leader is not None
    assert late.leader.remaining_gain == 0.0


def test_two_groups_that_hardly_differ_end_the_search_too() -> None:
    """What is left to gain is too little, whichever of them is the better one."""
    alike = counted((200_000, 2_000_000), (200_100, 2_000_000))
    state = judge_bandit(DESIGN, [alike], weights=(0.5, 0.5), ratio_mismatch=False)
    assert state.stops
    assert state.probabilities_best is not None
    assert max(state.probabilities_best) < 0.7
