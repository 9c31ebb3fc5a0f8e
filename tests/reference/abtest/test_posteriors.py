"""Posteriors against closed forms, draws, and the law they promise."""

import math

import numpy as np
import pytest
from scipy import special, stats

from services.abtest.domain.contrasts import LinearContrast
from services.abtest.domain.metrics import CONVERSION_RATE, REVENUE, Metric, MetricKind, MetricRole
from services.abtest.domain.model import GroupCounts
from services.abtest.domain.posteriors import (
    BETA_BINOMIAL,
    NORMAL,
    NORMAL_STRATIFIED,
    compare_normal,
    compare_posteriors,
    compare_rates,
)
from services.abtest.domain.samples import MeanSample, Stratum

PAIRS = [
    ((0, 1), (0, 1)),
    ((0, 10), (3, 5)),
    ((100, 1000), (120, 1000)),
    ((10, 100), (1200, 10_000)),
    ((1000, 1000), (999, 1000)),
    ((0, 10_000), (0, 3)),
]


def counts(pair: tuple[int, int]) -> GroupCounts:
    return GroupCounts(conversions=pair[0], users=pair[1])


def probability_by_sum(control: GroupCounts, variant: GroupCounts) -> float:
    """P(variant > control): E. Miller (2015), Formulas for Bayesian A/B Testing, equation 6."""
    a0, b0 = control.conversions + 1, control.users - control.conversions + 1
    a1, b1 = variant.conversions + 1, variant.users - variant.conversions + 1
    i = np.arange(a1)
    terms = special.betaln(a0 + i, b0 + b1) - np.log(b1 + i) - special.betaln(1 + i, b1)
    return float(np.exp(terms - special.betaln(a0, b0)).sum())


@pytest.mark.parametrize(("before", "after"), PAIRS)
def test_the_probability_to_beat_control_is_the_closed_form(
    before: tuple[int, int], after: tuple[int, int]
) -> None:
    control, variant = counts(before), counts(after)
    up = compare_rates(control, variant, confidence_level=0.95)
    assert up.probability_to_beat_control == pytest.approx(probability_by_sum(control, variant), rel=1e-8)
    down = compare_rates(control, variant, confidence_level=0.95, higher_is_better=False)
    assert down.probability_to_beat_control == pytest.approx(
        1.0 - probability_by_sum(control, variant), abs=1e-9
    )


@pytest.mark.parametrize(("before", "after"), PAIRS)
def test_loss_and_interval_are_those_of_draws(before: tuple[int, int], after: tuple[int, int]) -> None:
    control, variant = counts(before), counts(after)
    generator = np.random.default_rng(1)
    draws = [
        generator.beta(1 + each.conversions, 1 + each.users - each.conversions, 400_000)
        for each in (control, variant)
    ]
    difference = draws[1] - draws[0]
    for higher, loss in ((True, np.maximum(-difference, 0)), (False, np.maximum(difference, 0))):
        found = compare_rates(control, variant, confidence_level=0.9, higher_is_better=higher)
        error = 4 * float(loss.std()) / math.sqrt(len(loss))
        assert found.expected_loss == pytest.approx(float(loss.mean()), abs=error + 1e-9)
        interval = found.credible_interval
        assert (difference < interval.lower).mean() == pytest.approx(0.05, abs=0.002)
        assert (difference > interval.upper).mean() == pytest.approx(0.05, abs=0.002)


def test_what_is_gained_less_what_is_lost_is_the_mean_difference() -> None:
    control, variant = counts((100, 1000)), counts((150_000, 1_000_000))
    lost = compare_rates(control, variant, confidence_level=0.95).expected_loss
    gained = compare_rates(control, variant, confidence_level=0.95, higher_is_better=False).expected_loss
    assert gained - lost == pytest.approx(150_001 / 1_000_002 - 101 / 1002, rel=1e-9)


def test_the_credible_interval_covers_rates_drawn_from_the_prior() -> None:
    generator = np.random.default_rng(2)
    tests, held = 2000, 0
    for _ in range(tests):
        rates = generator.random(2)
        seen = generator.binomial((30, 200), rates)
        interval = compare_rates(
            counts((int(seen[0]), 30)), counts((int(seen[1]), 200)), confidence_level=0.9
        ).credible_interval
        held += interval.lower <= rates[1] - rates[0] <= interval.upper
    assert held / tests == pytest.approx(0.9, abs=3.29 * math.sqrt(0.09 / tests))


def test_the_normal_posterior_is_scipys() -> None:
    contrast = LinearContrast(
        control=10.0, variant=10.4, control_variance=0.05, variant_variance=0.07, unit_variance=1.0
    )
    law = stats.norm(0.4, math.sqrt(0.12))
    up = compare_normal(contrast, confidence_level=0.95, higher_is_better=True)
    assert up.probability_to_beat_control == pytest.approx(law.sf(0), rel=1e-12)
    assert up.expected_loss == pytest.approx(law.expect(lambda x: -x, ub=0.0), rel=1e-8)
    assert (up.credible_interval.lower, up.credible_interval.upper) == pytest.approx(law.interval(0.95))
    down = compare_normal(contrast, confidence_level=0.95, higher_is_better=False)
    assert down.probability_to_beat_control == pytest.approx(law.cdf(0), rel=1e-12)
    assert down.expected_loss == pytest.approx(law.expect(lambda x: x, lb=0.0), rel=1e-8)


def test_each_kind_of_evidence_has_its_posterior() -> None:
    one = Stratum(label="1", groups=(counts((100, 1000)), counts((130, 1000))))
    two = Stratum(label="2", groups=(counts((300, 1000)), counts((330, 1000))))
    single = compare_posteriors(CONVERSION_RATE, [one], 1, confidence_level=0.95)
    both = compare_posteriors(CONVERSION_RATE, [one, two], 1, confidence_level=0.95)
    assert single is not None
    assert both is not None
    assert (single.method, both.method) == (BETA_BINOMIAL, NORMAL_STRATIFIED)
    # Both weeks say +0.03; the variance is that of the own rates, for it exceeds that of equal ones.
    variance = sum(p * (1 - p) / 999 for p in (0.10, 0.13, 0.30, 0.33)) / 4
    assert both.probability_to_beat_control == pytest.approx(
        stats.norm.cdf(0.03 / math.sqrt(variance)), abs=1e-4
    )
    revenue = Metric(name="revenue", role=MetricRole.PRIMARY, kind=MetricKind.MEAN, numerator=REVENUE)
    sample = MeanSample(users=100, total=500.0, squared_deviations=990.0)
    means = compare_posteriors(
        revenue, [Stratum(label="1", groups=(sample, sample))], 1, confidence_level=0.95
    )
    assert means is not None
    assert (means.method, means.probability_to_beat_control) == (NORMAL, 0.5)


def test_without_users_there_is_no_posterior() -> None:
    nobody = Stratum(label="1", groups=(counts((1, 10)), counts((0, 0))))
    assert compare_posteriors(CONVERSION_RATE, [nobody], 1, confidence_level=0.95) is None
    assert compare_posteriors(CONVERSION_RATE, [], 1, confidence_level=0.95) is None
