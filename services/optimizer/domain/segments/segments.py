"""Segments of a campaign type: how often they convert, beside what their campaigns would lead one to expect.

Rates pooled over campaigns mix the segment with the campaigns it was sent. So the ranking goes by indirect
standardisation (observed over expected, Breslow & Day, "Statistical methods in cancer research" II, 1987,
section 2.3): conversions of the segment over those that its views would have had at each campaign's own rate,
at the offers that the segment was sent: managers who send the higher offers to those who convert less would
else make all segments look alike.

A user's views are not independent. Sums of squares and products over the users of a campaign give the
variances within it (linearisation of a ratio, Cochran 1977, eq. 6.13). The same users meet many campaigns,
and who converts readily in one does so in the next; how many are the same is not counted. `_recurrence` says
how much more the sum over campaigns then varies at most.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from scipy.special import betaincinv, ndtr, ndtri

from services.optimizer.domain.offers.answer import INTERVAL_LEVEL, Interval

MOST_PROBABILITY: Final = 0.99
LEAST_PROBABILITY: Final = 0.01
"""No probability above the one, nor below the other, is claimed of a recommendation."""
_TAIL: Final = (1.0 - INTERVAL_LEVEL) / 2.0
QUANTILE: Final = float(ndtri(1.0 - _TAIL))
_PAIR: Final = 2


@dataclass(frozen=True, kw_only=True)
class SegmentSums:
    """A segment in one campaign: sums over its users of views (x) and conversions (y), squares and products.

    `campaign_views` and `campaign_conversions` are the whole campaign's; `offer_factor` is its rate at the
    offers that the segment viewed over that at the offers that everybody did.
    """

    campaign_id: str
    segment_name: str
    users: int
    views: int
    conversions: int
    views_views: int
    views_conversions: int
    conversions_conversions: int
    campaign_views: int
    campaign_conversions: int
    offer_factor: float = 1.0

    @property
    def expected_conversions(self) -> float:
        """What the segment's views would have had at the campaign's own rate and the segment's offers."""
        if not self.campaign_views:
            return 0.0
        return self.views * self.campaign_conversions / self.campaign_views * self.offer_factor

    @property
    def scatter(self) -> float:
        """Return n / (n - 1) sum((y_u - r x_u)^2) at the segment's rate r; a lone user's own square."""
        if self.users < _PAIR or not self.views:
            return float(self.conversions_conversions)
        rate = self.conversions / self.views
        squares = (
            self.conversions_conversions
            - 2.0 * rate * self.views_conversions
            + rate * rate * self.views_views
        )
        return max(squares, 0.0) * self.users / (self.users - 1)

    @property
    def rate(self) -> float:
        """The conversion rate, 0 without views."""
        return self.conversions / self.views if self.views else 0.0

    @property
    def pairs(self) -> int:
        """Return sum x (x - 1): ordered pairs of views of one user."""
        return max(self.views_views - self.views, 0)

    @property
    def excess(self) -> float:
        """What the scatter has beyond that of views which were independent."""
        return self.scatter - self.rate * (1.0 - self.rate) * self.views


@dataclass(frozen=True, kw_only=True)
class SegmentRate:
    """A segment over all campaigns of a type.

    `expected_rate` is what its views would have had at each campaign's own rate, and `ratio` is
    `conversion_rate` over it (None where nothing is expected); its interval and `probability_above_average`
    are None where nobody converted. The expected conversions are taken as known:
    the segment is a part of its campaigns, which makes the interval somewhat too wide and never too narrow.
    """

    segment_name: str
    users: int
    campaigns: int
    conversion_rate: float | None
    conversion_rate_interval: Interval | None
    expected_rate: float | None
    ratio: float | None
    ratio_interval: Interval | None
    probability_above_average: float | None


def claimable(probability: float) -> float:
    """Return the probability, as far as anybody may claim it."""
    return min(max(probability, LEAST_PROBABILITY), MOST_PROBABILITY)


def rate_segments(sums: Sequence[SegmentSums]) -> list[SegmentRate]:
    """Return every named segment, by name; users without any segment are nobody to target."""
    by_name: dict[str, list[SegmentSums]] = {}
    for each in sums:
        if each.segment_name:
            by_name.setdefault(each.segment_name, []).append(each)
    likeness = _likeness(sums)
    return [_rate(name, parts, likeness) for name, parts in sorted(by_name.items())]


def _likeness(sums: Sequence[SegmentSums]) -> float:
    """Return the squared coefficient of variation of users' own rates, over all segments together.

    Two views of a user are alike by it: E sum (y_u - r x_u)^2 = r (1 - r) sum x_u + v r^2 sum x_u (x_u - 1).
    """
    pairs = math.fsum(each.rate**2 * each.pairs for each in sums)
    return max(math.fsum(each.excess for each in sums) / pairs, 0.0) if pairs > 0.0 else 0.0


def _recurrence(parts: Sequence[SegmentSums], likeness: float) -> float:
    """Return what users who recur add at most to the variance of the conversions over campaigns.

    For campaigns c and d it is v r_c r_d sum x_uc x_ud, and the sum of products at most what it is where all
    have the same users, each with the same readiness to view: sqrt(sum x_uc (x_uc - 1) sum x_ud (x_ud - 1)).
    """
    sizes = [part.rate * math.sqrt(part.pairs) for part in parts]
    return likeness * (math.fsum(sizes) ** 2 - math.fsum(size**2 for size in sizes))


def _rate(name: str, parts: Sequence[SegmentSums], likeness: float) -> SegmentRate:
    views, conversions = sum(part.views for part in parts), sum(part.conversions for part in parts)
    expected = math.fsum(part.expected_conversions for part in parts)
    ratio = conversions / expected if expected > 0.0 else None
    variance = math.fsum(part.scatter for part in parts) + _recurrence(parts, likeness)
    error = math.sqrt(variance) / conversions if conversions else None
    return SegmentRate(
        segment_name=name,
        users=sum(part.users for part in parts),
        campaigns=len(parts),
        conversion_rate=conversions / views if views else None,
        conversion_rate_interval=_rate_interval(parts, views, conversions, _recurrence(parts, likeness)),
        expected_rate=expected / views if views else None,
        ratio=ratio,
        ratio_interval=None if not ratio or not error else _log_interval(ratio, error),
        probability_above_average=None if not ratio or not error else float(ndtr(math.log(ratio) / error)),
    )


def _rate_interval(
    parts: Sequence[SegmentSums], views: int, conversions: int, recurrence: float
) -> Interval | None:
    """Return Clopper and Pearson's interval at the effective number of trials (Korn & Graubard 1998).

    That is R (1 - R) over the variance of R by users; where all or nobody converted, one trial per user as
    views meet them: views^2 / sum of squared views.
    """
    if not views or sum(part.users for part in parts) < _PAIR or conversions > views:
        return None
    rate = conversions / views
    squares = recurrence + math.fsum(
        part.conversions_conversions - 2.0 * rate * part.views_conversions + rate * rate * part.views_views
        for part in parts
    )
    trials = views * views / math.fsum(part.views_views for part in parts)
    if 0.0 < rate < 1.0 and squares > 0.0:
        trials = min(rate * (1.0 - rate) * views * views / squares, float(views))
    successes = rate * trials
    return Interval(
        lower=float(betaincinv(successes, trials - successes + 1.0, _TAIL)) if rate > 0.0 else 0.0,
        upper=float(betaincinv(successes + 1.0, trials - successes, 1.0 - _TAIL)) if rate < 1.0 else 1.0,
    )


def _log_interval(ratio: float, error: float) -> Interval:
    return Interval(lower=ratio * math.exp(-QUANTILE * error), upper=ratio * math.exp(QUANTILE * error))
