"""What answers to deliveries depend on, fitted to deliveries whose rates are known."""

import numpy as np
import pytest
from scipy.special import expit

from services.optimizer.domain.send_time.activity import Influence, log_activity
from services.optimizer.domain.send_time.counts import TYPES
from services.optimizer.domain.send_time.send_response import (
    Outcomes,
    Response,
    fit_levels,
    fit_response,
    user_levels,
)

CELLS = 24
ROWS = 60_000


def draw(
    rng: np.random.Generator, *, influence: Influence, campaigns: int = 60, spread: float = 0.5
) -> Outcomes:
    """Single deliveries; each campaign sends at one hour mostly: hours and campaigns are entangled."""
    campaign = rng.integers(campaigns, size=ROWS)
    kind = campaign % 3 + 1
    usual = rng.integers(7, 23, campaigns)
    cell = np.where(rng.random(ROWS) < 0.5, usual[campaign], rng.integers(7, 23, ROWS))
    relative = rng.gamma(1.0, 1.0, ROWS)
    own = rng.normal(0, spread, campaigns)
    logit = -1.0 + 0.4 * (kind == 2) + own[campaign] + influence.logit_of(relative)
    return Outcomes(
        campaign=campaign,
        campaign_type=kind,
        cell=cell,
        relative=relative,
        trials=np.ones(ROWS),
        successes=(rng.random(ROWS) < expit(logit)).astype(np.float64),
    )


def test_influence_is_found_and_hours_that_do_not_matter_do_not_seem_to() -> None:
    """Campaigns with half a unit of spread would lend it to the hours that they send at; they do not."""
    truth = Influence(of_log=0.2, of_share=0.5)
    response = fit_response(draw(np.random.default_rng(4), influence=truth), CELLS)
    assert response is not None
    levels = np.linspace(0.2, 3.0, 8)
    np.testing.assert_allclose(
        response.influence.logit_of(levels) - response.influence.logit_of(np.ones(8)),
        truth.logit_of(levels) - truth.logit_of(np.ones(8)),
        atol=0.12,
    )
    of_hours = response.offset[1, 7:23] - response.offset[1, 7:23].mean()
    assert np.abs(of_hours).max() < 0.08
    assert response.offset[2].mean() - response.offset[1].mean() == pytest.approx(0.4, abs=0.3)


def test_an_hour_without_deliveries_is_like_the_others() -> None:
    response = fit_response(
        draw(np.random.default_rng(5), influence=Influence(of_log=0.3, of_share=0.1)), CELLS
    )
    assert response is not None
    night, day = response.offset[1, :7], response.offset[1, 7:23]
    assert day.min() - 0.01 <= night.min() <= night.max() <= day.max() + 0.01


def test_nobody_answers_less_when_they_are_more_active() -> None:
    response = fit_response(
        draw(np.random.default_rng(6), influence=Influence(of_log=-0.5, of_share=0.0)), CELLS
    )
    assert response is not None
    assert response.influence.of_log == pytest.approx(0.0, abs=1e-3)
    assert response.influence.of_share == pytest.approx(0.0, abs=1e-3)


@pytest.mark.parametrize(
    ("hours", "successes"),
    [(2, 1.0), (24, 0.0)],
    ids=["too few hours were tried", "nobody answered"],
)
def test_too_little_is_no_response(hours: int, successes: float) -> None:
    rows = 480
    cell = np.arange(rows) % hours
    outcomes = Outcomes(
        campaign=np.zeros(rows, dtype=np.intp),
        campaign_type=np.ones(rows, dtype=np.intp),
        cell=cell,
        relative=np.ones(rows),
        trials=np.ones(rows),
        successes=np.full(rows, successes),
    )
    assert fit_response(outcomes, CELLS) is None


def test_users_levels_are_found_as_far_as_they_show() -> None:
    """3,000 users with levels of variance 0.5 around 0.3: both are found, and each is shrunk towards 0."""
    rng = np.random.default_rng(7)
    users = 3_000
    level = rng.normal(0.3, np.sqrt(0.5), users)
    trials = np.zeros((users, TYPES, CELLS))
    trials[:, 1, 9] = rng.integers(0, 40, users)
    successes = np.zeros_like(trials)
    successes[:, 1, 9] = rng.binomial(trials[:, 1, 9].astype(int), expit(-0.5 + level))
    flat = Response(offset=np.full((TYPES, CELLS), -0.5), influence=Influence(of_log=0.0, of_share=0.0))
    relative = np.ones((users, CELLS))
    response = fit_levels(flat, relative, trials, successes)
    assert response.level_variance == pytest.approx(0.5, abs=0.06)
    assert response.offset[1, 9] == pytest.approx(-0.2, abs=0.05)
    found, variance = user_levels(response, relative, trials, successes)
    apart = (found - (level - 0.3)) / np.sqrt(variance)
    assert np.mean(np.abs(apart) < 1.645) == pytest.approx(0.90, abs=0.02)
    untried = trials.sum(axis=(1, 2)) == 0
    np.testing.assert_allclose(found[untried], 0.0, atol=1e-9)
    np.testing.assert_allclose(variance[untried], response.level_variance)


def test_activity_of_nothing_has_a_logarithm() -> None:
    assert np.isfinite(log_activity(np.zeros(1))).all()


def test_how_cells_compare_is_as_uncertain_as_it_says() -> None:
    """Weekdays 2 and 5 differ by 0.2 on the logit: 90 % intervals of the difference hold that in 40 samples.

    33 of 40 would be few, by chance, at 5 % (binomial).
    """
    held = []
    for seed in range(40):
        rng = np.random.default_rng(1_000 + seed)
        cell, kind, campaign = (
            rng.integers(7, size=4_000),
            rng.integers(1, 3, 4_000),
            rng.integers(20, size=4_000),
        )
        effects = np.array([0.1, 0.0, 0.15, -0.1, 0.05, -0.05, -0.15])
        relative = rng.gamma(4.0, 0.25, 4_000)
        logit = -1.5 + effects[cell] + 0.3 * (kind == 2) + 0.5 * log_activity(relative)
        response = fit_response(
            Outcomes(
                campaign=campaign,
                campaign_type=kind,
                cell=cell,
                relative=relative,
                trials=np.full(4_000, 4.0),
                successes=rng.binomial(4, expit(logit)).astype(np.float64),
            ),
            7,
        )
        assert response is not None
        assert response.uncertainty is not None
        for kind_asked in (0, 1):
            covariance = response.uncertainty[kind_asked]
            error = np.sqrt(covariance[2, 2] + covariance[5, 5] - 2 * covariance[2, 5])
            difference = response.offset[max(kind_asked, 1), 2] - response.offset[max(kind_asked, 1), 5]
            held.append(abs(difference - 0.2) < 1.645 * error)
            assert 0.01 < error < 0.2
    assert np.mean(held) >= 33 / 40
