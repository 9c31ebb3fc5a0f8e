"""Strata of groups, and the band of a share of simulated tests."""

import math

import numpy as np
from numpy.typing import NDArray

from services.abtest.domain.model import GroupCounts
from services.abtest.domain.samples import MeanSample, Stratum

Values = NDArray[np.float64]


def band(level: float, tests: int) -> tuple[float, float]:
    """The 99.9 % binomial band of a share that is `level`."""
    radius = 3.29 * math.sqrt(level * (1 - level) / tests)
    return level - radius, level + radius


def counts_stratum(label: str, *groups: tuple[int, int]) -> Stratum[GroupCounts]:
    """Counts as (conversions, users) per group."""
    return Stratum(label=label, groups=tuple(GroupCounts(users=users, conversions=c) for c, users in groups))


def samples_of(strata: list[Stratum[GroupCounts]]) -> list[Stratum[MeanSample]]:
    return [
        Stratum(label=each.label, groups=tuple(MeanSample.from_counts(group) for group in each.groups))
        for each in strata
    ]
