"""Bandits on simulated users: what their stopping rule promises, and what moving traffic gains.

Under the prior that the posterior starts from, a Bayesian statement holds however it came to be made: of the
bandits that stop because at most 1 % is left to gain with 95 % probability, at least 95 % are right
(A. Gelman et al. 2013, Bayesian Data Analysis, 3rd ed., section 8.5: stopping rules). Post-stratification
spreads the posterior a little more than it need, never less.
"""

import numpy as np

from services.abtest.domain.bandit import BanditDesign, BanditEvidence, BanditState, judge_bandit
from services.abtest.domain.metrics import CONVERSION_RATE
from services.abtest.domain.model import GroupCounts
from services.abtest.domain.samples import Stratum

DESIGN = BanditDesign(
    exploration_floor=0.05,
    refresh_interval_seconds=3600,
    minimum_users_per_group=50,
    stopping_gain=0.01,
    stopping_probability=0.95,
)


class SimulatedBandit:
    """A bandit whose users come in batches, one weight epoch each."""

    def __init__(self, rates: np.ndarray[tuple[int], np.dtype[np.float64]], seed: int) -> None:
        self.rates = rates
        self.weights = (1.0 / len(rates),) * len(rates)
        self.users = np.zeros(len(rates), dtype=np.int64)
        self.strata: list[Stratum[GroupCounts]] = []
        self._generator = np.random.default_rng(seed)

    def step(self, users: int, *, drift: float = 1.0) -> BanditState:
        """Let users come under the weights in force, with all rates times `drift`; then look."""
        counts = self._generator.multinomial(users, self.weights)
        converted = self._generator.binomial(counts, self.rates * drift)
        self.users += counts
        self.strata.append(
            Stratum(
                label=str(len(self.strata) + 1),
                groups=tuple(
                    GroupCounts(users=int(n), conversions=int(x))
                    for n, x in zip(counts, converted, strict=True)
                ),
            )
        )
        state = judge_bandit(
            DESIGN,
            BanditEvidence(
                metric=CONVERSION_RATE,
                strata=self.strata,
                users=tuple(self.users.tolist()),
                weights=self.weights,
                ratio_mismatch=False,
            ),
        )
        self.weights = state.next_weights
        return state


def test_of_bandits_that_stop_95_percent_have_no_more_than_1_percent_left_to_gain() -> None:
    stopped = right = 0
    for seed in range(300):
        rates = np.random.default_rng(seed).uniform(size=2)
        bandit = SimulatedBandit(rates, seed)
        for _ in range(10):
            state = bandit.step(400)
            if state.stops:
                assert state.leader is not None
                stopped += 1
                right += bool(rates.max() <= 1.01 * rates[state.leader.group_index])
                break
    assert stopped > 200
    # 95 % less what chance allows 200 bandits in 999 of 1,000 cases.
    assert right / stopped > 0.95 - 3.1 * np.sqrt(0.95 * 0.05 / stopped)


def test_traffic_moves_to_the_best_of_four_and_never_leaves_the_others_under_the_floor() -> None:
    converted = []
    for seed in range(15):
        bandit = SimulatedBandit(np.array([0.05, 0.05, 0.05, 0.08]), seed)
        for _ in range(12):
            bandit.step(1000)
            assert min(bandit.weights) >= DESIGN.exploration_floor - 1e-9
        converted.append(sum(group.conversions for each in bandit.strata for group in each.groups))
        assert bandit.users.min() >= 0.8 * DESIGN.exploration_floor * bandit.users.sum()
    even_split = 12_000 * 0.0575
    assert np.mean(converted) > 1.15 * even_split


def test_a_drift_of_all_rates_while_weights_move_elects_nobody() -> None:
    """Rates double in every batch's course of four; whoever has the traffic then must not look better."""
    best = []
    for seed in range(60):
        bandit = SimulatedBandit(np.array([0.05, 0.05]), seed)
        for batch in range(8):
            state = bandit.step(2000, drift=1.0 + batch / 4.0)
        assert state.probabilities_best is not None
        best.append(state.probabilities_best[1])
    # Probabilities of being the best are uniform where groups are alike: their mean is a half.
    assert abs(np.mean(best) - 0.5) < 4 * np.sqrt(1 / 12 / len(best))
    assert np.mean([not 0.025 < each < 0.975 for each in best]) < 0.05 + 3.3 * np.sqrt(0.05 * 0.95 / 60)
