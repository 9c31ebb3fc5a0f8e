"""Simulated tests are decided as real ones are; only looks at which nothing can happen are passed over."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from services.abtest.domain.assessment import MetricEvidence
from services.abtest.domain.contrasts import Sample, contrast_metric, contrast_rates
from services.abtest.domain.decision import TestEvidence, as_strata, decide
from services.abtest.domain.looks import Look
from services.abtest.domain.model import DecisionMethod, EpochCounts, GroupCounts
from services.abtest.domain.sample_ratio import check_sample_ratio
from services.abtest.domain.samples import MeanSample, Stratum
from services.abtest.domain.simulated_amounts import (
    RevenueModel,
    SimulatedAmounts,
    draw_amounts,
    score_amounts,
    squared_deviations,
)
from services.abtest.domain.simulated_counts import (
    SimulatedCounts,
    draw_counts,
    find_candidates,
    find_due_looks,
    score_counts,
)
from services.abtest.domain.simulation import SimulationDesign, simulate, simulate_tests
from services.abtest.domain.simulation_summary import summarize
from services.abtest.domain.verdicts import Decision, Verdict
from tests.simulation_factories import a_design


def counts_at(counts: SimulatedCounts, design: SimulationDesign, test: int, look: int) -> EpochCounts:
    pairs = zip(counts.users[test, look].tolist(), counts.conversions[test, look].tolist(), strict=True)
    return EpochCounts(
        epoch=1,
        weights=design.weights,
        groups=tuple(GroupCounts(users=users, conversions=converted) for users, converted in pairs),
    )


def draw(
    design: SimulationDesign, rates: tuple[float, ...], generator: np.random.Generator | None = None
) -> SimulatedCounts:
    return draw_counts(
        generator or np.random.default_rng(design.seed),
        weights=design.weights,
        rates=rates,
        look_users=design.look_users,
        target_sample_size=design.test.target_sample_size,
        tests=design.simulations,
    )


def evidence_at(
    design: SimulationDesign, counts: SimulatedCounts, amounts: SimulatedAmounts | None, test: int, look: int
) -> MetricEvidence:
    """What the analysis would be given at a look."""
    groups: tuple[Sample, ...] = counts_at(counts, design, test, look).groups
    if amounts is not None:
        deviations = squared_deviations(counts, amounts)
        groups = tuple(
            MeanSample(
                users=int(counts.users[test, look, group]),
                total=float(amounts.totals[test, look, group]),
                squared_deviations=float(deviations[test, look, group]),
            )
            for group in range(len(design.weights))
        )
    return MetricEvidence(metric=design.test.primary_metric, strata=[Stratum(label="1", groups=groups)])


def decide_all_looks(
    design: SimulationDesign, counts: SimulatedCounts, amounts: SimulatedAmounts | None, test: int
) -> tuple[int, Decision]:
    """The verdict of a test looked at every time, with every planned look kept; and when it fell."""
    kept: tuple[Look, ...] = ()
    for look in range(counts.users.shape[1]):
        epoch = counts_at(counts, design, test, look)
        check = check_sample_ratio([epoch])
        decision = decide(
            design.test,
            TestEvidence(
                metrics=(evidence_at(design, counts, amounts, test, look),),
                users=tuple(group.users for group in epoch.groups),
                ended=False,
                ratio_mismatch=check is not None and check.alarms,
                looks=kept,
            ),
        )
        if decision.look is not None:
            kept = (*kept, decision.look)
        if decision.verdict is not Verdict.CONTINUE:
            return look, decision
    raise AssertionError("a test that has its target is over")


@pytest.mark.parametrize("revenue", [None, RevenueModel(mean=20.0, standard_deviation=15.0)])
@pytest.mark.parametrize("method", DecisionMethod)
@pytest.mark.parametrize(
    ("lifts", "weights", "target"),
    [((0.35,), (), 500), ((0.25, -0.3), (0.5, 0.3, 0.2), 400), ((0.0,), (0.9, 0.1), 60)],
)
def test_passing_over_looks_changes_no_verdict(
    method: DecisionMethod,
    lifts: tuple[float, ...],
    weights: tuple[float, ...],
    target: int,
    revenue: RevenueModel | None,
) -> None:
    design = a_design(
        method=method,
        lifts=lifts,
        weights=weights,
        target=target,
        looks=8,
        planned_looks=4,
        simulations=100,
        revenue=revenue,
    )
    simulated = simulate_tests(design, design.rates, np.random.default_rng(design.seed))
    generator = np.random.default_rng(design.seed)
    counts = draw(design, design.rates, generator)
    amounts = None if revenue is None else draw_amounts(generator, counts, revenue)
    names = [group.name for group in design.test.groups]
    for test in range(design.simulations):
        look, decision = decide_all_looks(design, counts, amounts, test)
        winner = -1 if decision.winner is None else names.index(decision.winner)
        assert (simulated.over_at[test], simulated.winners[test]) == (look, winner)
        assert simulated.users[test] == counts.users[test, look].sum()


def test_scores_are_those_of_the_analysis() -> None:
    design = a_design(lifts=(0.1, 0.3), target=300, simulations=5)
    counts = draw(design, design.rates)
    scores = score_counts(counts)
    for test in range(design.simulations):
        for look in range(counts.users.shape[1]):
            strata = as_strata([counts_at(counts, design, test, look)])
            for variant in (1, 2):
                place = (test, look, variant - 1)
                made = contrast_rates(strata, variant)
                assert made.contrast is not None
                assert scores.z[place] == pytest.approx(made.contrast.standardized(), rel=1e-9)
                assert scores.effective_users[place] == pytest.approx(made.contrast.effective_users, rel=1e-9)
                assert scores.information[place] == pytest.approx(made.information, rel=1e-9)
                assert scores.ready[place] == made.is_ready


def test_scores_of_revenue_are_those_of_the_analysis() -> None:
    model = RevenueModel(mean=20.0, standard_deviation=15.0)
    design = a_design(lifts=(0.1, 0.3), target=300, simulations=5, revenue=model)
    counts = draw(design, design.rates)
    amounts = draw_amounts(np.random.default_rng(3), counts, model)
    scores = score_amounts(counts, amounts)
    for test in range(design.simulations):
        for look in range(counts.users.shape[1]):
            evidence = evidence_at(design, counts, amounts, test, look)
            for variant in (1, 2):
                place = (test, look, variant - 1)
                made = contrast_metric(evidence.metric, evidence.strata, variant)
                assert made.contrast is not None
                assert made.fixed is not None
                assert scores.z[place] == pytest.approx(made.contrast.standardized(), rel=1e-9)
                assert scores.effective_users[place] == pytest.approx(made.contrast.effective_users, rel=1e-9)
                assert scores.information[place] == pytest.approx(made.information, rel=1e-9)
                lift = made.contrast.relative_lift
                seen = scores.relative_lift[place]
                assert np.isnan(seen) if lift is None else seen == pytest.approx(lift, rel=1e-9)
                assert scores.fixed_z[place] == pytest.approx(abs(made.fixed.statistic), rel=1e-9)
                assert scores.ready[place] == made.is_ready


def test_revenue_is_that_of_the_users_who_convert() -> None:
    design = a_design(target=20_000, looks=2, simulations=3)
    counts = draw(design, design.rates)
    drawn = draw_amounts(np.random.default_rng(1), counts, RevenueModel(mean=20.0, standard_deviation=40.0))
    per_conversion = drawn.totals / counts.conversions
    assert per_conversion == pytest.approx(20.0, rel=0.15)
    assert np.sqrt(drawn.squares / counts.conversions - per_conversion**2) == pytest.approx(40.0, rel=0.3)
    assert (np.diff(drawn.totals, axis=1) > 0.0).all()
    fixed = draw_amounts(np.random.default_rng(1), counts, RevenueModel(mean=7.0, standard_deviation=0.0))
    assert fixed.totals == pytest.approx(7.0 * counts.conversions)


def test_a_lost_tenth_of_a_group_is_found_wherever_it_is_looked() -> None:
    design = a_design(lifts=(0.0,), target=20_000, looks=5, simulations=20)
    drawn = draw(design, design.rates)
    lossy = SimulatedCounts(
        users=np.stack([drawn.users[..., 0], drawn.users[..., 1] * 9 // 10], axis=2),
        conversions=drawn.conversions * 8 // 10,
    )
    candidates = find_candidates(design.test, design.weights, lossy.users, score_counts(lossy))
    for test in range(design.simulations):
        for look in range(5):
            check = check_sample_ratio([counts_at(lossy, design, test, look)])
            assert check is not None
            assert candidates[test, look] or not check.alarms
    assert candidates[:, -1].all()


def test_users_come_in_equal_steps_until_every_group_has_its_target() -> None:
    design = a_design(weights=(0.8, 0.2), target=500, looks=5, simulations=300)
    counts = draw(design, design.rates)
    totals = counts.users.sum(axis=2)
    assert design.look_users == (500, 1000, 1500, 2000, 2500)
    assert (totals[:, :-1] == np.array(design.look_users[:-1])).all()
    assert (counts.users[:, -1].min(axis=1) >= 500).all()
    assert (counts.conversions <= counts.users).all()
    assert all((np.diff(each, axis=1) >= 0).all() for each in (counts.users, counts.conversions))


def test_more_looks_than_users_are_as_many_looks_as_users() -> None:
    assert a_design(target=2, looks=28).look_users == (1, 2, 3, 4)


def test_planned_looks_are_due_once_in_each_step() -> None:
    design = a_design(method=DecisionMethod.GROUP_SEQUENTIAL, target=100, looks=8, planned_looks=4)
    users = np.array([[[20, 24], [26, 30], [40, 44], [80, 76], [99, 99], [120, 100], [130, 130]]])
    assert find_due_looks(design.test, users).tolist() == [[False, True, False, True, False, True, False]]
    fixed = a_design(method=DecisionMethod.FIXED_HORIZON, target=100)
    assert find_due_looks(fixed.test, users)[0].tolist() == [False] * 5 + [True, False]


def test_the_same_seed_gives_the_same_tests_and_another_one_others() -> None:
    first, again, other = (simulate(a_design(seed=seed)) for seed in (7, 7, 8))
    assert first.with_effect is not None
    assert again.with_effect is not None
    assert other.with_effect is not None
    assert np.array_equal(first.with_effect.users, again.with_effect.users)
    assert not np.array_equal(first.with_effect.users, other.with_effect.users)


def test_a_part_at_a_time_gives_every_test(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.abtest.domain.simulation._CELLS_AT_ONCE", 1000)
    simulated = simulate(a_design(simulations=130)).without_effect
    assert len(simulated.winners) == len(simulated.users) == 130


def test_the_summary_adds_up() -> None:
    summary = summarize(simulate(a_design(target=3000, lifts=(0.15, 0.0), users_per_day=500.0)))
    effect = summary.with_effect
    assert effect is not None
    assert effect.best_named is not None
    assert effect.worse_named is not None
    assert effect.best_named.count + effect.worse_named.count == effect.winner_named.count
    assert effect.winner_named.count + effect.undecided.count + effect.invalid.count == 200
    assert effect.winner_named.interval.lower < effect.winner_named.share < effect.winner_named.interval.upper
    assert effect.by_look[-1].over == 1.0
    assert effect.by_look[-1].winner_named == effect.winner_named.share
    assert all(earlier.over <= later.over for earlier, later in pairwise(effect.by_look))
    assert effect.days is not None
    assert effect.days.expected == pytest.approx(effect.users.expected / 500.0)
    assert effect.users.tenth_percentile <= effect.users.median <= effect.users.ninetieth_percentile
    assert effect.mean_lift_of_winners is not None
    assert effect.mean_lift_of_winners > 0.15


def test_an_a_a_design_has_no_tests_with_an_effect() -> None:
    summary = summarize(simulate(a_design(lifts=(0.0,))))
    assert summary.with_effect is None
    assert summary.without_effect.best_named is None
    assert summary.without_effect.days is None
    assert summary.warnings == ()


def test_a_harmful_variant_has_control_as_the_best() -> None:
    summary = summarize(simulate(a_design(lifts=(-0.5,), target=2000)))
    assert summary.with_effect is not None
    assert summary.with_effect.best_named is not None
    assert summary.with_effect.best_named.share > 0.99
    assert summary.with_effect.mean_lift_of_winners is None


def test_a_level_that_is_not_kept_is_told() -> None:
    simulation = simulate(a_design(lifts=(0.0,)))
    everywhere = replace(simulation.without_effect, winners=np.zeros_like(simulation.without_effect.winners))
    warning = summarize(replace(simulation, without_effect=everywhere)).warnings[0]
    assert "a winner is named in 100.00 % of tests, more than the 5 %" in warning


def test_a_test_that_is_too_small_is_told() -> None:
    warnings = summarize(simulate(a_design(target=1000, lifts=(0.1,)))).warnings
    assert "plan more users" in warnings[0]
    assert "larger than they are" in warnings[1]
