"""What a campaign adds in each segment over its control, where users or offers were drawn by chance."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import numpy as np
from numpy.typing import NDArray

from services.optimizer.domain.decision_table import DecisionTable
from services.optimizer.domain.features import BoolArray, FloatArray
from services.optimizer.domain.offer_answer import Interval
from services.optimizer.domain.offer_overlap import (
    NEVER_BY_CHANCE,
    Draws,
    find_draws,
    find_regimes,
    number_rows,
)
from services.optimizer.domain.segments import QUANTILE

MINIMUM_USERS: Final = 50
"""Users that each side needs in a segment before an uplift is given."""


class UpliftBasis(StrEnum):
    """What stands behind an uplift."""

    AB_TEST = "ab_test"
    RANDOMISED_OFFERS = "randomised_offers"
    NONE = "none"


@dataclass(frozen=True, kw_only=True)
class SegmentCell:
    """Users of one set of segments on one side of a test, within one weight epoch.

    `test` names the test and its variant; `segment_set` is None for users without segments.
    """

    test: str
    epoch: int
    segment_set: int | None
    is_control: bool
    users: int
    converting: int


@dataclass(frozen=True, kw_only=True)
class Uplift:
    """An absolute difference with its 90 % interval, and how many users are on either side."""

    basis: UpliftBasis
    value: float
    interval: Interval
    treated_users: int
    control_users: int


def uplift_by_test(cells: Sequence[SegmentCell], segments: Mapping[int, Sequence[str]]) -> dict[str, Uplift]:
    """Return by segment what variants add to the share of users who convert.

    Within each test and weight epoch (rates pooled over epochs would mix users of other times), then averaged
    by Mantel and Haenszel's weights n1 n0 / (n1 + n0). Variances by stratum, with a success and a failure
    added to each side (Agresti & Caffo, The American Statistician 54, 2000).
    """
    counts: dict[str, dict[tuple[str, int], list[int]]] = {}
    for cell in cells:
        for name in segments.get(cell.segment_set, ()) if cell.segment_set is not None else ():
            side = counts.setdefault(name, {}).setdefault((cell.test, cell.epoch), [0, 0, 0, 0])
            side[2 * cell.is_control] += cell.users
            side[2 * cell.is_control + 1] += cell.converting
    found = ((name, _average(strata.values())) for name, strata in sorted(counts.items()))
    return {name: uplift for name, uplift in found if uplift is not None}


def _average(strata: Iterable[Sequence[int]]) -> Uplift | None:
    """Return the weighted difference over strata of (treated, converting, control, converting)."""
    usable = [stratum for stratum in strata if stratum[0] and stratum[2]]
    treated, control = sum(each[0] for each in usable), sum(each[2] for each in usable)
    if min(treated, control) < MINIMUM_USERS:
        return None
    weights = [n1 * n0 / (n1 + n0) for n1, _, n0, _ in usable]
    total = math.fsum(weights)
    value = math.fsum(
        weight * (a / n1 - b / n0) for weight, (n1, a, n0, b) in zip(weights, usable, strict=True)
    )
    variance = math.fsum(
        weight**2 * (_variance(n1, a) + _variance(n0, b))
        for weight, (n1, a, n0, b) in zip(weights, usable, strict=True)
    )
    half = QUANTILE * math.sqrt(variance) / total
    return Uplift(
        basis=UpliftBasis.AB_TEST,
        value=value / total,
        interval=_interval(value / total, half),
        treated_users=treated,
        control_users=control,
    )


def _variance(users: int, converting: int) -> float:
    share = (converting + 1.0) / (users + 2.0)
    return share * (1.0 - share) / (users + 2.0)


def uplift_by_offers(table: DecisionTable, segments: Mapping[int, Sequence[str]]) -> dict[str, Uplift]:
    """Return by segment the conversions per delivery that the highest offer drawn adds to the lowest.

    Deliveries of a campaign's days whose offers and propensities are all known (`_extremes`) weigh
    1 / propensity, each side's mean is self-normalised (Hajek), and variances add up a user's deviations
    first.
    """
    high, low = _extremes(table)
    names = sorted({name for of_set in segments.values() for name in of_set})
    found = {}
    for name in names:
        numbers = [number for number, of_set in segments.items() if name in of_set]
        uplift = _contrast(table, np.isin(table.segment_set, numbers), high, low)
        if uplift is not None:
            found[name] = uplift
    return found


def _extremes(table: DecisionTable) -> tuple[BoolArray, BoolArray]:
    """Return where the highest, and the lowest, of the offers possible was made (n each).

    A day counts whether or not its draws happened to bring every offer: days chosen by that would over-count
    the deliveries at a rare offer where days are small. So offers are taken from all days that drew alike
    (`find_regimes`), and else from the day, if it has so many deliveries that one is hardly ever missing.
    """
    policies = number_rows(table.campaign, table.version)
    days = number_rows(policies, table.day)
    regimes, single = find_draws(find_regimes(days, policies, table), table), find_draws(days, table)
    missing = np.bincount(single.owner, weights=(1.0 - single.propensity) ** np.bincount(days)[single.owner])
    high, low = _ends(single, single.is_complete & (missing < NEVER_BY_CHANCE), table)
    whole_high, whole_low = _ends(regimes, regimes.is_complete, table)
    is_whole = regimes.is_complete[regimes.group]
    return np.where(is_whole, whole_high, high), np.where(is_whole, whole_low, low)


def _ends(draws: Draws, usable: BoolArray, table: DecisionTable) -> tuple[BoolArray, BoolArray]:
    """Return where the highest, and the lowest, offer of usable groups of several was made (n each)."""
    highest = np.full(len(usable), np.iinfo(np.int64).min)
    lowest = np.full(len(usable), np.iinfo(np.int64).max)
    np.maximum.at(highest, draws.owner, draws.offer)
    np.minimum.at(lowest, draws.owner, draws.offer)
    differs = (usable & (highest > lowest))[draws.group]
    high, low = (differs & (table.offer_micros == end[draws.group]) for end in (highest, lowest))
    return np.asarray(high), np.asarray(low)


def _contrast(table: DecisionTable, of_segment: BoolArray, high: BoolArray, low: BoolArray) -> Uplift | None:
    sides = [of_segment & side for side in (high, low)]
    users = [len(np.unique(table.user[side])) for side in sides]
    if min(users) < MINIMUM_USERS:
        return None
    means, deviations = zip(*(_weighted_mean(table, side) for side in sides), strict=True)
    value = means[0] - means[1]
    half = QUANTILE * math.sqrt(float(np.sum((deviations[0] - deviations[1]) ** 2)))
    return Uplift(
        basis=UpliftBasis.RANDOMISED_OFFERS,
        value=value,
        interval=_interval(value, half),
        treated_users=users[0],
        control_users=users[1],
    )


def _weighted_mean(table: DecisionTable, side: NDArray[np.bool_]) -> tuple[float, FloatArray]:
    """Return the weighted mean of conversions, and each user's share of its error."""
    weight = np.where(side, 1.0 / table.propensity, 0.0)
    total = float(weight.sum())
    mean = float(weight @ table.conversions) / total
    shares = np.bincount(table.user, weights=weight * (table.conversions - mean)) / total
    return mean, np.asarray(shares, dtype=np.float64)


def _interval(value: float, half: float) -> Interval:
    return Interval(lower=value - half, upper=value + half)
