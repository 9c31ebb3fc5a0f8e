"""Outcomes by days against numbers worked by hand, and their intervals against simulated truths."""

import math

import numpy as np
import pytest
from scipy import stats

from services.optimizer.domain.recommendations.outcomes import (
    DayCounts,
    OutcomeCounts,
    compare_counts,
    count_days,
    exact_interval,
)


def days(views: list[int], conversions: list[int]) -> list[DayCounts]:
    return [
        DayCounts(impressions=2 * x, views=x, conversions=y) for x, y in zip(views, conversions, strict=True)
    ]


def test_a_rate_over_days_by_hand() -> None:
    counts = count_days(days([100, 200, 0, 100], [10, 30, 0, 20]))
    # Residuals of the rate 60 / 400: -5, 0, 5; variance 3 / 2 * 50 / 60^2 of the log.
    assert (counts.trials, counts.conversions, counts.days) == (400, 60, 3)
    assert counts.rate == pytest.approx(0.15)
    assert counts.relative_variance == pytest.approx(1.5 * 50 / 3600)
    assert counts.interval is not None
    half = stats.t.ppf(0.95, 2) * math.sqrt(1.5 * 50 / 3600)
    assert counts.interval.upper == pytest.approx(0.15 * math.exp(half))
    assert counts.interval.lower == pytest.approx(0.15 * math.exp(-half))


@pytest.mark.parametrize(
    ("views", "conversions", "rate"),
    [([], [], None), ([0], [0], None), ([9], [3], 1 / 3), ([9, 9], [0, 0], 0.0)],
)
def test_days_that_tell_too_little_have_no_interval(
    views: list[int], conversions: list[int], rate: float | None
) -> None:
    counts = count_days(days(views, conversions))
    assert counts.rate == rate
    assert counts.interval is None


def test_what_cannot_be_compared_is_not() -> None:
    good, none = count_days(days([100, 100], [10, 12])), count_days([])
    nobody = count_days(days([100, 100], [0, 0]))
    assert compare_counts(good, none) == (None, None)
    assert compare_counts(none, good) == (None, None)
    assert compare_counts(good, nobody) == (None, None)
    assert compare_counts(nobody, good) == (-1.0, None)
    assert compare_counts(good, count_days(days([50], [5])))[1] is None


def simulate_days(rng: np.random.Generator, count: int, rate: float) -> OutcomeCounts:
    views = rng.poisson(120, count)
    own = rng.beta(rate * 200, (1 - rate) * 200, count)
    return count_days(days(views.tolist(), rng.binomial(views, own).tolist()))


def test_outcomes_and_effects_are_covered_nine_times_in_ten() -> None:
    rng = np.random.default_rng(20264)
    hits = []
    for _ in range(1000):
        after, before = simulate_days(rng, 14, 0.25), simulate_days(rng, 20, 0.2)
        effect, interval = compare_counts(after, before)
        assert effect is not None
        assert interval is not None
        assert after.interval is not None
        hits.append(
            (
                after.interval.lower <= 0.25 <= after.interval.upper,
                interval.lower <= 0.25 / 0.2 - 1 <= interval.upper,
            )
        )
    assert np.mean(hits, axis=0) == pytest.approx([0.9, 0.9], abs=0.035)


def test_a_rate_of_one_day_or_of_nobody_has_the_exact_interval_of_its_views() -> None:
    """Its ends are where as many, or as few, come in one of twenty cases (binomial tails)."""
    some = exact_interval(4, 236)
    assert some is not None
    assert stats.binom.sf(3, 236, some.lower) == pytest.approx(0.05)
    assert stats.binom.cdf(4, 236, some.upper) == pytest.approx(0.05)
    nobody, all_ = exact_interval(0, 175), exact_interval(175, 175)
    assert nobody is not None
    assert all_ is not None
    assert [nobody.lower, nobody.upper] == pytest.approx([0.0, 1.0 - 0.05 ** (1 / 175)])
    assert [all_.lower, all_.upper] == pytest.approx([0.05 ** (1 / 175), 1.0])
    assert exact_interval(0, 0) is None
    assert exact_interval(3, 2) is None


def test_the_exact_interval_holds_the_truth() -> None:
    """Of 90 % and, being exact, no less: over rates from 0.2 to 50 % at 150 views."""
    rates = np.geomspace(0.002, 0.5, 40)
    found = [exact_interval(count, 150) for count in range(151)]
    held = [
        sum(
            stats.binom.pmf(count, 150, rate)
            for count, each in enumerate(found)
            if each is not None and each.lower <= rate <= each.upper
        )
        for rate in rates
    ]
    assert min(held) >= 0.9
    assert np.mean(held) < 0.97
