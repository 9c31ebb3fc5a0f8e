"""Where the data can speak: the offers that were sent often enough, by campaign type."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from services.optimizer.domain.features import MICROS_PER_UNIT, BoolArray, DailyTable
from services.optimizer.domain.response.response import OFFER_STEP_MICROS

MINIMUM_VIEWS: Final = 100
"""Views that an offer needs, over all campaigns of a type, to count as tried."""
LARGEST_GAP_MICROS: Final = 5_000_000
"""Offers between two tried offers at most this far apart are supported by interpolation."""


@dataclass(frozen=True, kw_only=True)
class TypeSupport:
    """What a campaign type has tried.

    `tried_micros` are the offers, rounded to the curve's step, with `MINIMUM_VIEWS` views or more, rising.
    `varied_campaigns` counts campaigns that sent two or more of them: without any, the effect of the offer
    cannot be told from the campaigns' own differences.
    """

    tried_micros: tuple[int, ...]
    varied_campaigns: int

    def covers(self, offers_micros: tuple[int, ...]) -> BoolArray:
        """Return which offers lie at a tried one (within half a step) or between two close ones."""
        tried = np.array(self.tried_micros, dtype=np.int64)
        offers = np.array(offers_micros, dtype=np.int64)
        if len(tried) == 0:
            return np.zeros(len(offers), dtype=np.bool_)
        above = np.clip(np.searchsorted(tried, offers, side="left"), 0, len(tried) - 1)
        below = np.clip(np.searchsorted(tried, offers, side="right") - 1, 0, len(tried) - 1)
        between = (tried[below] <= offers) & (offers <= tried[above])
        close = tried[above] - tried[below] <= LARGEST_GAP_MICROS
        nearest = np.minimum(np.abs(tried[above] - offers), np.abs(tried[below] - offers))
        return np.asarray((between & close) | (nearest <= OFFER_STEP_MICROS // 2))

    def describe(self) -> str:
        """Return the tried offers in words."""
        return ", ".join(f"{offer / MICROS_PER_UNIT:g}" for offer in self.tried_micros)


Support = Mapping[int, TypeSupport]


def survey_support(table: DailyTable) -> dict[int, TypeSupport]:
    """Return what each campaign type of the (usable) rows has tried."""
    rounded = (table.offer_micros + OFFER_STEP_MICROS // 2) // OFFER_STEP_MICROS * OFFER_STEP_MICROS
    support = {}
    for campaign_type in np.unique(table.campaign_type):
        of_type = table.campaign_type == campaign_type
        offers, inverse = np.unique(rounded[of_type], return_inverse=True)
        views = np.bincount(inverse, weights=table.views[of_type])
        tried = offers[views >= MINIMUM_VIEWS]
        sent = of_type & np.isin(rounded, tried)
        pairs = np.unique(np.column_stack((table.campaign[sent], rounded[sent])), axis=0)
        _, counts = np.unique(pairs[:, 0], return_counts=True)
        support[int(campaign_type)] = TypeSupport(
            tried_micros=tuple(int(offer) for offer in tried), varied_campaigns=int(np.sum(counts > 1))
        )
    return support
