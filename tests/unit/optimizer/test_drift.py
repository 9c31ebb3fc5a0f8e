"""Drift: how often errors that did not grow pass for grown, which growth is found, and the verdicts."""

import numpy as np
import pytest

from services.optimizer.domain.models.drift import (
    DriftVerdict,
    Errors,
    compare_errors,
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
        live_error=0.006,
        baseline_error=0.009,
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
    known = {"days": 7, "rows": 1050, "live_error": 0.004, "baseline_error": 0.009, **changes}
    verdict, reasons = judge_drift(
        days=int(known["days"]),
        rows=int(known["rows"]),
        stability=stability,
        comparison=None,
        live_error=known["live_error"],
        baseline_error=known["baseline_error"],
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
    worse, why = judged((STABLE,), live_error=0.01)
    assert worse is DriftVerdict.DEGRADED
    assert "worse than the mean rates of campaign types" in why
    few, why = judged((MOVED,), days=2, rows=90)
    assert few is DriftVerdict.INSUFFICIENT
    assert not few.calls_for_training
    assert "2 of 3 days and 90 of 100 rows" in why
