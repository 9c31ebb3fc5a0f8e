"""Whether a version may serve."""

import re

import numpy as np
import pytest

from services.optimizer.domain.models.promotion import HeldOut, LiveComparison, decide_promotion, measure_gain

DAYS = np.repeat(np.arange(100, 110), 20)
RNG = np.random.default_rng(11)
OBSERVED = RNG.uniform(0.05, 0.3, len(DAYS))
CAMPAIGNS = np.tile(np.arange(20), 10)
HELD_OUT = HeldOut(observed=OBSERVED, campaign=CAMPAIGNS, day=DAYS, views=np.full(len(DAYS), 50))
BASELINE = np.full(len(DAYS), OBSERVED.mean())
GOOD = OBSERVED + RNG.normal(0.0, 0.02, len(DAYS))
BETTER = OBSERVED + RNG.normal(0.0, 0.005, len(DAYS))
EVERY_ROW = np.arange(len(DAYS))


def live(predicted: np.ndarray, rows: np.ndarray = EVERY_ROW) -> LiveComparison:
    return LiveComparison(version=4, rows=rows, predicted=predicted[rows])


def test_the_first_good_version_is_promoted() -> None:
    verdict = decide_promotion(HELD_OUT, predicted=GOOD, baseline=BASELINE, parity_error=1e-7, live=None)
    assert verdict.promoted


def test_a_better_version_replaces_the_live_one_and_a_worse_does_not() -> None:
    better = decide_promotion(
        HELD_OUT, predicted=BETTER, baseline=BASELINE, parity_error=1e-7, live=live(GOOD)
    )
    worse = decide_promotion(
        HELD_OUT, predicted=GOOD, baseline=BASELINE, parity_error=1e-7, live=live(BETTER)
    )
    same = decide_promotion(HELD_OUT, predicted=GOOD, baseline=BASELINE, parity_error=1e-7, live=live(GOOD))
    assert better.promoted
    assert "version 4" in better.reason
    assert not worse.promoted
    assert "does not beat live version 4" in worse.reason
    assert re.search(r"\(mean squared error more by 0\.000\d+, standard error \d\S+\)", worse.reason)
    assert not same.promoted


def test_the_comparison_is_on_the_rows_that_are_new_to_both() -> None:
    """The live version is right on rows that it was fitted on and wrong on the others."""
    cheating = np.where(DAYS < 105, OBSERVED, BASELINE)
    new = np.flatnonzero(DAYS >= 105)
    verdict = decide_promotion(
        HELD_OUT, predicted=GOOD, baseline=BASELINE, parity_error=0.0, live=live(cheating, new)
    )
    assert verdict.promoted


def test_too_few_new_days_are_no_fair_comparison() -> None:
    verdict = decide_promotion(
        HELD_OUT,
        predicted=BETTER,
        baseline=BASELINE,
        parity_error=0.0,
        live=live(GOOD, np.flatnonzero(DAYS >= 108)),
    )
    assert not verdict.promoted
    assert "only 2 of the held-out days" in verdict.reason


def test_less_error_that_may_be_chance_is_said_to_be_less() -> None:
    """A forecast that is right about one row, and the baseline on the others."""
    slight = np.where(EVERY_ROW == 7, OBSERVED, BASELINE)
    verdict = decide_promotion(HELD_OUT, predicted=slight, baseline=BASELINE, parity_error=0.0, live=None)
    assert not verdict.promoted
    assert "by more than chance (mean squared error less by " in verdict.reason


@pytest.mark.parametrize("error", [3e-6, float("nan")])
def test_an_export_that_differs_is_refused(error: float) -> None:
    verdict = decide_promotion(HELD_OUT, predicted=GOOD, baseline=BASELINE, parity_error=error, live=None)
    assert not verdict.promoted
    assert "differs from the trained one" in verdict.reason


def test_noise_seldom_beats_the_baseline() -> None:
    """Predictions that know nothing and scatter a little pass in at most 5 % of 400 worlds."""
    rng = np.random.default_rng(5)
    passed = 0
    for _ in range(400):
        observed = rng.uniform(0.05, 0.3, len(DAYS))
        held_out = HeldOut(observed=observed, campaign=CAMPAIGNS, day=DAYS, views=np.full(len(DAYS), 50))
        baseline = np.full(len(DAYS), 0.175)
        predicted = baseline + rng.normal(0.0, 0.01, len(DAYS))
        verdict = decide_promotion(
            held_out, predicted=predicted, baseline=baseline, parity_error=0.0, live=None
        )
        passed += verdict.promoted
    assert passed <= 20


def test_one_day_proves_nothing() -> None:
    one_day = HeldOut(
        observed=OBSERVED, campaign=CAMPAIGNS, day=np.full(len(DAYS), 100), views=HELD_OUT.views
    )
    gain, spread = measure_gain(one_day, GOOD, BASELINE)
    assert gain > 0
    assert spread.error == np.inf
    verdict = decide_promotion(one_day, predicted=GOOD, baseline=BASELINE, parity_error=0.0, live=None)
    assert not verdict.promoted


def test_few_held_out_days_buy_no_luck() -> None:
    """Two equally noisy forecasts over three days: at most 5 % pass; 1.645 standard errors let 12 % pass."""
    rng = np.random.default_rng(13)
    day = np.repeat(np.arange(3), 30)
    passed = 0
    for _ in range(2000):
        held_out = HeldOut(
            observed=rng.binomial(100, 0.1, len(day)) / 100,
            campaign=np.tile(np.arange(30), 3),
            day=day,
            views=np.full(len(day), 100),
        )
        predicted, baseline = 0.1 + rng.normal(0.0, 0.01, (2, len(day)))
        passed += decide_promotion(
            held_out, predicted=predicted, baseline=baseline, parity_error=0.0, live=None
        ).promoted
    assert passed / 2000 <= 0.05 + 3.29 * (0.05 * 0.95 / 2000) ** 0.5


@pytest.mark.parametrize("lasting", [0.0, 1.0])
def test_an_equal_version_seldom_replaces_the_live_one(lasting: float) -> None:
    """Two versions equally near the truth: the new one passes in at most a fifth of 1000 worlds, not in half.

    Their errors are drawn anew for every row, or last for all of a campaign's days.
    """
    rng = np.random.default_rng(29)
    days, campaigns = 18, 40
    day, campaign = np.repeat(np.arange(days), campaigns), np.tile(np.arange(campaigns), days)
    truth = rng.uniform(0.05, 0.3, campaigns)[campaign]
    baseline = np.full(len(day), truth.mean())
    passed = 0
    for _ in range(1000):
        views = rng.integers(20, 80, len(day))
        held_out = HeldOut(
            observed=rng.binomial(views, truth) / views, campaign=campaign, day=day, views=views
        )
        own, other = (
            truth
            + lasting * rng.normal(0.0, 0.02, campaigns)[campaign]
            + (1.0 - lasting) * rng.normal(0.0, 0.02, len(day))
            for _ in range(2)
        )
        passed += decide_promotion(
            held_out,
            predicted=own,
            baseline=baseline,
            parity_error=0.0,
            live=LiveComparison(version=4, rows=np.arange(len(day)), predicted=other),
        ).promoted
    assert passed / 1000 <= 0.2 + 3.29 * (0.2 * 0.8 / 1000) ** 0.5


def test_few_campaigns_are_all_there_is() -> None:
    """Three campaigns cannot stand for others; their days still tell which forecast is nearer to them."""
    rng = np.random.default_rng(31)
    day, campaign = np.repeat(np.arange(18), 3), np.tile(np.arange(3), 18)
    truth = np.array([0.1, 0.2, 0.3])[campaign]
    held_out = HeldOut(
        observed=rng.binomial(300, truth) / 300, campaign=campaign, day=day, views=np.full(len(day), 300)
    )
    verdict = decide_promotion(
        held_out, predicted=truth, baseline=np.full(len(day), 0.2), parity_error=0.0, live=None
    )
    assert verdict.promoted


def test_few_large_campaigns_buy_no_luck() -> None:
    """Two equally good forecasts, wrong about whole campaigns, 40 of them, logarithms of views apart by 1.5.

    At 5 % about 5 % of 800 worlds pass; counted as 40 equal campaigns, 7.9 %.
    """
    rng = np.random.default_rng(31)
    days, campaigns = 18, 40
    day, campaign = np.repeat(np.arange(days), campaigns), np.tile(np.arange(campaigns), days)
    passed = 0
    for _ in range(800):
        truth = rng.uniform(0.1, 0.3, campaigns)
        views = rng.poisson(40 * np.exp(1.5 * rng.normal(size=campaigns))[campaign]) + 1
        held_out = HeldOut(
            observed=rng.binomial(views, truth[campaign]) / views, campaign=campaign, day=day, views=views
        )
        new, baseline = (truth + 0.05 * rng.normal(size=(2, campaigns)))[:, campaign]
        passed += decide_promotion(
            held_out, predicted=new, baseline=baseline, parity_error=0.0, live=None
        ).promoted
    assert passed / 800 <= 0.065
