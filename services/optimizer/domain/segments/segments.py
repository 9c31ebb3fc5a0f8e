"""Segments of a campaign type: how often they convert, beside what everybody would in their campaigns.

The gain of a segment is what a marketer gets who sends these campaigns to it instead of to everybody they
reach: the segment's conversions per view over everybody's in the same campaigns at the same offers, less 1.
Everybody includes the segment itself.

Rates pooled over campaigns mix the segment with the campaigns it was sent. So the ranking goes by indirect
standardisation (observed over expected, Breslow & Day, "Statistical methods in cancer research" II, 1987,
section 2.3): conversions of the segment over those that its views would have had at each campaign's own rate,
at the offers that the segment was sent (`offer_mix`): managers who send the higher offers to those who
convert less would else make all segments look alike.

A user's views are not independent. Sums of squares and products over the users of a campaign give the
variances within it (linearisation of a ratio, Cochran 1977, eq. 6.13). What is expected is estimated too, and
partly from the segment's own users: of a segment that is all of its campaigns the ratio is 1 for certain. The
same users meet many campaigns, and who converts readily in one does so in the next: a sample of users says
how much more the sum over campaigns then varies (`recurrence`), and without it that is taken for as much as
it could be.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Self

from scipy.special import betaincinv, expit, logit, ndtr, ndtri

from services.optimizer.domain.offers.answer import INTERVAL_LEVEL, Interval

MOST_PROBABILITY: Final = 0.99
LEAST_PROBABILITY: Final = 0.01
"""No probability above the one, nor below the other, is claimed of a recommendation."""
_TAIL: Final = (1.0 - INTERVAL_LEVEL) / 2.0
QUANTILE: Final = float(ndtri(1.0 - _TAIL))
_PAIR: Final = 2
_UNSEEN: Final = 3.0


@dataclass(frozen=True, kw_only=True)
class SegmentSums:
    """A segment in one campaign: sums over its users of views (x) and conversions (y), squares and products.

    `campaign_views` and `campaign_conversions` are the whole campaign's; `offer_factor` is its rate at the
    offers that the segment viewed over that at the offers that everybody did, and `offer_spread` how much
    more the former varies, since it rests on fewer views (a design effect, Kish 1965).
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
    offer_spread: float = 1.0

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
    are None where nobody converted, that of `expected_rate` where nobody did in its campaigns.
    """

    segment_name: str
    users: int
    campaigns: int
    conversion_rate: float | None
    conversion_rate_interval: Interval | None
    expected_rate: float | None
    expected_rate_interval: Interval | None
    ratio: float | None
    ratio_interval: Interval | None
    probability_above_average: float | None


def claimable(probability: float) -> float:
    """Return the probability, as far as anybody may claim it."""
    return min(max(probability, LEAST_PROBABILITY), MOST_PROBABILITY)


def rate_segments(sums: Sequence[SegmentSums], inflation: float | None = None) -> list[SegmentRate]:
    """Return every named segment, by name; users without any segment are nobody to target.

    `inflation` is by how much users who meet many campaigns add to the variance (`recurrence`); None where it
    was not measured: then as much as they could.
    """
    by_name: dict[str, list[SegmentSums]] = {}
    for each in sums:
        if each.segment_name:
            by_name.setdefault(each.segment_name, []).append(each)
    scatter = _Scatter.of(sums, inflation)
    return [_rate(name, parts, scatter) for name, parts in sorted(by_name.items())]


@dataclass(frozen=True, kw_only=True)
class _Scatter:
    """How users' conversions scatter, over all segments together.

    `likeness` is the squared coefficient of variation of users' own rates: two views of a user are alike by
    it, E sum (y_u - r x_u)^2 = r (1 - r) sum x_u + v r^2 sum x_u (x_u - 1). `inflation` is the scatter over
    that of independent views, and `pairs_per_view` is sum x_u (x_u - 1) over sum x_u: with them users whose
    squares nobody added up, those of a campaign outside a segment, are taken to be like the others.
    """

    likeness: float
    inflation: float
    pairs_per_view: float
    recurrence: float | None

    @classmethod
    def of(cls, sums: Sequence[SegmentSums], recurrence: float | None) -> Self:
        pairs = math.fsum(each.rate**2 * each.pairs for each in sums)
        independent = math.fsum(each.rate * (1.0 - each.rate) * each.views for each in sums)
        views = sum(each.views for each in sums)
        scatter = math.fsum(each.scatter for each in sums)
        return cls(
            likeness=max(math.fsum(each.excess for each in sums) / pairs, 0.0) if pairs > 0.0 else 0.0,
            inflation=max(scatter / independent, 1.0) if independent > 0.0 else 1.0,
            pairs_per_view=sum(each.pairs for each in sums) / views if views else 0.0,
            recurrence=recurrence,
        )

    def variance(self, groups: Sequence["_Group"], weights: Sequence[float]) -> float:
        """Return the variance of the sum over campaigns of weight times conversions."""
        apart = math.fsum(weight**2 * group.scatter for weight, group in zip(weights, groups, strict=True))
        return apart + self.recurring(groups, weights, apart)

    def unseen(self, parts: Sequence[SegmentSums], weights: Sequence[float]) -> float:
        """Return the variance of a weighted sum of the others' conversions, of whom nobody converted.

        Of none seen, up to three may be expected (rule of three: Hanley and Lippman-Hand, JAMA 249, 1983),
        by as many more as users' conversions come together: that is the 90 % interval's end. 0 where there
        are no others.
        """
        views = [max(part.campaign_views - part.views, 0) for part in parts]
        if not any(views):
            return 0.0
        mean = math.fsum(each * weight for each, weight in zip(views, weights, strict=True)) / sum(views)
        return (mean * _UNSEEN * self.inflation / QUANTILE) ** 2

    def recurring(self, groups: Sequence["_Group"], weights: Sequence[float], apart: float) -> float:
        """Return what users who recur add to the variance `apart` of different users in each campaign.

        Where that was not measured, at most: for campaigns c and d it is v r_c r_d sum x_uc x_ud, and the sum
        of products at most what it is where all have the same users, each with the same readiness to view:
        sqrt(sum x_uc (x_uc - 1) sum x_ud (x_ud - 1)).
        """
        if self.recurrence is not None:
            return (self.recurrence - 1.0) * apart if len(groups) > 1 else 0.0
        sizes = [abs(weight) * group.size for weight, group in zip(weights, groups, strict=True)]
        return self.likeness * (math.fsum(sizes) ** 2 - math.fsum(size**2 for size in sizes))


@dataclass(frozen=True, kw_only=True)
class _Group:
    """Users of one campaign: the variance of their conversions, and r sqrt(sum x_u (x_u - 1))."""

    scatter: float
    size: float

    @classmethod
    def of(cls, part: SegmentSums) -> Self:
        return cls(scatter=part.scatter, size=part.rate * math.sqrt(part.pairs))

    @classmethod
    def outside(cls, part: SegmentSums, scatter: _Scatter) -> Self:
        """Those of the segment's campaign who are not in the segment."""
        views = max(part.campaign_views - part.views, 0)
        rate = min(max(part.campaign_conversions - part.conversions, 0) / views, 1.0) if views else 0.0
        return cls(
            scatter=scatter.inflation * rate * (1.0 - rate) * views * part.offer_spread,
            size=rate * math.sqrt(scatter.pairs_per_view * views * part.offer_spread),
        )


@dataclass(frozen=True, kw_only=True)
class _Comparison:
    """A segment's conversions and those expected, and the standard errors of their logs' difference.

    By the delta method: a conversion of the segment's users in a campaign adds 1 / observed to the log of
    what is observed, and w / (the campaign's conversions) to that of what is expected, w the campaign's
    share of the expected; one of its other users the latter alone.
    """

    observed: int
    expected: float
    log_error: float | None
    expected_log_error: float | None

    @classmethod
    def of(cls, parts: Sequence[SegmentSums], scatter: _Scatter) -> Self:
        observed = sum(part.conversions for part in parts)
        expected = math.fsum(part.expected_conversions for part in parts)
        if expected <= 0.0:
            return cls(observed=observed, expected=expected, log_error=None, expected_log_error=None)
        pulls = [
            part.expected_conversions / expected / part.campaign_conversions
            if part.campaign_conversions
            else 0.0
            for part in parts
        ]
        own = [_Group.of(part) for part in parts]
        outside = [_Group.outside(part, scatter) for part in parts]
        of_outside = scatter.variance(outside, pulls) or scatter.unseen(parts, pulls)
        spread = [pull * math.sqrt(part.offer_spread) for pull, part in zip(pulls, parts, strict=True)]
        log_error = None
        if observed:
            differences = [1.0 / observed - pull for pull in pulls]
            log_error = math.sqrt(scatter.variance(own, differences) + of_outside)
        return cls(
            observed=observed,
            expected=expected,
            log_error=log_error,
            expected_log_error=math.sqrt(scatter.variance(own, spread) + of_outside),
        )

    @property
    def ratio(self) -> float | None:
        return self.observed / self.expected if self.expected > 0.0 else None

    @property
    def ratio_interval(self) -> Interval | None:
        if not self.ratio or self.log_error is None:
            return None
        apart = math.exp(QUANTILE * self.log_error)
        return Interval(lower=self.ratio / apart, upper=self.ratio * apart)

    @property
    def probability_above_average(self) -> float | None:
        if not self.ratio or self.log_error is None:
            return None
        if self.log_error <= 0.0:
            return 0.5  # it is everybody
        return float(ndtr(math.log(self.ratio) / self.log_error))

    def expected_interval(self, views: int) -> Interval | None:
        """Return the interval of the expected rate, normal on the logit."""
        rate = self.expected / views if views else 0.0
        if self.expected_log_error is None or not 0.0 < rate < 1.0:
            return None
        apart = QUANTILE * self.expected_log_error / (1.0 - rate)
        centre = logit(rate)
        return Interval(lower=float(expit(centre - apart)), upper=float(expit(centre + apart)))


def _rate(name: str, parts: Sequence[SegmentSums], scatter: _Scatter) -> SegmentRate:
    views, conversions = sum(part.views for part in parts), sum(part.conversions for part in parts)
    compared = _Comparison.of(parts, scatter)
    return SegmentRate(
        segment_name=name,
        users=sum(part.users for part in parts),
        campaigns=len(parts),
        conversion_rate=conversions / views if views else None,
        conversion_rate_interval=_rate_interval(parts, views, conversions, scatter),
        expected_rate=compared.expected / views if views else None,
        expected_rate_interval=compared.expected_interval(views),
        ratio=compared.ratio,
        ratio_interval=compared.ratio_interval,
        probability_above_average=compared.probability_above_average,
    )


def _rate_interval(
    parts: Sequence[SegmentSums], views: int, conversions: int, scatter: _Scatter
) -> Interval | None:
    """Return Clopper and Pearson's interval at the effective number of trials (Korn & Graubard 1998).

    That is R (1 - R) over the variance of R by users; where all or nobody converted, one trial per user as
    views meet them: views^2 / sum of squared views.
    """
    if not views or sum(part.users for part in parts) < _PAIR or conversions > views:
        return None
    rate = conversions / views
    squares = math.fsum(
        part.conversions_conversions - 2.0 * rate * part.views_conversions + rate * rate * part.views_views
        for part in parts
    )
    squares += scatter.recurring([_Group.of(part) for part in parts], [1.0] * len(parts), squares)
    trials = views * views / math.fsum(part.views_views for part in parts)
    if 0.0 < rate < 1.0 and squares > 0.0:
        trials = min(rate * (1.0 - rate) * views * views / squares, float(views))
    successes = rate * trials
    return Interval(
        lower=float(betaincinv(successes, trials - successes + 1.0, _TAIL)) if rate > 0.0 else 0.0,
        upper=float(betaincinv(successes + 1.0, trials - successes, 1.0 - _TAIL)) if rate < 1.0 else 1.0,
    )
