"""Which of a campaign's drawn offers are the highest and the lowest of those that were possible."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Final

import numpy as np
from numpy.typing import NDArray

from services.optimizer.domain.features import BoolArray, FloatArray
from services.optimizer.domain.response.offer_overlap import (
    NEVER_BY_CHANCE,
    Draws,
    find_draws,
    find_regimes,
    number_rows,
)

MOST_DELIVERIES: Final = 2_000_000
"""Drawn deliveries that one ranking of segments looks at: the latest days with no more."""


@dataclass(frozen=True, kw_only=True)
class DrawnCell:
    """Deliveries of a campaign under one logging policy on one day, at one offer of one propensity."""

    policy_version: str
    day: date
    offer_micros: int
    propensity: float
    deliveries: int


@dataclass(frozen=True, kw_only=True)
class OfferSide:
    """An offer on a day under a logging policy that was the highest possible there, or else the lowest."""

    policy_version: str
    day: date
    offer_micros: int
    is_high: bool


@dataclass(frozen=True, kw_only=True)
class _Cells:
    """Cells as aligned arrays (n); `day` and `policy` are numbers."""

    policy: NDArray[np.intp]
    day: NDArray[np.int64]
    offer_micros: NDArray[np.int64]
    propensity: FloatArray
    deliveries: NDArray[np.int64]


def latest_days(cells: Sequence[DrawnCell], most: int = MOST_DELIVERIES) -> list[DrawnCell]:
    """Return the cells of the latest days that have at most so many deliveries together, or of the last."""
    by_day: dict[date, int] = {}
    for cell in cells:
        by_day[cell.day] = by_day.get(cell.day, 0) + cell.deliveries
    kept: set[date] = set()
    total = 0
    for day in sorted(by_day, reverse=True):
        total += by_day[day]
        if kept and total > most:
            break
        kept.add(day)
    return [cell for cell in cells if cell.day in kept]


def find_sides(cells: Sequence[DrawnCell]) -> list[OfferSide]:
    """Return where the highest, and the lowest, of the offers possible was made.

    A day counts whether or not its draws happened to bring every offer: days chosen by that would over-count
    the deliveries at a rare offer where days are small. So offers are taken from all days that drew alike
    (`find_regimes`), and else from the day, if it has so many deliveries that one is hardly ever missing.
    """
    if not cells:
        return []
    table = _columns(cells)
    days = number_rows(table.policy, table.day)
    regimes, single = find_draws(find_regimes(days, table.policy, table), table), find_draws(days, table)
    drawn = np.bincount(days, weights=table.deliveries)
    missing = np.bincount(single.owner, weights=(1.0 - single.propensity) ** drawn[single.owner])
    high, low = _ends(single, single.is_complete & (missing < NEVER_BY_CHANCE), table)
    whole_high, whole_low = _ends(regimes, regimes.is_complete, table)
    is_whole = regimes.is_complete[regimes.group]
    high, low = np.where(is_whole, whole_high, high), np.where(is_whole, whole_low, low)
    return [*_sides(cells, high, is_high=True), *_sides(cells, low, is_high=False)]


def _columns(cells: Sequence[DrawnCell]) -> _Cells:
    names = sorted({cell.policy_version for cell in cells})
    place = {name: number for number, name in enumerate(names)}
    return _Cells(
        policy=np.array([place[cell.policy_version] for cell in cells], dtype=np.intp),
        day=np.array([cell.day.toordinal() for cell in cells], dtype=np.int64),
        offer_micros=np.array([cell.offer_micros for cell in cells], dtype=np.int64),
        propensity=np.array([cell.propensity for cell in cells], dtype=np.float64),
        deliveries=np.array([cell.deliveries for cell in cells], dtype=np.int64),
    )


def _ends(draws: Draws, usable: BoolArray, table: _Cells) -> tuple[BoolArray, BoolArray]:
    """Return where the highest, and the lowest, offer of usable groups of several was made (n each)."""
    highest = np.full(len(usable), np.iinfo(np.int64).min)
    lowest = np.full(len(usable), np.iinfo(np.int64).max)
    np.maximum.at(highest, draws.owner, draws.offer)
    np.minimum.at(lowest, draws.owner, draws.offer)
    differs = (usable & (highest > lowest))[draws.group]
    high, low = (differs & (table.offer_micros == end[draws.group]) for end in (highest, lowest))
    return np.asarray(high), np.asarray(low)


def _sides(cells: Sequence[DrawnCell], chosen: Iterable[bool], *, is_high: bool) -> list[OfferSide]:
    """Return each offer of the cells chosen once, whatever its propensities."""
    found = {
        (cell.policy_version, cell.day, cell.offer_micros)
        for cell, is_chosen in zip(cells, chosen, strict=True)
        if is_chosen
    }
    return [
        OfferSide(policy_version=version, day=day, offer_micros=offer, is_high=is_high)
        for version, day, offer in sorted(found)
    ]
