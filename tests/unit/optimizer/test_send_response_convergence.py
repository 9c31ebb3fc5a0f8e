"""Users' levels and the response to hours where steps that are cut short need many, or never settle."""

import numpy as np
import pytest
from scipy.optimize import brentq
from scipy.special import expit

from services.optimizer.domain.send_time.activity import Influence
from services.optimizer.domain.send_time.counts import TYPES, FloatArray
from services.optimizer.domain.send_time.send_response import Outcomes, Response, fit_response, user_levels

CELLS, ROWS = 24, 600


@pytest.mark.parametrize("variance", [0.01, 0.25, 9.0])
@pytest.mark.parametrize("base", [-9.0, -3.0, 6.0])
@pytest.mark.parametrize("trials", [1.0, 100.0, 1e5, 1e9])
@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_a_users_level_is_the_likeliest(variance: float, base: float, trials: float, share: float) -> None:
    """Beside the root by scipy of the posterior's slope, up to 25 away from where the steps begin."""
    response = Response(
        offset=np.full((1, 4), base) + np.arange(4.0) / 2.0,
        influence=Influence(of_log=0.5, of_share=0.0),
        level_variance=variance,
    )
    relative, counts = np.ones((1, 4)), np.full((1, 1, 4), trials)
    level, error = user_levels(response, relative, counts, counts * share)
    logits = response.logit_of(relative)

    def slope(each: float) -> float:
        return float((counts * (share - expit(logits + each))).sum()) - each / variance

    assert level[0] == pytest.approx(brentq(slope, -60.0, 60.0), abs=1e-5)
    assert 0.0 < error[0] <= variance


def outcomes(trials: float, *, is_less: bool) -> Outcomes:
    """All trials at more (or less) than usual activity succeeded, and no others."""
    rng = np.random.default_rng(3)
    relative: FloatArray = rng.gamma(2.0, 0.5, ROWS)
    return Outcomes(
        campaign=rng.integers(10, size=ROWS),
        campaign_type=rng.integers(TYPES, size=ROWS),
        cell=rng.integers(CELLS, size=ROWS),
        relative=relative,
        trials=np.full(ROWS, trials),
        successes=np.where((relative < 1.0) == is_less, trials, 0.0),
    )


def test_activity_that_parts_successes_from_the_rest_tells_no_influence() -> None:
    """25 steps left an influence of 7.7 and 25 as if it were measured; the likeliest is 47 and goes on."""
    assert fit_response(outcomes(1e4, is_less=False), CELLS) is None


def test_an_influence_is_held_at_nothing_once() -> None:
    """Counts so large that the prior of what is held does not hold it: held once, the fit ends."""
    found = fit_response(outcomes(1e10, is_less=True), CELLS)
    assert found is None or found.influence == Influence(of_log=0.0, of_share=0.0)
