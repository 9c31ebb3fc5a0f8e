"""Random draws that are the same at every run."""

import numpy as np
import pytest


@pytest.fixture
def values() -> np.random.Generator:
    return np.random.default_rng(20261121)
