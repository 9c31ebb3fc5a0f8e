"""Values between those of an even grid, against the polynomials that they are exact for."""

import numpy as np
import pytest

from services.optimizer.domain.grids import finer


@pytest.mark.parametrize("places", [4, 5, 9])
def test_cubics_are_met_and_places_kept(places: int) -> None:
    grid = np.linspace(-1.0, 2.0, places)
    between = np.linspace(-1.0, 2.0, (places - 1) * 5 + 1)
    cubic = np.polynomial.Polynomial([0.3, -1.0, 0.5, 2.0])
    np.testing.assert_allclose(finer(cubic(grid), 5), cubic(between), atol=1e-12)
    np.testing.assert_allclose(finer(np.exp(grid), 5)[::5], np.exp(grid), rtol=1e-12)
