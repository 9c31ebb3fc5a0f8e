"""The response to offers where nothing, everything, or one side of an offer converted: it stays finite."""

import numpy as np
import pytest

from services.optimizer.domain.response.offer_cells import OfferCells
from services.optimizer.domain.response.support import TypeSupport
from services.optimizer.training.response_fit import fit_response

ROWS = 200
UNIT = 1_000_000
SIDES = {"nothing": (0, 0), "everything": (1, 1), "higher offers": (0, 1), "lower offers": (1, 0)}


@pytest.mark.parametrize("views", [1, 100, 1_000_000])
@pytest.mark.parametrize("converting", sorted(SIDES))
def test_the_response_is_finite_and_rises_where_conversions_do(converting: str, views: int) -> None:
    rng = np.random.default_rng(1)
    offers = rng.integers(10, 50, ROWS) * (UNIT // 2)
    low, high = SIDES[converting]
    cells = OfferCells(
        campaign=np.arange(ROWS) % 9,
        day=rng.integers(30, size=ROWS),
        offer_micros=offers,
        segment_set_id=rng.integers(3, size=ROWS),
        propensity=np.zeros(ROWS),
        views=np.full(ROWS, views),
        conversions=np.where(offers > 12 * UNIT, high, low) * views,
        campaign_type=np.arange(ROWS) % 3,
    )
    support = {kind: TypeSupport(tried_micros=(10 * UNIT,), varied_campaigns=3) for kind in range(3)}
    for response in fit_response(cells, support).types.values():
        assert np.isfinite(response.covariance).all()
        assert np.all(np.linalg.eigvalsh(response.covariance) > 0.0)
        lowest, highest = response.effect(np.array([5.0, 25.0]))
        assert (highest - lowest) * (high - low) > 0.0 or (
            high == low and abs(highest - lowest) == pytest.approx(0.0, abs=0.05)
        )
