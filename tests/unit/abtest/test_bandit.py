"""The bandit's posteriors, weights and stopping rule."""

from dataclasses import replace

import numpy as np
import pytest

from services.abtest.domain.bandit import (
    BanditDesign,
    BanditEvidence,
    BanditState,
    allocate,
    differ,
    find_leader,
    judge_bandit,
    probabilities_best,
)
from services.abtest.domain.bandit_posteriors import (
    BetaPosterior,
    NormalPosterior,
    Posterior,
    credible_interval,
    stratified_posteriors,
)
from services.abtest.domain.metrics import CONVERSION_RATE, REVENUE, Metric, MetricKind, MetricRole
from services.abtest.domain.model import GroupCounts
from services.abtest.domain.samples import MeanSample, Stratum

DESIGN = BanditDesign(
    exploration_floor=0.05,
    refresh_interval_seconds=3600,
    minimum_users_per_group=100,
    stopping_gain=0.01,
    stopping_probability=0.95,
)
REVENUE_PER_USER = Metric(name="revenue", role=MetricRole.PRIMARY, kind=MetricKind.MEAN, numerator=REVENUE)
Counted = tuple[tuple[int, int], ...]


def epochs_of(*epochs: Counted) -> list[Stratum[GroupCounts]]:
    """Strata from (conversions, users) per group."""
    return [
        Stratum(
            label=str(number),
            groups=tuple(GroupCounts(users=users, conversions=count) for count, users in groups),
        )
        for number, groups in enumerate(epochs, start=1)
    ]


def posteriors_of(*epochs: Counted) -> tuple[Posterior, ...]:
    found = stratified_posteriors(CONVERSION_RATE, epochs_of(*epochs))
    assert found is not None
    return found


def judged(
    *groups: tuple[int, int], weights: tuple[float, ...] = (0.5, 0.5), ratio_mismatch: bool = False
) -> BanditState:
    return judge_bandit(
        DESIGN,
        BanditEvidence(
            metric=CONVERSION_RATE,
            strata=epochs_of(groups),
            users=tuple(users for _, users in groups),
            weights=weights,
            ratio_mismatch=ratio_mismatch,
        ),
    )


def test_one_epoch_gives_the_beta_binomial_posterior() -> None:
    posteriors = posteriors_of(((10, 100), (9, 50)))
    assert posteriors == (BetaPosterior(alpha=11.0, beta=91.0), BetaPosterior(alpha=10.0, beta=42.0))
    assert posteriors[1].mean == pytest.approx(10 / 52)
    interval = credible_interval(posteriors[1])
    assert 0.09 < interval.lower < posteriors[1].mean < interval.upper < 0.31


def test_without_users_in_each_group_nothing_is_known() -> None:
    assert stratified_posteriors(CONVERSION_RATE, []) is None
    assert stratified_posteriors(CONVERSION_RATE, epochs_of(((1, 10), (0, 0)))) is None


def test_an_epoch_that_lacks_a_group_tells_nothing() -> None:
    assert posteriors_of(((1, 10), (2, 20)), ((9, 9), (0, 0))) == posteriors_of(((1, 10), (2, 20)))


def test_rates_that_drift_while_weights_change_do_not_pass_for_an_effect() -> None:
    """Both groups convert alike, 8 % in a week of 10/90 and 10 % in one of 50/50."""
    pooled = probabilities_best(posteriors_of(((580, 6000), (1220, 14000))))
    stratified = probabilities_best(posteriors_of(((80, 1000), (720, 9000)), ((500, 5000), (500, 5000))))
    assert pooled[0] > 0.98
    assert stratified[0] == pytest.approx(0.5, abs=0.01)


def test_probabilities_and_gains_agree_with_a_million_draws() -> None:
    posteriors = (
        BetaPosterior(alpha=101.0, beta=901.0),
        BetaPosterior(alpha=121.0, beta=881.0),
        BetaPosterior(alpha=1201.0, beta=8801.0),
    )
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


def test_lower_values_may_be_better() -> None:
    posteriors = tuple(NormalPosterior(mean=mean, standard_error=0.5) for mean in (10.0, 10.2, 9.1))
    probabilities = probabilities_best(posteriors, sign=-1.0)
    leader = find_leader(posteriors, probabilities, DESIGN, sign=-1.0)
    generator = np.random.default_rng(2)
    draws = np.stack([generator.normal(each.mean, 0.5, 1_000_000) for each in posteriors])
    best = np.bincount(draws.argmin(axis=0), minlength=3) / 1_000_000
    gains = 1.0 - draws.min(axis=0) / draws[2]
    assert leader.group_index == 2
    assert probabilities == pytest.approx(tuple(best), abs=0.002)
    assert leader.remaining_gain == pytest.approx(np.quantile(gains, 0.95), rel=0.02)


def test_a_mean_has_a_normal_posterior_over_all_epochs() -> None:
    generator = np.random.default_rng(3)
    values = [[generator.gamma(2.0, 10.0, size=size) for size in (900, 100)] for _ in range(2)]
    strata = [
        Stratum(label=str(number), groups=tuple(MeanSample.from_values(each.tolist()) for each in groups))
        for number, groups in enumerate(values, start=1)
    ]
    posteriors = stratified_posteriors(REVENUE_PER_USER, strata)
    assert posteriors is not None
    for group, posterior in enumerate(posteriors):
        together = [epoch[group] for epoch in values]
        variance = sum(0.25 * each.var(ddof=1) / each.size for each in together)
        assert posterior.mean == pytest.approx(np.mean([each.mean() for each in together]))
        assert isinstance(posterior, NormalPosterior)
        assert posterior.standard_error == pytest.approx(np.sqrt(variance))
    assert sum(probabilities_best(posteriors)) == pytest.approx(1.0)


def test_means_that_do_not_vary_tell_nothing_yet() -> None:
    nothing = MeanSample(users=500)
    strata = [Stratum(label="1", groups=(nothing, nothing))]
    assert stratified_posteriors(REVENUE_PER_USER, strata) is None
    assert stratified_posteriors(REVENUE_PER_USER, [Stratum(label="1", groups=(MeanSample(),) * 2)]) is None
    evidence = BanditEvidence(
        metric=REVENUE_PER_USER, strata=strata, users=(500, 500), weights=(0.4, 0.6), ratio_mismatch=False
    )
    state = judge_bandit(DESIGN, evidence)
    assert state.next_weights == (0.4, 0.6)
    assert "until every group's value is known" in state.reason


def test_much_to_gain_over_a_leader_that_nobody_knows_is_left_open() -> None:
    posteriors = (BetaPosterior(alpha=1.0, beta=1e6), BetaPosterior(alpha=1.0, beta=1.0))
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
    state = judged((0, 99), (50, 900), weights=(0.3, 0.7))
    assert state.next_weights == (0.3, 0.7)
    assert state.posteriors is not None
    assert state.leader is None
    assert state.probabilities_best is None
    assert not state.stops
    assert "one has 99" in state.reason


def test_nothing_follows_from_a_sample_ratio_mismatch() -> None:
    state = judged((0, 900), (90, 900), ratio_mismatch=True)
    assert state.next_weights == (0.5, 0.5)
    assert state.leader is None
    assert not state.stops
    assert "sample-ratio mismatch" in state.reason


def test_weights_follow_the_better_group_and_the_search_ends_once_little_is_left_to_gain() -> None:
    early = judged((10, 100), (16, 100))
    assert early.next_weights[1] > 0.8
    assert early.leader is not None
    assert early.leader.group_index == 1
    assert not early.stops
    assert "it ends at 95 %" in early.reason
    late = judged((500, 5000), (700, 5000))
    assert late.stops
    assert late.next_weights == (0.05, 0.95)
    assert late.leader is not None
    assert late.leader.remaining_gain == 0.0


def test_two_groups_that_hardly_differ_end_the_search_too() -> None:
    """What is left to gain is too little, whichever of them is the better one."""
    state = judged((200_000, 2_000_000), (200_100, 2_000_000))
    assert state.stops
    assert state.probabilities_best is not None
    assert max(state.probabilities_best) < 0.7


def test_a_metric_that_should_fall_moves_traffic_the_other_way() -> None:
    metric = replace(CONVERSION_RATE, higher_is_better=False)
    evidence = BanditEvidence(
        metric=metric,
        strata=epochs_of(((50, 500), (90, 500))),
        users=(500, 500),
        weights=(0.5, 0.5),
        ratio_mismatch=False,
    )
    assert judge_bandit(DESIGN, evidence).next_weights[0] > 0.9
