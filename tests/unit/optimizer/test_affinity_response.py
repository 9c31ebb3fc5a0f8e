"""How affinity moves conversions: the fit on views, its prior, and what it does to rates."""

import math
from datetime import date

import numpy as np
import pytest

from services.optimizer.affinity_training.response_fit import FEWEST_CONVERSIONS, respond
from services.optimizer.domain.affinity.contacts import FloatArray
from services.optimizer.domain.affinity.response import (
    PRIOR_DEVIATION,
    PRIOR_EXPONENT,
    UNKNOWN_RESPONSE,
    AffinityResponse,
    Exposures,
    draw_to_prior,
)
from services.optimizer.domain.affinity.tables import exposures_of
from services.optimizer.domain.response.response import logistic

TOLD = AffinityResponse(
    exponent=0.5, standard_error=0.1, usual_log_score=math.log(0.2), least_score=0.05, views=10, conversions=5
)
EXPONENT = 0.3


def views_of(
    rng: np.random.Generator, *, users: int = 300, each: int = 12, exponent: float = EXPONENT
) -> tuple[Exposures, FloatArray]:
    """Return views of 20 campaigns and the affinities; users who are near to all convert more in all."""
    user = np.repeat(np.arange(users), each)
    campaign = rng.integers(20, size=len(user))
    closeness = rng.normal(0, 1, users)
    affinity = logistic(closeness[user] + rng.normal(-1.5, 1, len(user)))
    level = rng.normal(-1, 0.5, 20)[campaign] + 0.8 * closeness[user] + rng.normal(0, 0.4, users)[user]
    converts = rng.random(len(user)) < logistic(level + exponent * np.log(affinity))
    ones = np.ones(len(user), dtype=np.int64)
    exposures = Exposures(
        user=user.astype(np.int64),
        merchant=campaign.astype(np.int64),
        stratum=campaign.astype(np.int64),
        day=ones,
        views=ones,
        conversions=converts.astype(np.int64),
    )
    return exposures, affinity


def test_the_exponent_is_of_what_differs_within_users() -> None:
    """Ninety-five of a hundred 90 % intervals or fewer hold it, 83 or more; nearness itself is worth 0.8."""
    held, found = [], []
    for seed in range(100):
        response = respond(*views_of(np.random.default_rng([2026, seed])))
        assert response.interval is not None
        held.append(response.interval[0] <= EXPONENT <= response.interval[1])
        found.append(response.exponent)
    assert 0.83 <= np.mean(held) <= 0.97
    assert np.mean(found) == pytest.approx(EXPONENT, abs=0.03)


def test_what_was_seen_is_counted() -> None:
    exposures, affinity = views_of(np.random.default_rng(1))
    response = respond(exposures, affinity)
    assert response.views == len(exposures) == 3_600
    assert response.conversions == exposures.conversions.sum()
    assert response.usual_log_score == pytest.approx(np.log(affinity).mean())
    assert np.mean(affinity < response.least_score) == pytest.approx(0.01, abs=0.001)


def test_too_few_conversions_tell_nothing() -> None:
    exposures, affinity = views_of(np.random.default_rng(1))
    few = np.cumsum(exposures.conversions) < FEWEST_CONVERSIONS
    assert respond(exposures.select(few), affinity[few]) is UNKNOWN_RESPONSE
    assert UNKNOWN_RESPONSE.interval is None
    assert UNKNOWN_RESPONSE.exponent == PRIOR_EXPONENT


def test_forty_conversions_already_move_the_prior() -> None:
    """Where affinity moves nothing and where it moves much, of 12 users with 12 views each."""
    found = {
        exponent: [
            respond(*views_of(np.random.default_rng([7, seed]), users=12, exponent=exponent))
            for seed in range(40)
        ]
        for exponent in (0.0, 0.7)
    }
    assert np.mean([response.conversions for response in found[0.0]]) < 50
    assert np.mean([response.exponent for response in found[0.0]]) < PRIOR_EXPONENT - 0.07
    assert np.mean([response.exponent for response in found[0.7]]) > PRIOR_EXPONENT + 0.05


def test_users_who_viewed_one_campaign_each_leave_the_prior_alone() -> None:
    """Nothing differs within them: whether affinity or the user converts, nobody can tell."""
    exposures, affinity = views_of(np.random.default_rng(1), users=3_000, each=1)
    response = respond(exposures, affinity)
    assert response.exponent == pytest.approx(PRIOR_EXPONENT, abs=0.01)
    assert response.standard_error == pytest.approx(PRIOR_DEVIATION, rel=0.01)


def test_an_estimate_is_drawn_to_the_prior_as_far_as_it_may_be_chance() -> None:
    assert draw_to_prior(0.1, PRIOR_DEVIATION) == pytest.approx((0.2, PRIOR_DEVIATION / math.sqrt(2.0)))
    assert draw_to_prior(0.1, 1e-4) == pytest.approx((0.1, 1e-4), rel=1e-5)


def test_rates_rise_with_affinity_and_are_the_campaigns_own_at_the_usual_one() -> None:
    affinities = np.array([0.05, 0.1, 0.2, 0.8])
    rates = TOLD.rates(np.full(4, 0.3), affinities)
    assert np.all(np.diff(rates) > 0)
    assert rates[2] == pytest.approx(0.3)
    odds = rates / (1 - rates)
    assert odds[3] / odds[2] == pytest.approx(2.0)  # four times the affinity, to the power 0.5


def test_below_all_that_viewed_the_odds_fall_in_proportion() -> None:
    near, far = TOLD.log_odds(np.array([0.05, 0.0005]))
    assert near - far == pytest.approx(math.log(100.0))
    assert TOLD.rates(np.array([0.9]), np.array([0.0]))[0] < 1e-8


def test_exposures_are_of_merchants_that_are_known_and_numbered_by_campaign_and_offer() -> None:
    day = date(2026, 11, 1)
    rows = [
        (0, "a", 7, 5_000_000, day, 2, 1),
        (1, "a", 7, 5_000_000, day, 1, 3),
        (1, "a", 7, 6_000_000, day, 1, 0),
        (1, "b", 8, 5_000_000, day, 1, 0),
        (1, "c", 99, 5_000_000, day, 1, 0),
    ]
    found = exposures_of(rows, {7: 0, 8: 1})
    assert found.stratum.tolist() == [0, 0, 1, 2]
    assert found.merchant.tolist() == [0, 0, 0, 1]
    assert found.conversions.tolist() == [1, 1, 0, 0]
    assert found.day.tolist() == [day.toordinal()] * 4
    assert len(exposures_of([], {})) == 0
