"""Slope and intercept of calibration where predictions are far from what came, beside scikit-learn and scipy.

Newton's method from predictions of 0.1 % to rates of 50 % stepped to where nothing is left to tell, and the
training that measured a bad model failed of a singular matrix.
"""

import numpy as np
import pytest
from scipy.optimize import brentq
from scipy.special import expit, logit
from sklearn.linear_model import LogisticRegression

from services.optimizer.domain.response.calibration import Outcomes, measure_calibration

ROWS = 60


def outcomes_of(predicted: np.ndarray, observed: np.ndarray, views: np.ndarray) -> Outcomes:
    rows = np.arange(ROWS)
    return Outcomes(observed=observed, predicted=predicted, views=views, campaign=rows % 10, day=rows // 10)


def likeliest_slope(outcomes: Outcomes) -> float:
    """Return scikit-learn's slope: each row once as converted and once as not, weighted by its views."""
    offset = logit(outcomes.predicted)
    middle, scale = offset.mean(), offset.std()
    twice = np.tile((offset - middle) / scale, 2)[:, np.newaxis]
    weights = np.concatenate([outcomes.views * outcomes.observed, outcomes.views * (1.0 - outcomes.observed)])
    peer = LogisticRegression(C=np.inf, solver="newton-cholesky", tol=1e-10, max_iter=500)
    peer.fit(twice, np.repeat([1, 0], ROWS), sample_weight=weights / weights.mean())
    return float(peer.coef_[0, 0] / scale)


def likeliest_intercept(outcomes: Outcomes) -> float:
    offset, views = logit(outcomes.predicted), outcomes.views
    converted = float(np.sum(views * outcomes.observed))
    return float(brentq(lambda each: float(np.sum(views * expit(each + offset))) - converted, -60.0, 60.0))


@pytest.mark.parametrize("seed", range(40))
def test_slope_and_intercept_are_the_likeliest(seed: int) -> None:
    """Predictions around 0.2 % to 50 %, slopes of -1 to 5, intercepts of -3 to 5, 1 to 10^6 views a row."""
    rng = np.random.default_rng([2026, seed])
    predicted = expit(np.clip(rng.normal(rng.uniform(-6.0, 0.0), rng.choice([0.5, 2.0]), ROWS), -12.0, 12.0))
    views = np.ceil(10.0 ** rng.uniform(0.0, 6.0, ROWS))
    rates = expit(np.clip(rng.uniform(-3.0, 5.0) + rng.uniform(-1.0, 5.0) * logit(predicted), -8.0, 8.0))
    outcomes = outcomes_of(predicted, rng.binomial(views.astype(int), rates) / views, views)
    found = measure_calibration(outcomes)
    assert found.slope is not None
    assert found.intercept is not None
    assert found.slope.point == pytest.approx(likeliest_slope(outcomes), abs=2e-4)
    assert found.intercept.point == pytest.approx(likeliest_intercept(outcomes), abs=1e-6)


def test_predictions_of_a_thousandth_that_convert_half_the_time_are_measured() -> None:
    observed = np.random.default_rng(1).uniform(0.4, 0.6, ROWS)
    found = measure_calibration(outcomes_of(np.full(ROWS, 0.001), observed, np.full(ROWS, 1_000.0)))
    assert found.slope is None
    assert found.intercept is not None
    assert found.intercept.point == pytest.approx(logit(observed.mean()) - logit(0.001), abs=1e-6)


@pytest.mark.parametrize("views", [1.0, 1e3, 1e9])
@pytest.mark.parametrize(("low", "high"), [(0.0, 1.0), (0.0, 0.4), (0.3, 1.0)])
def test_predictions_that_part_conversions_from_the_rest_have_no_slope(
    views: float, low: float, high: float
) -> None:
    """The likelihood rises without end (Albert and Anderson, Biometrika 71 (1984))."""
    halves = np.arange(ROWS) < ROWS // 2
    outcomes = outcomes_of(np.where(halves, 0.1, 0.2), np.where(halves, low, high), np.full(ROWS, views))
    found = measure_calibration(outcomes)
    assert found.slope is None
    assert found.intercept is not None
    assert found.intercept.point == pytest.approx(likeliest_intercept(outcomes), abs=1e-6)
