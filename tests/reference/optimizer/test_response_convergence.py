"""The exponent's fit beside scikit-learn's likelihood, where Newton's method alone runs away.

Weekly affinities under 1 % (logarithms around -5) and the share of views that convert, from 1 % to 60 %, are
far from where the fit starts. Expected: the exponent that the views were drawn with; where strata have many
views, the unpenalised logistic regression of scikit-learn with an indicator of every stratum; where they have
few, the exact conditional likelihood of statsmodels.
"""

import itertools
import math

import numpy as np
import pytest
from scipy.optimize import brentq
from sklearn.linear_model import LogisticRegression
from statsmodels.discrete.conditional_models import ConditionalLogit
from structlog.testing import capture_logs

from services.optimizer.affinity_training.response_fit import WithinFit, fit_within, respond
from services.optimizer.domain.affinity.contacts import FloatArray, IntArray
from services.optimizer.domain.affinity.response import UNKNOWN_RESPONSE, Exposures, draw_to_prior
from services.optimizer.domain.response.response import logistic

EXPONENTS = (0.3, 0.7, 1.0, 2.0)
CENTRES = (-5.0, -1.6)
RATES = (0.01, 0.1, 0.6)
STRATA, USERS = 20, 1_500
Z90 = 1.6448536269514722


def exposures_of(user: IntArray, stratum: IntArray, conversions: IntArray, views: int = 1) -> Exposures:
    return Exposures(
        user=user,
        merchant=stratum,
        stratum=stratum,
        day=np.ones_like(user),
        views=np.full_like(user, views),
        conversions=conversions,
    )


def world(
    seed: int, *, exponent: float, centre: float, rate: float, rows: int = 12_000
) -> tuple[Exposures, FloatArray]:
    """Return views of which the share `rate` converts, and the logarithms of affinities around `centre`."""
    rng = np.random.default_rng([2026, seed])
    logs = np.minimum(rng.normal(centre, 1.0, rows), -0.01)
    user, stratum = rng.integers(USERS, size=rows), rng.integers(STRATA, size=rows)
    moved = exponent * (logs - centre) + rng.normal(0.0, 0.5, STRATA)[stratum]
    level = brentq(lambda each: float(np.mean(logistic(each + moved))) - rate, -30.0, 30.0)
    converts = rng.random(rows) < logistic(level + moved)
    return exposures_of(user, stratum, converts.astype(np.int64)), logs


def beside_means(exposures: Exposures, logs: FloatArray) -> FloatArray:
    mean = np.bincount(exposures.user, logs) / np.maximum(np.bincount(exposures.user), 1)
    return np.column_stack([logs, mean[exposures.user]])


def likeliest(values: FloatArray, exposures: Exposures) -> float:
    """Return scikit-learn's first coefficient."""
    indicators = np.equal.outer(exposures.stratum, np.unique(exposures.stratum)).astype(np.float64)
    centred = values - values.mean(axis=0)
    peer = LogisticRegression(C=np.inf, fit_intercept=False, solver="newton-cholesky", tol=1e-9)
    peer.fit(np.column_stack([centred, indicators]), exposures.conversions)
    return float(peer.coef_[0, 0])


WORLDS = list(itertools.product(EXPONENTS, CENTRES, RATES))


@pytest.mark.parametrize(("exponent", "centre", "rate"), WORLDS)
def test_the_fit_is_the_likeliest_where_strata_are_large(exponent: float, centre: float, rate: float) -> None:
    exposures, logs = world(1, exponent=exponent, centre=centre, rate=rate)
    told = np.isin(exposures.stratum, np.unique(exposures.stratum[exposures.conversions > 0]))
    exposures, logs = exposures.select(told), logs[told]
    values = beside_means(exposures, logs)
    fit = fit_within(values, exposures)
    assert fit is not None
    assert fit.coefficient == pytest.approx(likeliest(values, exposures), rel=0.02, abs=0.003)
    assert fit.coefficient == pytest.approx(exponent, abs=4.0 * fit.standard_error)
    response = respond(exposures, np.exp(logs))
    drawn = draw_to_prior(fit.coefficient, fit.standard_error)
    assert (response.exponent, response.standard_error) == pytest.approx(drawn)
    assert response.views == len(exposures)


def test_strata_of_few_views_do_not_raise_the_exponent() -> None:
    """Three views a stratum: effects fitted beside the exponent would say 0.52 for 0.4 (Neyman and Scott)."""
    found, exact = [], []
    for seed in range(40):
        rng = np.random.default_rng([2026, seed])
        user, stratum = np.repeat(np.arange(300), 4), rng.integers(400, size=1_200)
        logs = rng.normal(-1.5, 1.0, 1_200)
        level = rng.normal(0.0, 0.6, 400)[stratum] + rng.normal(0.0, 0.4, 300)[user]
        converts = rng.random(1_200) < logistic(level + 0.4 * (logs + 1.5))
        exposures = exposures_of(user, stratum, converts.astype(np.int64))
        share = np.bincount(stratum, converts, 400) / np.maximum(np.bincount(stratum, minlength=400), 1)
        told = ((share > 0.0) & (share < 1.0))[stratum]
        exposures, values = exposures.select(told), beside_means(exposures, logs)[told]
        fit = fit_within(values, exposures)
        assert fit is not None
        found.append((fit.coefficient, fit.standard_error))
        if seed < 8:
            peer = ConditionalLogit(exposures.conversions, values, groups=exposures.stratum).fit(disp=0)
            exact.append((float(peer.params[0]), float(peer.bse[0])))
    np.testing.assert_allclose(found[:8], exact, atol=0.05)
    assert np.mean(found, axis=0)[0] == pytest.approx(0.4, abs=0.05)


@pytest.mark.parametrize("centre", CENTRES)
def test_intervals_hold_the_exponent_as_often_as_they_say(centre: float) -> None:
    """90 % of 240 intervals, over all exponents and rates, less or more three standard errors of it."""
    held = []
    for seed in range(20):
        for exponent in EXPONENTS:
            for rate in RATES:
                exposures, logs = world(100 + seed, exponent=exponent, centre=centre, rate=rate, rows=6_000)
                fit = fit_of_told(exposures, logs)
                held.append(abs(fit.coefficient - exponent) <= Z90 * fit.standard_error)
    assert len(held) == 240
    assert np.mean(held) == pytest.approx(0.9, abs=3.0 * math.sqrt(0.9 * 0.1 / len(held)))


def fit_of_told(exposures: Exposures, logs: FloatArray) -> WithinFit:
    """Return the fit on the strata in which some converted and some did not."""
    converted = np.bincount(exposures.stratum, exposures.conversions, STRATA)
    without = np.bincount(exposures.stratum, exposures.views, STRATA) - converted
    told = ((converted > 0) & (without > 0))[exposures.stratum]
    fit = fit_within(beside_means(exposures, logs)[told], exposures.select(told))
    assert fit is not None
    return fit


def test_strata_where_nothing_or_everything_converted_tell_nothing() -> None:
    exposures, logs = world(2, exponent=0.7, centre=-5.0, rate=0.3)
    conversions = exposures.conversions.copy()
    conversions[exposures.stratum == 3] = 0
    conversions[exposures.stratum == 4] = 1
    told = ~np.isin(exposures.stratum, (3, 4))
    response = respond(exposures_of(exposures.user, exposures.stratum, conversions), np.exp(logs))
    fit = fit_within(beside_means(exposures, logs)[told], exposures.select(told))
    assert fit is not None
    assert response.exponent == pytest.approx(draw_to_prior(fit.coefficient, fit.standard_error)[0])
    assert response.views == told.sum()
    assert response.conversions == exposures.conversions[told].sum()
    nothing = np.where(exposures.stratum < 10, 0, 1)
    assert respond(exposures_of(exposures.user, exposures.stratum, nothing), np.exp(logs)) is UNKNOWN_RESPONSE


def test_affinities_that_part_conversions_from_the_rest_measure_nothing() -> None:
    """The likelihood rises without end: the prior counts, and neither document nor log says otherwise."""
    exposures, logs = world(3, exponent=0.7, centre=-5.0, rate=0.3)
    parted = exposures_of(exposures.user, exposures.stratum, (logs > -5.0).astype(np.int64))
    with capture_logs() as logged:
        response = respond(parted, np.exp(logs))
    assert response is UNKNOWN_RESPONSE
    assert response.interval is None
    assert [(entry["log_level"], entry["views"]) for entry in logged] == [("warning", len(exposures))]
    assert "not measured" in logged[0]["event"]


def test_columns_that_tell_the_same_measure_nothing() -> None:
    """One merchant per user: affinity and the user's mean are one, and nothing differs within users."""
    exposures, _ = world(4, exponent=0.7, centre=-5.0, rate=0.3)
    logs = np.random.default_rng(4).normal(-5.0, 1.0, USERS)[exposures.user]
    assert respond(exposures, np.exp(logs)) is UNKNOWN_RESPONSE
    assert fit_within(np.column_stack([logs, logs]), exposures) is None


@pytest.mark.parametrize("times", [1_000, 10_000_000])
def test_huge_counts_leave_the_estimate_as_it_is(times: int) -> None:
    """As many times the views and conversions: nearly the same exponent, and users that still scatter."""
    exposures, logs = world(5, exponent=1.0, centre=-5.0, rate=0.3)
    many = exposures_of(exposures.user, exposures.stratum, exposures.conversions * times, views=times)
    values = beside_means(exposures, logs)
    once, often = fit_within(values, exposures), fit_within(values, many)
    assert once is not None
    assert often is not None
    assert often.coefficient == pytest.approx(once.coefficient, rel=0.01)
    assert often.standard_error == pytest.approx(once.standard_error, rel=0.1)
