"""The data-driven model: what would be lost if a campaign had not been there, in a chain of touches.

E. Anderl, I. Becker, F. von Wangenheim, J. H. Schumann, "Mapping the customer journey: Lessons learned from
graph-based online attribution modeling", International Journal of Research in Marketing 33 (2016) 457-474,
with the first-order chain; the idea of data-driven credit by removal is X. Shao and L. Li, "Data-driven
multi-touch attribution models", KDD 2011. Journeys go from `start` over campaigns to `conversion` or `null`.
The removal effect of a campaign is the share of the probability of conversion that is lost where whoever
comes to the campaign goes to `null` instead; credits are in proportion to it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from services.analytics.domain.attribution import Integers

START = 0
"""The state before the first touch; campaigns are numbered from 1."""


@dataclass(frozen=True, kw_only=True)
class Transitions:
    """How often journeys went from one state to another, by group of users.

    States: 0 start, 1 to `campaigns` the campaigns, then conversion, then null. `counts` belongs to the
    arrays beside it.
    """

    campaigns: int
    groups: Integers
    origins: Integers
    targets: Integers
    counts: Integers

    @classmethod
    def of(cls, campaigns: int, parts: Sequence[tuple[Integers, Integers, Integers]]) -> "Transitions":
        """Count transitions that are given one by one, each as (group, origin, target)."""
        states = campaigns + 3
        keys = [(group * states + origin) * states + target for group, origin, target in parts]
        distinct, counts = np.unique(np.concatenate([*keys, np.zeros(0, dtype=np.int64)]), return_counts=True)
        return cls(
            campaigns=campaigns,
            groups=distinct // (states * states),
            origins=distinct // states % states,
            targets=distinct % states,
            counts=counts.astype(np.int64),
        )

    def to_matrix(self, without_group: int | None = None) -> NDArray[np.float64]:
        """Return the counts as a matrix over all states, those of one group of users left out."""
        states = self.campaigns + 3
        matrix = np.zeros((states, states))
        kept = self.groups != without_group if without_group is not None else slice(None)
        np.add.at(matrix, (self.origins[kept], self.targets[kept]), self.counts[kept])
        return matrix


def find_removal_effects(counts: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the removal effect of each campaign, in [0, 1]; all 0 where no journey converts.

    Args:
        counts: transitions between start, the campaigns, conversion and null, in this order. Steps from a
            campaign to itself change nothing and are left out.

    With N = (I - Q)^-1 the fundamental matrix over campaigns (Kemeny and Snell, "Finite Markov Chains", 1960,
    theorems 3.2.4 and 3.3.7), v = N r the probability of conversion from each, and s N the expected visits, a
    campaign c is ever visited with probability (s N)_c / N_cc. Who never comes to c converts as before, so
    P(conversion without c) = p - P(visit c) v_c, and the removal effect is P(visit c) v_c / p.
    """
    size = counts.shape[0] - 3
    effects = np.zeros(size)
    inner = counts[1 : size + 1].copy()
    inner[np.arange(size), np.arange(1, size + 1)] = 0.0
    leaving = inner.sum(axis=1)
    seen = np.flatnonzero(leaving > 0)
    started = counts[START].sum()
    if not seen.size or not started:
        return effects
    share = inner[seen] / leaving[seen][:, None]
    fundamental = np.linalg.inv(np.eye(seen.size) - share[:, seen + 1])
    converting = fundamental @ share[:, size + 1]
    start = counts[START, seen + 1] / started
    probability = float(start @ converting)
    if probability > 0:
        visited = (start @ fundamental) / np.diagonal(fundamental)
        effects[seen] = np.clip(visited * converting / probability, 0.0, 1.0)
    return effects
