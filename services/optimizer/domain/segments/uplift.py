"""What a campaign adds in each segment over its control, where users or offers were drawn by chance."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final

from services.optimizer.domain.offers.answer import Interval
from services.optimizer.domain.segments.segments import QUANTILE

MINIMUM_USERS: Final = 50
"""Users that each side needs in a segment before an uplift is given."""
FEWEST_CONVERTING: Final = 5.0
"""Users that must have converted on each side: of fewer, too few intervals hold the truth."""


class UpliftBasis(StrEnum):
    """What stands behind an uplift."""

    AB_TEST = "ab_test"
    RANDOMISED_OFFERS = "randomised_offers"
    NONE = "none"


@dataclass(frozen=True, kw_only=True)
class VariantOfTest:
    """A variant of a test that has begun; `ended_at` is None while it runs."""

    test_id: str
    name: str
    control_campaign_id: str
    started_at: datetime
    ended_at: datetime | None

    def __str__(self) -> str:
        until = "now" if self.ended_at is None else f"{self.ended_at:%Y-%m-%d %H:%M}"
        return (
            f"test {self.test_id} (variant {self.name} against {self.control_campaign_id},"
            f" {self.started_at:%Y-%m-%d %H:%M} to {until} UTC)"
        )


@dataclass(frozen=True, kw_only=True)
class SegmentCell:
    """Users of one set of segments on one side of a test, within one weight epoch.

    `segment_set` is None for users without segments.
    """

    variant: VariantOfTest
    epoch: int
    segment_set: int | None
    is_control: bool
    users: int
    converting: int


@dataclass(frozen=True, kw_only=True)
class Uplift:
    """An absolute difference with its 90 % interval, and how many users are on either side.

    `variants` are those of tests that it comes from, the one begun last first.
    """

    basis: UpliftBasis
    value: float
    interval: Interval
    treated_users: int
    control_users: int
    variants: tuple[VariantOfTest, ...] = ()


_Strata = dict[tuple[VariantOfTest, int], list[int]]
"""Treated users, converting ones, control users, converting ones, by variant and weight epoch."""


def uplift_by_test(cells: Sequence[SegmentCell], segments: Mapping[int, Sequence[str]]) -> dict[str, Uplift]:
    """Return by segment what variants add to the share of users who convert.

    Within each test and weight epoch (rates pooled over epochs would mix users of other times), then averaged
    by Mantel and Haenszel's weights n1 n0 / (n1 + n0). Variances by stratum, with a success and a failure
    added to each side (Agresti & Caffo, The American Statistician 54, 2000). Where fewer than
    `FEWEST_CONVERTING` users converted on a side no uplift is given, by Kish's number as of drawn offers: of
    none on both sides it would be 0 for certain, and rank before what is known.
    """
    counts: dict[str, _Strata] = {}
    for cell in cells:
        for name in segments.get(cell.segment_set, ()) if cell.segment_set is not None else ():
            side = counts.setdefault(name, {}).setdefault((cell.variant, cell.epoch), [0, 0, 0, 0])
            side[2 * cell.is_control] += cell.users
            side[2 * cell.is_control + 1] += cell.converting
    found = ((name, _average(strata)) for name, strata in sorted(counts.items()))
    return {name: uplift for name, uplift in found if uplift is not None}


def _average(strata: _Strata) -> Uplift | None:
    """Return the weighted difference over strata."""
    used = {stratum: counts for stratum, counts in strata.items() if counts[0] and counts[2]}
    usable = list(used.values())
    treated, control = sum(each[0] for each in usable), sum(each[2] for each in usable)
    if min(treated, control) < MINIMUM_USERS:
        return None
    weights = [n1 * n0 / (n1 + n0) for n1, _, n0, _ in usable]
    sides = ([(n, a) for n, a, _, _ in usable], [(n, a) for _, _, n, a in usable])
    if min(_converting_of(side, weights) for side in sides) < FEWEST_CONVERTING:
        return None
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
        variants=tuple(sorted({variant for variant, _ in used}, key=_latest_first)),
    )


def _converting_of(side: Sequence[tuple[int, int]], weights: Sequence[float]) -> float:
    """Return how many users of equal weight those converted are worth, of (users, converting) by stratum."""
    each = [(converting, weight / users) for (users, converting), weight in zip(side, weights, strict=True)]
    return _converting(math.fsum(a * w for a, w in each), math.fsum(a * w * w for a, w in each))


def _latest_first(variant: VariantOfTest) -> tuple[float, str, str]:
    return (-variant.started_at.timestamp(), variant.test_id, variant.name)


def _variance(users: int, converting: int) -> float:
    share = (converting + 1.0) / (users + 2.0)
    return share * (1.0 - share) / (users + 2.0)


@dataclass(frozen=True, kw_only=True)
class OfferMoments:
    """A segment's users at the highest and at the lowest offers drawn: sums and products over users.

    x are a user's deliveries on a side, y the conversions that followed them, both by 1 / propensity. The
    products `cross_…` are of the high side by the low one; `high_users` and `low_users` have deliveries
    there.
    """

    segment_name: str
    high_users: int
    low_users: int
    high_x: float
    high_y: float
    low_x: float
    low_y: float
    high_xx: float
    high_xy: float
    high_yy: float
    low_xx: float
    low_xy: float
    low_yy: float
    cross_xx: float
    cross_xy: float
    cross_yx: float
    cross_yy: float


def uplift_by_offers(moments: Iterable[OfferMoments]) -> dict[str, Uplift]:
    """Return by segment the conversions per delivery that the highest offer drawn adds to the lowest.

    Deliveries weigh 1 / propensity, and each side's mean is self-normalised (Hajek): m = sum(y) / sum(x) over
    users. Variances add up a user's deviations first (linearisation of a ratio over users, Cochran 1977,
    eq. 6.13): d_u = (y_u - m x_u) / sum(x) on the high side less the same on the low one, and the variance of
    the difference is the sum of d_u^2, here multiplied out so that sums over users are enough. Where fewer
    than `FEWEST_CONVERTING` users converted on a side, users' deviations show too little error there, and no
    uplift is given; those of unequal weights count as sum(y)^2 / sum(y^2) (Kish, "Survey sampling", 1965).
    """
    found = ((each.segment_name, _contrast(each)) for each in moments)
    return {name: uplift for name, uplift in found if uplift is not None}


def _contrast(of: OfferMoments) -> Uplift | None:
    converting = min(_converting(of.high_y, of.high_yy), _converting(of.low_y, of.low_yy))
    if min(of.high_users, of.low_users) < MINIMUM_USERS or converting < FEWEST_CONVERTING:
        return None
    high, low = of.high_y / of.high_x, of.low_y / of.low_x
    of_high = (of.high_yy - 2.0 * high * of.high_xy + high**2 * of.high_xx) / of.high_x**2
    of_low = (of.low_yy - 2.0 * low * of.low_xy + low**2 * of.low_xx) / of.low_x**2
    shared = of.cross_yy - low * of.cross_yx - high * of.cross_xy + high * low * of.cross_xx
    variance = of_high + of_low - 2.0 * shared / (of.high_x * of.low_x)
    return Uplift(
        basis=UpliftBasis.RANDOMISED_OFFERS,
        value=high - low,
        interval=_interval(high - low, QUANTILE * math.sqrt(max(variance, 0.0))),
        treated_users=of.high_users,
        control_users=of.low_users,
    )


def _converting(total: float, squares: float) -> float:
    """Return how many users of equal weight conversions of this sum and these squares are worth."""
    return total * total / squares if squares > 0.0 else 0.0


def _interval(value: float, half: float) -> Interval:
    return Interval(lower=value - half, upper=value + half)
