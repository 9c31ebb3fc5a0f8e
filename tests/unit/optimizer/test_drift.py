"""Drift: how often errors that did not grow pass for grown, which growth is found, and the verdicts."""

import numpy as np
import pytest

from services.optimizer.domain.models.drift import (
    BaselineComparison,
    DriftVerdict,
    Errors,
    compare_errors,
    compare_with_baseline,
    judge_drift,
    measure_errors,
)
from services.optimizer.domain.models.population import Move, Stability
from services.optimizer.domain.response.calibration import Outcomes

STABLE = Stability(name="offer_amount", index=0.02, limit=0.1, move=Move.STABLE)
MOVED = Stability(name="merchant", index=0.4, limit=0.1, move=Move.LARGE)
MONTH = Stability(name="month", index=9.0, limit=0.1, move=Move.LARGE)


def errors(
    rng: np.random.Generator, *, days: int, views: int = 50, off: float = 0.02, campaigns: int = 150
) -> Errors:
    """Draw a forecast that is off by `off` (standard deviation), beside the noise of `views` views a row.

    Half of its variance lasts for all of a campaign's days.
    """
    campaign, day = np.tile(np.arange(campaigns), days), np.repeat(np.arange(days), campaigns)
    truth = rng.uniform(0.05, 0.3, campaigns)[campaign]
    share = 0.5**0.5
    wrong = rng.normal(0.0, share * off, campaigns)[campaign] + rng.normal(0.0, share * off, len(day))
    return measure_errors(
        Outcomes(
            observed=rng.binomial(views, truth) / views,
            predicted=np.clip(truth + wrong, 0.001, 0.999),
            views=np.full(len(day), float(views)),
            campaign=campaign,
            day=day,
        )
    )


def test_noise_is_taken_out_of_the_errors() -> None:
    """A forecast off by 0.02 has a squared error of 0.0004 beyond noise, however few look."""
    rng = np.random.default_rng(3)
    for views in (10, 50, 400):
        found = errors(rng, days=60, views=views)
        assert found.excess == pytest.approx(0.0004, abs=4 * found.variance**0.5)
    assert errors(rng, days=20, views=10).mean_squared > 5 * errors(rng, days=20, views=400).mean_squared


def test_errors_that_did_not_grow_seldom_seem_to() -> None:
    """One-sided at 1 %: at most 2.9 % of 400 worlds, though campaigns are a fifth of their size by then."""
    rng = np.random.default_rng(7)
    passed = held = 0
    for _ in range(400):
        found = compare_errors(errors(rng, days=18), errors(rng, days=7, views=10))
        assert found is not None
        passed += found.p_value < 0.01
        held += found.growth.lower < 0.0 < found.growth.upper
    assert passed / 400 <= 0.01 + 3.29 * (0.01 * 0.99 / 400) ** 0.5
    assert 0.92 <= held / 400 <= 0.985


def test_errors_that_grew_are_found() -> None:
    rng = np.random.default_rng(11)
    found = compare_errors(errors(rng, days=18), errors(rng, days=7, off=0.06))
    assert found is not None
    assert found.growth.lower > 0.25
    verdict, reasons = judge_drift(
        days=7,
        rows=1050,
        stability=(STABLE, MONTH),
        comparison=found,
        against_baseline=BaselineComparison(live_error=0.006, baseline_error=0.009, p_value=0.9),
    )
    assert verdict is DriftVerdict.DEGRADED
    assert verdict.calls_for_training
    assert "squared error has grown by" in reasons[0]


def test_too_few_days_or_no_error_at_all_are_not_compared() -> None:
    rng = np.random.default_rng(13)
    assert compare_errors(errors(rng, days=18), errors(rng, days=2)) is None
    assert errors(rng, days=1).variance == np.inf
    perfect = measure_errors(
        Outcomes(
            observed=np.zeros(6),
            predicted=np.zeros(6),
            views=np.ones(6),
            campaign=np.tile(np.arange(2), 3),
            day=np.repeat(np.arange(3), 2),
        )
    )
    assert compare_errors(perfect, perfect) is None


def judged(stability: tuple[Stability, ...], **changes: float) -> tuple[DriftVerdict, str]:
    known = {"days": 7, "rows": 1050, "live_error": 0.004, "p_value": 0.9, **changes}
    verdict, reasons = judge_drift(
        days=int(known["days"]),
        rows=int(known["rows"]),
        stability=stability,
        comparison=None,
        against_baseline=BaselineComparison(
            live_error=known["live_error"], baseline_error=0.009, p_value=known["p_value"]
        ),
    )
    return verdict, "; ".join(reasons)


def test_the_verdicts() -> None:
    assert judged((STABLE, MONTH)) == (
        DriftVerdict.STABLE,
        "errors and features are as they were at training, within chance",
    )
    drifted, why = judged((STABLE, MOVED, MONTH))
    assert drifted is DriftVerdict.DRIFTED
    assert why == "merchant has moved (population stability index 0.40, large above 0.25)"
    worse, why = judged((STABLE,), live_error=0.02, p_value=0.002)
    assert worse is DriftVerdict.DEGRADED
    assert "worse than the mean rates of campaign types" in why
    assert "0.02 against 0.009, p = 0.002" in why
    assert judged((STABLE,), live_error=0.01, p_value=0.3)[0] is DriftVerdict.STABLE
    few, why = judged((MOVED,), days=2, rows=90)
    assert few is DriftVerdict.INSUFFICIENT
    assert not few.calls_for_training
    assert "2 of 3 days and 90 of 100 rows" in why


def beside_mean_rate(rng: np.random.Generator, *, off: float, days: int = 3) -> BaselineComparison:
    """Draw three days of 40 campaigns whose rates differ by 0.03, forecast with an error of `off`."""
    campaign, day = np.tile(np.arange(40), days), np.repeat(np.arange(days), 40)
    truth = rng.normal(0.2, 0.03, 40)[campaign]
    wrong = rng.normal(0.0, off, 40)[campaign]
    outcomes = Outcomes(
        observed=rng.binomial(25, truth) / 25,
        predicted=truth + wrong,
        views=np.full(len(day), 25.0),
        campaign=campaign,
        day=day,
    )
    return compare_with_baseline(outcomes, np.full(len(day), 0.2))


def test_a_weak_model_is_seldom_worse_than_the_mean_rates_by_more_than_chance() -> None:
    """Errors of 0.025 beside 0.03: chance alone puts one in seven behind on three days."""
    rng = np.random.default_rng(17)
    found = [beside_mean_rate(rng, off=0.025) for _ in range(300)]
    assert np.mean([each.live_error > each.baseline_error for each in found]) > 0.05
    assert np.mean([each.p_value is not None and each.p_value < 0.01 for each in found]) <= 0.01
    bad = beside_mean_rate(rng, off=0.15, days=14)
    assert bad.p_value is not None
    assert bad.p_value < 0.01


def test_one_day_tells_no_chance() -> None:
    assert beside_mean_rate(np.random.default_rng(19), off=0.02, days=1).p_value is None
