"""Plans against statsmodels, published figures and simulation."""

import math

import numpy as np
import pytest
from statsmodels.stats.power import NormalIndPower
from statsmodels.stats.proportion import (
    power_proportions_2indep,
    samplesize_proportions_2indep_onetail,
)

from services.abtest.domain.inflation import inflation_factor, look_bounds
from services.abtest.domain.metrics import MetricKind
from services.abtest.domain.model import DecisionMethod
from services.abtest.domain.planning import (
    CITATIONS,
    Plan,
    minimum_detectable_effect,
    planned_power,
    required_sample_sizes,
    warn_of_plan,
)

EVEN = (0.5, 0.5)


def plan(
    *,
    kind: MetricKind = MetricKind.PROPORTION,
    baseline: float = 0.10,
    weights: tuple[float, ...] = EVEN,
    level: float = 0.95,
    standard_deviation: float | None = None,
    decision_method: DecisionMethod = DecisionMethod.FIXED_HORIZON,
    planned_looks: int = 10,
    pooled: bool = True,
) -> Plan:
    return Plan(
        kind=kind,
        baseline=baseline,
        standard_deviation=standard_deviation,
        weights=weights,
        confidence_level=level,
        decision_method=decision_method,
        planned_looks=planned_looks,
        pooled=pooled,
    )


def test_the_guides_power_claim_and_the_true_figures() -> None:
    # The guide: 10 % against 12 % with 1,000 per group has over 80 % power. It has 29.8 %; 80 % needs 3,841.
    assert round(100 * planned_power(plan(), 0.2, 1000), 1) == 29.8
    assert required_sample_sizes(plan(), 0.2, 0.8) == (3841, 3841)
    assert plan().formula == "two_proportion_pooled_z"


@pytest.mark.parametrize("rate", [0.01, 0.1, 0.45])
@pytest.mark.parametrize("effect", [-0.3, 0.05, 0.5])
@pytest.mark.parametrize("level", [0.80, 0.95, 0.999])
@pytest.mark.parametrize("ratio", [1.0, 0.25, 3.0])
def test_proportions_agree_with_statsmodels(rate: float, effect: float, level: float, ratio: float) -> None:
    # statsmodels' ratio is control's users over the variant's; its first sample is the variant's.
    weights = (ratio / (1 + ratio), 1 / (1 + ratio))
    asked = plan(baseline=rate, weights=weights, level=level)
    difference = rate * effect
    theirs = power_proportions_2indep(
        difference, rate, 2000, ratio=ratio, alpha=1 - level, return_results=False
    )
    smallest = 2000 * min(weights) / weights[1]
    assert planned_power(asked, effect, smallest) == pytest.approx(theirs, rel=1e-9)
    variant = samplesize_proportions_2indep_onetail(
        difference, rate, 0.8, ratio=ratio, alpha=(1 - level) / 2, alternative="larger"
    )
    needed = required_sample_sizes(asked, effect, 0.8)
    assert needed == (math.ceil(variant * ratio * (1 - 1e-12)), math.ceil(variant * (1 - 1e-12)))


@pytest.mark.parametrize("kind", [MetricKind.MEAN, MetricKind.RATIO])
@pytest.mark.parametrize("ratio", [1.0, 0.2])
def test_means_and_ratios_agree_with_statsmodels(kind: MetricKind, ratio: float) -> None:
    weights = (1 / (1 + ratio), ratio / (1 + ratio))
    asked = plan(kind=kind, baseline=8.0, standard_deviation=20.0, weights=weights)
    peer = NormalIndPower()
    control = peer.solve_power(effect_size=0.1 * 8 / 20, alpha=0.05, power=0.8, ratio=ratio)
    needed = required_sample_sizes(asked, 0.1, 0.8)
    assert needed == (math.ceil(control), math.ceil(control * ratio))
    theirs = peer.power(0.1 * 8 / 20, 3000, 0.05, ratio=ratio)
    assert planned_power(asked, 0.1, 3000 * min(1.0, ratio)) == pytest.approx(theirs, rel=1e-9)
    assert required_sample_sizes(asked, -0.1, 0.8) == needed


def test_the_unpooled_formula_has_its_name_and_fewer_or_more_users() -> None:
    # Chow, Shao, Wang (2008), equation 4.2.4: (z + z)^2 (p1 q1 + p2 q2) / (p1 - p2)^2 = 3,838.
    asked = plan(pooled=False)
    assert required_sample_sizes(asked, 0.2, 0.8) == (3839, 3839)
    assert asked.formula == "two_proportion_unpooled_z"
    assert set(CITATIONS) >= {asked.formula, plan().formula}


def test_several_variants_share_the_level() -> None:
    three = plan(weights=(0.25,) * 4)
    assert three.level == pytest.approx(0.05 / 3)
    alone = plan(level=1 - 0.05 / 3)
    assert required_sample_sizes(three, 0.2, 0.8) == required_sample_sizes(alone, 0.2, 0.8) * 2
    # The variant that weighs least decides how many are needed.
    lopsided = plan(weights=(0.5, 0.4, 0.1))
    needed = required_sample_sizes(lopsided, 0.2, 0.8)
    total = sum(needed)
    assert [size / total for size in needed] == pytest.approx([0.5, 0.4, 0.1], abs=1e-3)
    assert planned_power(lopsided, 0.2, needed[2]) == pytest.approx(0.8, abs=1e-3)


@pytest.mark.parametrize("method", list(DecisionMethod))
@pytest.mark.parametrize("weights", [EVEN, (0.9, 0.1), (0.4, 0.3, 0.3)])
@pytest.mark.parametrize(
    ("kind", "baseline", "deviation"),
    [(MetricKind.PROPORTION, 0.05, None), (MetricKind.MEAN, -8.0, 20.0), (MetricKind.RATIO, 0.3, 1.1)],
)
def test_size_power_and_effect_are_one_relation(
    method: DecisionMethod,
    weights: tuple[float, ...],
    kind: MetricKind,
    baseline: float,
    deviation: float | None,
) -> None:
    asked = plan(
        kind=kind,
        baseline=baseline,
        weights=weights,
        standard_deviation=deviation,
        decision_method=method,
        planned_looks=5,
    )
    smallest = min(required_sample_sizes(asked, 0.08, 0.9))
    # Inflation is that of equal variances under both hypotheses, which a rate has only nearly.
    assert planned_power(asked, 0.08, smallest) == pytest.approx(0.9, abs=0.004)
    effect = minimum_detectable_effect(asked, smallest, 0.9)
    assert effect is not None
    assert planned_power(asked, effect, smallest) == pytest.approx(0.9, rel=1e-9)
    assert effect == pytest.approx(0.08, rel=0.01)


def test_an_effect_that_no_rate_has_is_none() -> None:
    assert minimum_detectable_effect(plan(baseline=0.9), 20, 0.8) is None
    assert minimum_detectable_effect(plan(baseline=0.5), 20, 0.8) == pytest.approx(0.83, abs=0.05)


def test_numbers_at_the_edge_of_doubles_are_borne() -> None:
    assert minimum_detectable_effect(plan(baseline=5e-324), 1000, 0.8) is None
    nearly_everybody = minimum_detectable_effect(plan(baseline=1 - 1e-16), 1000, 0.8)
    assert nearly_everybody is None or nearly_everybody < 1e-15
    for baseline, deviation in ((5e-324, 1e308), (1e-300, 1.0)):
        asked = plan(kind=MetricKind.MEAN, baseline=baseline, standard_deviation=deviation)
        assert minimum_detectable_effect(asked, 1000, 0.8) is None
        with pytest.raises(OverflowError):
            required_sample_sizes(asked, 0.5, 0.8)
    certain = plan(kind=MetricKind.MEAN, baseline=1e300, standard_deviation=5e-324)
    assert required_sample_sizes(certain, 0.5, 0.8) == (2, 2)
    assert planned_power(certain, 0.5, 2) == 1.0


def test_no_looks_cost_nothing_and_free_looks_cost_most() -> None:
    costs = {
        method: plan(decision_method=method, planned_looks=28).inflation(0.8) for method in DecisionMethod
    }
    assert costs[DecisionMethod.FIXED_HORIZON] == 1.0
    assert list(plan().bounds) == pytest.approx([1.959963984540054], rel=1e-12)
    assert 1.03 < costs[DecisionMethod.GROUP_SEQUENTIAL] < 1.08
    assert 1.6 < costs[DecisionMethod.ANYTIME] < 1.9


@pytest.mark.parametrize("method", [DecisionMethod.ANYTIME, DecisionMethod.GROUP_SEQUENTIAL])
def test_inflated_users_have_the_power_by_simulation(method: DecisionMethod) -> None:
    bounds = look_bounds(method, significance_level=0.05, planned_looks=10)
    factor = inflation_factor(bounds, level=0.05, power=0.8)
    drift = (1.959964 + 0.841621) * math.sqrt(factor)  # z's mean at the target
    looks = len(bounds)
    generator = np.random.default_rng(12)
    paths = generator.normal(drift / looks, math.sqrt(1 / looks), (50_000, looks)).cumsum(axis=1)
    scores = paths / np.sqrt(np.arange(1, looks + 1) / looks)
    found = (scores >= bounds).any(axis=1).mean()
    assert found == pytest.approx(0.8, abs=3.29 * math.sqrt(0.16 / 50_000) + 1e-3)


def test_the_issues_powers_are_planned_so() -> None:
    # 10 % baseline, +10 % lift, 14,000 per arm, daily looks: at least 0.46 anytime, 0.74 O'Brien-Fleming.
    anytime = planned_power(plan(decision_method=DecisionMethod.ANYTIME), 0.1, 14_000)
    planned = planned_power(
        plan(decision_method=DecisionMethod.GROUP_SEQUENTIAL, planned_looks=28), 0.1, 14_000
    )
    assert 0.46 <= anytime <= 0.49
    assert 0.74 <= planned <= 0.78


def test_a_plan_tells_where_its_formula_does_not_hold() -> None:
    assert warn_of_plan(plan(), 3841) == ()
    assert "normal approximation" in warn_of_plan(plan(baseline=0.001), 1000)[0]
    assert "skewed" in warn_of_plan(plan(kind=MetricKind.MEAN, standard_deviation=1.0), 1000)[0]
    assert "28 equally spaced looks" in warn_of_plan(plan(decision_method=DecisionMethod.ANYTIME), 1000)[0]
