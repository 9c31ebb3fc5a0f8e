"""Calibration: slopes and intercepts of a known truth, the coverage of their intervals, undefined cases."""

import numpy as np
import pytest

from services.optimizer.domain.features import FloatArray
from services.optimizer.domain.response.calibration import Calibration, Outcomes, measure_calibration
from services.optimizer.domain.response.response import logistic, logit

CAMPAIGNS, DAYS = 60, 18


def outcomes(
    rng: np.random.Generator,
    *,
    slope: float = 1.0,
    shift: float = 0.0,
    campaign_spread: float = 0.0,
    day_spread: float = 0.0,
) -> Outcomes:
    """Draw rates whose truth is shift + slope * logit(predicted), with campaigns' and days' own luck."""
    campaign, day = np.repeat(np.arange(CAMPAIGNS), DAYS), np.tile(np.arange(DAYS), CAMPAIGNS)
    predicted = logistic(rng.normal(-2.0, 0.7, CAMPAIGNS)[campaign] + rng.normal(0.0, 0.2, len(campaign)))
    own = rng.normal(0.0, campaign_spread, CAMPAIGNS)[campaign] + rng.normal(0.0, day_spread, DAYS)[day]
    views = rng.integers(20, 80, len(campaign))
    rates = logistic(shift + slope * logit(predicted) + own)
    return Outcomes(
        observed=rng.binomial(views, rates) / views,
        predicted=predicted,
        views=views.astype(np.float64),
        campaign=campaign,
        day=day + 740_000,
    )


def measured(**changes: float) -> Calibration:
    return measure_calibration(outcomes(np.random.default_rng(5), **changes))


def test_predictions_that_are_too_extreme_have_a_slope_below_1() -> None:
    """Truth: slope 0.6, and 0.6 * -2 - 0.8 = -2 keeps the mean where it was."""
    found = measured(slope=0.6, shift=-0.8)
    assert found.slope is not None
    assert found.slope.point == pytest.approx(0.6, abs=0.06)
    assert found.slope.upper < 1.0
    assert found.expected_error is not None
    assert found.error_by_chance is not None
    assert found.expected_error > 3 * found.error_by_chance
    first, last = found.bins[0], found.bins[-1]
    assert first.observed_rate.lower > first.predicted_rate
    assert last.observed_rate.upper < last.predicted_rate


def test_predictions_that_are_too_low_have_an_intercept_above_0() -> None:
    found = measured(shift=0.3)
    assert found.intercept is not None
    assert found.intercept.point == pytest.approx(0.3, abs=0.06)
    assert found.intercept.lower > 0.0


def test_bins_hold_like_shares_of_the_views() -> None:
    found = measured()
    views = np.array([each.views for each in found.bins])
    assert len(views) == 10
    assert views.min() > 0.08 * views.sum()
    assert [each.predicted_rate for each in found.bins] == sorted(each.predicted_rate for each in found.bins)


@pytest.mark.parametrize(
    ("campaign_spread", "day_spread"), [(0.0, 0.0), (0.2, 0.0), (0.0, 0.15), (0.2, 0.15)]
)
def test_intervals_hold_the_truth_though_campaigns_and_days_have_luck_of_their_own(
    campaign_spread: float, day_spread: float
) -> None:
    """95 % intervals hold it in 91 to 99.5 % of 300 worlds: three errors of a share below, and not idly wide.

    Luck of logit noise shifts the mean rate by less than a hundredth of a logit, which is no miss here.
    """
    rng = np.random.default_rng(17)
    held = {"slope": 0, "intercept": 0}
    for _ in range(300):
        found = measure_calibration(outcomes(rng, campaign_spread=campaign_spread, day_spread=day_spread))
        assert found.slope is not None
        assert found.intercept is not None
        held["slope"] += found.slope.lower < 1.0 < found.slope.upper
        held["intercept"] += found.intercept.lower < 0.0 < found.intercept.upper
    assert all(0.91 <= count / 300 <= 0.995 for count in held.values()), held


def test_chance_alone_explains_the_error_of_right_predictions() -> None:
    rng = np.random.default_rng(23)
    found = [measure_calibration(outcomes(rng, campaign_spread=0.2)) for _ in range(40)]
    errors = np.array([[each.expected_error, each.error_by_chance] for each in found], dtype=np.float64)
    assert errors[:, 0].mean() == pytest.approx(errors[:, 1].mean(), rel=0.15)


def constant(observed: FloatArray, predicted: FloatArray, campaigns: int = 4) -> Outcomes:
    count = len(observed)
    return Outcomes(
        observed=observed,
        predicted=predicted,
        views=np.full(count, 10.0),
        campaign=np.arange(count) % campaigns,
        day=np.arange(count) // campaigns,
    )


def test_what_is_undefined_is_none() -> None:
    nothing = measure_calibration(constant(np.zeros(0), np.zeros(0)))
    assert (nothing.expected_error, nothing.error_by_chance, nothing.bins) == (None, None, ())

    never = measure_calibration(constant(np.zeros(40), np.full(40, 0.1)))
    assert (never.slope, never.intercept) == (None, None)
    assert never.expected_error == pytest.approx(0.1)

    rates = np.random.default_rng(2).uniform(0.1, 0.3, 40)
    flat = measure_calibration(constant(rates, np.full(40, 0.2)))
    assert flat.slope is None
    assert flat.intercept is not None
    assert len(flat.bins) == 1

    two_campaigns = measure_calibration(constant(rates, np.linspace(0.1, 0.3, 40), campaigns=2))
    assert (two_campaigns.slope, two_campaigns.intercept, two_campaigns.bins) == (None, None, ())
