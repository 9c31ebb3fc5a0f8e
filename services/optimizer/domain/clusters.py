"""Standard errors of sums over rows that are not independent: those of one campaign, and those of one day.

Two-way clustering: the variance by campaigns, plus that by days, less that by rows of both (Cameron, Gelbach
and Miller 2011, "Robust inference with multiway clustering", equation 2.13). By chance it can come out below
the variance of one way alone; the largest of the three is taken. Clusters are unequal: a large one pulls the
sum's mean to itself, so that its square is divided by what its share leaves (CR2; Bell and McCaffrey 2002,
"Bias reduction in standard errors for linear regression with multi-stage samples"), and degrees of freedom
are those of as many equal ones as tell as much.
"""

import math
from dataclasses import dataclass
from typing import Final

import numpy as np

from services.optimizer.domain.features import FloatArray, IntArray

FEWEST_CAMPAIGNS: Final = 10
"""With fewer campaigns than this they are all there is, and no sample of others: days alone are the units."""

_LEAST_LEFT: Final = 1e-3


@dataclass(frozen=True, kw_only=True)
class Spread:
    """The variance of a sum, and the degrees of freedom to judge it by.

    They are one less than the fewer clusters' effective number, and at least 1.
    """

    variance: float
    degrees_of_freedom: float

    @property
    def error(self) -> float:
        """The standard error; infinite where there is one day."""
        return math.sqrt(self.variance)


def spread_of_sum(influence: FloatArray, campaign: IntArray, day: IntArray, views: FloatArray) -> Spread:
    """Return the spread of the sum of `influence`, whose expectation is 0, over rows with these views."""
    by_day, days = _cluster(influence, day, views)
    by_campaign, campaigns = _cluster(influence, campaign, views)
    if days < 2:  # noqa: PLR2004 (a spread needs two)
        return Spread(variance=math.inf, degrees_of_freedom=1.0)
    told = effective_clusters(day, views)
    if campaigns < FEWEST_CAMPAIGNS:
        return Spread(variance=by_day, degrees_of_freedom=max(told - 1.0, 1.0))
    first = int(day.min())
    by_both, _ = _cluster(influence, campaign * (int(day.max()) - first + 1) + day - first, views)
    told = min(told, effective_clusters(campaign, views))
    return Spread(
        variance=max(by_day, by_campaign, by_day + by_campaign - by_both),
        degrees_of_freedom=max(told - 1.0, 1.0),
    )


def effective_clusters(key: IntArray, weights: FloatArray) -> float:
    """Return how many clusters of equal weight tell as much: (sum w)^2 / sum w^2, of clusters' weights w.

    Kish, "Survey sampling", 1965. `weights` (rows,) add up to their clusters'.
    """
    _, place = np.unique(key, return_inverse=True)
    return float(np.sum(weights) ** 2 / np.sum(np.bincount(place, weights) ** 2))


def _cluster(influence: FloatArray, key: IntArray, views: FloatArray) -> tuple[float, int]:
    """Return the sum of the clusters' squared sums, each over what its share leaves, and their number."""
    clusters, inverse = np.unique(key, return_inverse=True)
    left = 1.0 - np.bincount(inverse, weights=views) / views.sum()
    squares = np.bincount(inverse, weights=influence) ** 2
    return float(np.sum(squares / np.maximum(left, _LEAST_LEFT))), len(clusters)
