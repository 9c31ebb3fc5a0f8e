"""What simulations say of designs whose rates are known otherwise.

Bands are 99.9 % binomial over 10,000 simulated tests. Levels and powers: the product's own promises (A/A
tests by chi-squared are wrong in 5 % of cases, anytime verdicts under daily looks in at most that), and for
fixed horizons J. L. Fleiss, B. Levin, M. C. Paik (2003), Statistical Methods for Rates and Proportions,
chapter 4.
"""

import math

import pytest
from scipy import stats

from services.abtest.domain.model import DecisionMethod
from services.abtest.domain.power import power_of_comparison
from services.abtest.domain.simulated_amounts import RevenueModel
from services.abtest.domain.simulation import simulate
from services.abtest.domain.simulation_summary import OutcomeSummary, summarize
from tests.simulation_factories import a_design

SIMULATIONS = 10_000
BAND = 3.2905
"""The standard normal's two-sided 99.9 % quantile."""


def band(probability: float) -> float:
    return BAND * math.sqrt(probability * (1.0 - probability) / SIMULATIONS)


def simulated(
    method: DecisionMethod, *, target: int, lift: float, looks: int
) -> tuple[OutcomeSummary, OutcomeSummary]:
    design = a_design(method=method, target=target, lifts=(lift,), looks=looks, simulations=SIMULATIONS)
    summary = summarize(simulate(design))
    assert summary.with_effect is not None
    return summary.without_effect, summary.with_effect


def test_a_fixed_horizon_has_its_level_and_the_true_power_of_the_guides_example() -> None:
    without, with_effect = simulated(DecisionMethod.FIXED_HORIZON, target=1000, lift=0.2, looks=1)
    per_group = round(with_effect.users.expected / 2)
    power = power_of_comparison(
        control_rate=0.10,
        variant_rate=0.12,
        control_users=per_group,
        variant_users=per_group,
        confidence_level=0.95,
    )
    assert power == pytest.approx(0.30, abs=0.01)  # 29.8 % at exactly 1,000 per group, not over 80 %
    assert without.winner_named.share == pytest.approx(0.05, abs=band(0.05))
    assert with_effect.winner_named.share == pytest.approx(power, abs=band(0.3))
    assert without.users.median == pytest.approx(2000, rel=0.03)


def test_a_test_of_revenue_has_its_level_and_the_power_of_welchs_test() -> None:
    """A user's revenue is 0 or gamma: its variance is p (sd^2 + m^2) - (p m)^2, by its second moment."""
    model = RevenueModel(mean=20.0, standard_deviation=15.0)
    design = a_design(
        method=DecisionMethod.FIXED_HORIZON, target=4000, looks=1, simulations=SIMULATIONS, revenue=model
    )
    summary = summarize(simulate(design))
    assert summary.with_effect is not None
    per_group = summary.with_effect.users.expected / 2
    means = [rate * model.mean for rate in design.rates]
    second_moment = model.standard_deviation**2 + model.mean**2
    variances = [rate * second_moment - mean**2 for rate, mean in zip(design.rates, means, strict=True)]
    drift = (means[1] - means[0]) / math.sqrt(sum(variances) / per_group)
    power = float(stats.norm.sf(stats.norm.ppf(0.975) - drift))
    assert summary.without_effect.winner_named.share == pytest.approx(0.05, abs=band(0.05))
    assert summary.with_effect.best_named is not None
    assert summary.with_effect.best_named.share == pytest.approx(power, abs=band(power))


def test_anytime_verdicts_hold_their_level_under_daily_looks_and_keep_their_power() -> None:
    without, with_effect = simulated(DecisionMethod.ANYTIME, target=14_000, lift=0.1, looks=28)
    assert without.winner_named.share <= 0.05
    assert without.invalid.share <= 0.001 + band(0.001)
    assert with_effect.best_named is not None
    assert with_effect.best_named.share >= 0.46 - band(0.46)
    assert with_effect.worse_named is not None
    assert with_effect.worse_named.share <= 0.001
    assert with_effect.users.expected < 24_000 < without.users.expected


def test_planned_looks_hold_their_level_and_end_sooner_than_a_fixed_horizon() -> None:
    design = a_design(
        method=DecisionMethod.GROUP_SEQUENTIAL,
        target=3841,
        looks=5,
        planned_looks=5,
        simulations=2000,
    )
    summary = summarize(simulate(design))
    assert summary.without_effect.winner_named.interval.lower <= 0.05
    assert summary.with_effect is not None
    assert summary.with_effect.best_named is not None
    assert summary.with_effect.best_named.interval.upper >= 0.78
    assert summary.with_effect.users.expected < 0.85 * 2 * 3841
