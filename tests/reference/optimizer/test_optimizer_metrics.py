"""Scores and intervals against scikit-learn, and against numbers found by hand or in the sources named."""

import math

import numpy as np
import pytest
from sklearn import metrics as sklearn_metrics
from statsmodels.genmod.families import Binomial
from statsmodels.genmod.generalized_linear_model import GLM

from services.optimizer.domain.features import daily_table
from services.optimizer.domain.response.metrics import (
    Conformal,
    calibrate,
    mean_absolute_error,
    noise_ceiling,
    r2_score,
)
from services.optimizer.domain.response.offer_cells import offer_cells
from services.optimizer.domain.response.response import (
    HALF_SATURATIONS,
    Anchor,
    TypeResponse,
    anchored_rates,
    logistic,
    logit,
    saturating_terms,
)
from services.optimizer.domain.response.support import survey_support
from services.optimizer.training import response_fit
from services.optimizer.training.forest import fit_forest
from tests.unit.optimizer.synthetic import END_DAY, build_world

RNG = np.random.default_rng(17)
OBSERVED = RNG.uniform(0.0, 0.4, 200)
PREDICTED = OBSERVED + RNG.normal(0.0, 0.05, 200)
WEIGHTS = RNG.integers(1, 500, 200).astype(np.float64)


def test_scores_equal_scikit_learns() -> None:
    assert r2_score(OBSERVED, PREDICTED, WEIGHTS) == pytest.approx(
        sklearn_metrics.r2_score(OBSERVED, PREDICTED, sample_weight=WEIGHTS), rel=1e-12
    )
    assert mean_absolute_error(OBSERVED, PREDICTED, WEIGHTS) == pytest.approx(
        sklearn_metrics.mean_absolute_error(OBSERVED, PREDICTED, sample_weight=WEIGHTS), rel=1e-12
    )


def test_scikit_learns_documented_example() -> None:
    """The first example in the documentation of sklearn.metrics.r2_score: 0.948..., and of its MAE: 0.5."""
    observed, predicted = np.array([3.0, -0.5, 2.0, 7.0]), np.array([2.5, 0.0, 2.0, 8.0])
    assert r2_score(observed, predicted, np.ones(4)) == pytest.approx(0.9486081370449679)
    assert mean_absolute_error(observed, predicted, np.ones(4)) == 0.5


def test_a_score_without_variation_is_undefined() -> None:
    same = np.full(5, 0.2)
    assert r2_score(same, same, np.ones(5)) is None
    assert noise_ceiling(same, same, np.full(5, 10)) is None


def test_the_ceiling_by_hand() -> None:
    """Rates 0.1 and 0.3 of 100 views: 1 - (0.09 + 0.21) / (100 * 0.01 * 2) = 0.85."""
    rates = np.array([0.1, 0.3])
    assert noise_ceiling(rates, rates, np.array([100, 100])) == pytest.approx(0.85)


def test_the_ceiling_is_what_the_true_rates_reach() -> None:
    rng = np.random.default_rng(2)
    rates = rng.uniform(0.05, 0.3, 20_000)
    views = rng.integers(10, 80, 20_000)
    observed = rng.binomial(views, rates) / views
    reached = r2_score(observed, rates, views.astype(np.float64))
    ceiling = noise_ceiling(observed, rates, views)
    assert ceiling == pytest.approx(reached, abs=0.01)


def test_a_conformal_quantile_by_hand() -> None:
    """Lei et al. 2018: of n = 19 scores the 90 % quantile is the ceil(20 * 0.9) = 18th smallest.

    Predicted 0.5 with a million views has scale sqrt(0.25e-6 + variance); the residuals are 0.01 to 0.19.
    """
    residuals = np.arange(1, 20) / 100
    predicted = np.full(19, 0.5)
    conformal = calibrate(predicted + residuals, predicted, np.full(19, 1_000_000))
    variance = np.mean(residuals**2) - 0.25e-6
    assert conformal.model_variance == pytest.approx(variance)
    assert conformal.quantiles[0.9] == pytest.approx(0.18 / math.sqrt(0.25e-6 + variance))
    assert conformal.quantiles[0.95] == pytest.approx(0.19 / math.sqrt(0.25e-6 + variance))
    lower, upper = conformal.interval(0.5, 1e6, 0.9)
    assert (lower, upper) == pytest.approx((0.32, 0.68))


def test_levels_that_few_rows_cannot_hold_are_left_out() -> None:
    """With n = 9, ceil(10 * 0.95) = 10 > 9: no finite interval has that coverage."""
    predicted = np.full(9, 0.5)
    conformal = calibrate(predicted + np.arange(1, 10) / 100, predicted, np.full(9, 100))
    assert set(conformal.quantiles) == {0.8, 0.9}


def test_an_interval_stays_within_zero_and_one() -> None:
    conformal = Conformal(model_variance=0.01, quantiles={0.9: 3.0})
    assert conformal.interval(0.01, 10.0)[0] == 0.0
    assert conformal.interval(0.99, 10.0)[1] == 1.0


@pytest.mark.parametrize("level", [0.8, 0.9, 0.95])
def test_intervals_hold_their_coverage(level: float) -> None:
    """Exchangeable rows of unequal size, 20 worlds: coverage within 1.5 points of the level."""
    covered, tries = 0, 0
    for seed in range(20):
        rng = np.random.default_rng(seed)
        rates = rng.uniform(0.03, 0.3, 2_000)
        views = rng.integers(20, 400, 2_000)
        day_luck = logistic(logit(rates) + rng.normal(0.0, 0.15, 2_000))
        observed = rng.binomial(views, day_luck) / views
        conformal = calibrate(observed[:1_000], rates[:1_000], views[:1_000])
        for place in range(1_000, 2_000):
            lower, upper = conformal.interval(float(rates[place]), float(views[place]), level)
            covered += lower <= observed[place] <= upper
            tries += 1
    assert covered / tries == pytest.approx(level, abs=0.015)


def test_saturating_terms_by_hand() -> None:
    """At its half saturation each term is a half; at $14, 14^4 / (14^4 + 7^4) = 16 / 17."""
    assert np.diag(saturating_terms(np.array(HALF_SATURATIONS))) == pytest.approx([0.5, 0.5, 0.5])
    assert saturating_terms(np.array([14.0]))[0, 0] == pytest.approx(16 / 17)


def test_an_anchored_curve_by_hand() -> None:
    """One anchor of rate 1/2 (logit 0) at $7 and coefficients (2, 0, 0): at $14, logit 2 * (16/17 - 1/2)."""
    response = TypeResponse(coefficients=np.array([2.0, 0.0, 0.0]), covariance=np.eye(3))
    anchor = Anchor(offers=np.array([7.0]), rates=np.array([0.5]), weights=np.array([3.0]))
    expected = 1 / (1 + math.exp(-2 * (16 / 17 - 0.5)))
    assert anchored_rates(response, np.array([14.0]), anchor)[0] == pytest.approx(expected)


def test_the_response_without_priors_equals_statsmodels(monkeypatch: pytest.MonkeyPatch) -> None:
    """With vague priors the fit is the binomial regression with campaign and day indicators of statsmodels.

    Compared are the differences of the curve, which the indicators do not take up, and their standard errors
    widened by Pearson's dispersion (whose degrees of freedom we count more cautiously: 6 of 78 fewer).
    """
    for spread in ("SHARED_SPREAD", "TYPE_SPREAD", "TYPE_LEVEL_SPREAD", "CAMPAIGN_SPREAD", "DAY_SPREAD"):
        monkeypatch.setattr(response_fit, spread, 300.0)
    rows = [row for row in build_world(campaigns=12, days=28, impressions=600).rows if row[6] == 1]
    table = daily_table(rows)
    fitted = response_fit.fit_response(offer_cells((), table), survey_support(table)).types[1]

    campaigns = np.eye(len(table.campaign_ids))[table.campaign]
    days = np.eye(28)[table.day - END_DAY.toordinal() + 28][:, 1:]
    terms = saturating_terms(table.offer_micros / 1e6)
    counts = np.column_stack([table.conversions, table.views - table.conversions])
    theirs = GLM(counts, np.column_stack([terms, campaigns, days]), family=Binomial()).fit()
    rates, views = theirs.fittedvalues, table.views
    chi_squared = np.sum(views * (table.conversion_rate - rates) ** 2 / (rates * (1 - rates)))
    dispersion = max(1.0, chi_squared / theirs.df_resid)

    offers = saturating_terms(np.array([8.0, 12.0, 16.0, 20.0]))
    contrast = offers[1:] - offers[:1]
    assert contrast @ fitted.coefficients == pytest.approx(contrast @ theirs.params[:3], rel=0.01)
    own_errors = np.sqrt(np.diag(contrast @ fitted.covariance @ contrast.T))
    their_errors = np.sqrt(dispersion * np.diag(contrast @ theirs.cov_params()[:3, :3] @ contrast.T))
    assert own_errors == pytest.approx(their_errors, rel=0.06)


def test_the_forest_weighs_rows_by_exposure() -> None:
    """One situation with rates 0 (weight 3) and 1 (weight 1): a weighted forest predicts about 1/4."""
    features = np.zeros((4000, 7), dtype=np.float32)
    rates = np.tile([0.0, 1.0], 2000)
    views = np.tile([3.0, 1.0], 2000)
    forest = fit_forest(features, rates, views, on_progress=lambda _: None)
    assert forest.predict(features[:1])[0] == pytest.approx(0.25, abs=0.01)
