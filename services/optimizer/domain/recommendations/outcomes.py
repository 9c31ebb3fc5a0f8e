"""What applied recommendations and ended A/B tests did: predicted beside observed.

After an application the campaign's own rate is compared with that of the days before, an offer's at the
offer recommended with that at the offer it was to replace. That is what happened, not what the change
caused: days differ for other reasons as well. Days are the unit of its intervals (ratio of sums, Cochran
1977, eq. 6.13). What was expected is of the same rate. An A/B test's lift is the test's own. What was
earned, and whether that is what was promised, is `worth` and `promises`.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from scipy.special import betaincinv, stdtrit

from services.optimizer.domain.offers.answer import INTERVAL_LEVEL, Interval
from services.optimizer.domain.recommendations.promises import Comparison, Promise
from services.optimizer.domain.recommendations.recommendations import Draft, RecommendationType
from services.optimizer.domain.recommendations.worth import Figure, Worth

OUTCOME_DAYS = 28
"""Whole days after the day of an application over which its outcome is counted, and as many before it."""
_FEWEST_DAYS = 2


class OutcomeSource(StrEnum):
    """Where an outcome comes from."""

    RECOMMENDATION = "recommendation"
    AB_TEST = "ab_test"


class EffectMetric(StrEnum):
    """What an effect is of: conversions over views or impressions; of an A/B test, users who convert."""

    CONVERSION_RATE = "conversion_rate"
    CONVERSIONS_PER_IMPRESSION = "conversions_per_impression"
    CONVERTING_USERS = "converting_users"


@dataclass(frozen=True, kw_only=True)
class DayCounts:
    """A day's impressions, views and conversions."""

    impressions: int
    views: int
    conversions: int


@dataclass(frozen=True, kw_only=True)
class OutcomeCounts:
    """Trials (views or impressions), conversions and their rate over some days, with its 90 % interval.

    None where not to be said. `relative_variance` is that of the rate, over its square.
    """

    trials: int
    conversions: int
    rate: float | None
    interval: Interval | None
    relative_variance: float | None
    days: int


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a change did; money in micros, None for what nobody knows.

    `worth` is what was earned after and before; `concurrent` has the previous offer on the same days in the
    place of before. Both, and `promise`, are None for what was final before they were kept.
    """

    history_id: str
    campaign_id: str
    source: OutcomeSource
    source_id: str
    type: RecommendationType
    choice: str
    previous_offer_micros: int | None
    offer_micros: int | None
    predicted_rate: float | None
    predicted_interval: Interval | None
    expected_effect: float | None
    observed_views: int
    observed_conversions: int
    observed_interval: Interval | None
    previous_views: int | None
    previous_conversions: int | None
    previous_interval: Interval | None
    effect: float | None
    effect_interval: Interval | None
    applied_at: datetime
    measured_at: datetime
    window_ends_at: datetime
    is_final: bool
    worth: Worth | None = None
    concurrent: Worth | None = None
    promise: Promise | None = None

    @property
    def comparison(self) -> Comparison:
        """What the outcome is best compared with."""
        if self.source is OutcomeSource.AB_TEST:
            return Comparison.RANDOMISED_CONTROL
        return Comparison.BEFORE_AFTER if self.concurrent is None else Comparison.CONCURRENT_OFFER

    @property
    def effect_metric(self) -> EffectMetric:
        """What the expected and the observed effect are of."""
        if self.source is OutcomeSource.AB_TEST:
            return EffectMetric.CONVERTING_USERS
        return measured_by(self.type)

    @property
    def told_effect(self) -> Figure | None:
        """What the change gained, where it can be said how surely."""
        if self.effect is None or self.effect_interval is None:
            return None
        return Figure(value=self.effect, interval=self.effect_interval)

    @property
    def observed_rate_interval(self) -> Interval | None:
        """The 90 % interval of `observed_rate`: over days, else of the views alone."""
        return self.observed_interval or exact_interval(self.observed_conversions, self.observed_views)

    @property
    def previous_rate_interval(self) -> Interval | None:
        """The 90 % interval of `previous_rate`, likewise."""
        return self.previous_interval or exact_interval(
            self.previous_conversions or 0, self.previous_views or 0
        )

    @property
    def expected_effect_interval(self) -> Interval | None:
        """The interval of `expected_effect` where the promise is of the same; that of offers was not kept."""
        if self.expected_effect is None or self.promise is None:
            return None
        if self.promise.metric != self.effect_metric.value:
            return None
        return self.promise.expected.interval

    @property
    def observed_rate(self) -> float | None:
        """Conversions over views since."""
        return self.observed_conversions / self.observed_views if self.observed_views else None

    @property
    def previous_rate(self) -> float | None:
        """Conversions over views before."""
        return (self.previous_conversions or 0) / self.previous_views if self.previous_views else None

    @property
    def previous_predicted_rate(self) -> float | None:
        """The rate predicted at the previous offer, which `expected_effect` is over."""
        if self.predicted_rate is None or self.expected_effect is None:
            return None
        return self.predicted_rate / (1.0 + self.expected_effect)


@dataclass(frozen=True, kw_only=True)
class OutcomeKey:
    """The place of an outcome in the list."""

    applied_at: datetime
    history_id: str


def measured_by(kind: RecommendationType) -> EffectMetric:
    """Return what a type of recommendation changes: hours and channels also who looks."""
    if kind in {RecommendationType.TIMING, RecommendationType.CHANNEL}:
        return EffectMetric.CONVERSIONS_PER_IMPRESSION
    return EffectMetric.CONVERSION_RATE


def expect_effect(draft: Draft) -> float | None:
    """Return what a recommendation lets one expect of the metric its outcome is measured by.

    An offer's effect is on profit, so the two rates that were predicted are compared. Of a segment nothing
    can be expected: nobody knows which share of the deliveries will go to it.
    """
    if draft.type is RecommendationType.OFFER_AMOUNT:
        if draft.predicted_rate is None or not draft.previous_rate:
            return None
        return draft.predicted_rate / draft.previous_rate - 1.0
    return draft.effect if draft.type is not RecommendationType.SEGMENT else None


def count_days(
    days: Sequence[DayCounts], metric: EffectMetric = EffectMetric.CONVERSION_RATE
) -> OutcomeCounts:
    """Return the rate R over days with var(R) = n / (n - 1) sum((y_d - R x_d)^2) / sum(x_d)^2.

    x_d are views, or impressions for CONVERSIONS_PER_IMPRESSION. The interval is on the logarithm, by
    Student's t of the days; None with fewer than two days that had any x_d, or where nobody converted.
    """
    by_impression = metric is EffectMetric.CONVERSIONS_PER_IMPRESSION
    pairs = [(day.impressions if by_impression else day.views, day.conversions) for day in days]
    tried = [(x, y) for x, y in pairs if x]
    trials, conversions = sum(x for x, _ in tried), sum(y for _, y in tried)
    if not trials:
        return OutcomeCounts(
            trials=0, conversions=conversions, rate=None, interval=None, relative_variance=None, days=0
        )
    rate, count = conversions / trials, len(tried)
    variance = interval = None
    if count >= _FEWEST_DAYS and conversions > 0:
        squares = math.fsum((y - rate * x) ** 2 for x, y in tried)
        variance = squares * count / (count - 1) / conversions**2
        interval = _log_interval(rate, variance, count - 1.0, most=1.0)
    return OutcomeCounts(
        trials=trials,
        conversions=conversions,
        rate=rate,
        interval=interval,
        relative_variance=variance,
        days=count,
    )


def compare_counts(after: OutcomeCounts, before: OutcomeCounts) -> tuple[float | None, Interval | None]:
    """Return what the rate gained, relative to before, and its interval on the log ratio."""
    if after.rate is None or not before.rate:
        return None, None
    effect = after.rate / before.rate - 1.0
    if after.relative_variance is None or before.relative_variance is None or not after.rate:
        return effect, None
    degrees = float(min(after.days, before.days) - 1)
    ratio = _log_interval(
        effect + 1.0, after.relative_variance + before.relative_variance, degrees, most=math.inf
    )
    return effect, Interval(lower=ratio.lower - 1.0, upper=ratio.upper - 1.0)


def exact_interval(conversions: int, views: int) -> Interval | None:
    """Return the 90 % interval of a rate whose days say nothing: Clopper & Pearson, Biometrika 26 (1934).

    For a rate of 0 or 1, and of one day alone. It takes views for independent. None without any, and where
    more converted than viewed, which views cannot explain.
    """
    if not 0 <= conversions <= views or not views:
        return None
    tail, missed = (1.0 - INTERVAL_LEVEL) / 2.0, views - conversions
    return Interval(
        lower=float(betaincinv(conversions, missed + 1.0, tail)) if conversions else 0.0,
        upper=float(betaincinv(conversions + 1.0, missed, 1.0 - tail)) if missed else 1.0,
    )


def weigh_promise(
    draft: Draft, worth: Worth | None, concurrent: Worth | None, rate: Figure | None
) -> Promise | None:
    """Return what was promised beside what came, in the metric of the promise; None where nothing was.

    An offer promises profit per view, hours and channels conversions per impression (`rate` is what that
    gained). Of a segment nothing can be expected.
    """
    if draft.effect is None or draft.type is RecommendationType.SEGMENT:
        return None
    expected = Figure(value=draft.effect, interval=draft.interval)
    if draft.type is not RecommendationType.OFFER_AMOUNT:
        return Promise(
            metric=draft.effect_metric, expected=expected, observed=rate, comparison=Comparison.BEFORE_AFTER
        )
    earned = worth if concurrent is None else concurrent
    return Promise(
        metric=draft.effect_metric,
        expected=expected,
        observed=None if earned is None or earned.profit is None else earned.profit.effect,
        comparison=Comparison.BEFORE_AFTER if concurrent is None else Comparison.CONCURRENT_OFFER,
    )


def _log_interval(value: float, variance: float, degrees: float, *, most: float) -> Interval:
    half = float(stdtrit(degrees, (1.0 + INTERVAL_LEVEL) / 2.0)) * math.sqrt(variance)
    half = min(half, 300.0)  # beyond e^300 an end says nothing, and must stay finite
    return Interval(lower=value * math.exp(-half), upper=min(value * math.exp(half), most))
