"""Which channel to send a campaign over: campaigns of its type compared by what an impression brings.

A campaign's channel was chosen by somebody, and campaigns differ for other reasons as well. So the campaign
is the unit: the mean of conversions per impression of campaigns on one channel against that of those on
another, as the log of their ratio, where both channels have at least `MINIMUM_CAMPAIGNS`. The logs of
campaigns' own rates would be biased upwards for small campaigns, a mean of rates is not.

Few campaigns, of very uneven size, may lie close together by chance. So a channel's variance is the
jackknife's (a campaign left out at a time: Efron & Stein 1981; the CR3 of cluster-robust errors), with
Satterthwaite's degrees of freedom for campaigns of unequal variance (Bell & McCaffrey 2002), and at least
what campaigns of all channels together say of how much campaigns differ. Three that spread more than the
others' lie mostly below their mean, which no variance of theirs shows. So a second comparison goes by what
skewed rates may be (`channel_means`): a channel is as sure to be better as the less sure of both says, and
the interval reaches to both of their ends. Of several other channels the best looks better than it is, so its
interval and probability are Bonferroni's.

A channel that converts more may cost more still. Where costs of both are recorded, in one currency, each is
told with its cost per conversion: the mean of campaigns' costs per impression over that of their conversions
per impression.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Self

import numpy as np
from scipy.special import stdtr, stdtrit

from services.optimizer.domain.features import MICROS_PER_UNIT, FloatArray
from services.optimizer.domain.offers.answer import INTERVAL_LEVEL, Interval
from services.optimizer.domain.recommendations.best_of import at_least
from services.optimizer.domain.recommendations.channel_means import MeanLaw

MINIMUM_CAMPAIGNS: Final = 3
MINIMUM_IMPRESSIONS: Final = 100
"""Impressions below which a campaign on a channel says next to nothing."""
_LARGEST_LOG_RATIO: Final = 10.0
_TAIL: Final = (1.0 - INTERVAL_LEVEL) / 2.0
CHANNEL_METHOD: Final = "jackknife_and_logit_normal_bonferroni"


@dataclass(frozen=True, kw_only=True)
class ChannelSums:
    """What one campaign did over one channel; `channel` is the wire's number, money in micros.

    `currency_code` is empty where nobody knows it.
    """

    campaign_id: str
    channel: int
    impressions: int
    conversions: int
    cost_micros: int
    currency_code: str = ""

    @property
    def rate(self) -> float:
        """Conversions per impression."""
        return self.conversions / self.impressions


@dataclass(frozen=True, kw_only=True)
class ChannelCosts:
    """What impressions and conversions cost, of the other channel and the current one, in currency units."""

    per_impression: float
    current_per_impression: float
    per_conversion: float
    current_per_conversion: float
    currency_code: str

    @property
    def gains(self) -> bool:
        """Whether a conversion costs less than today, by the point estimates."""
        return self.per_conversion < self.current_per_conversion


@dataclass(frozen=True, kw_only=True)
class ChannelChoice:
    """The best other channel against the current one; `effect` is relative, in conversions per impression.

    `probability` is that of being better by itself, of `compared` other channels; `confidence` is at least
    so, allowing for them (`best_of`). `most_effect` is the highest upper end of the 90 % intervals of what
    any other channel gains, that of `most_channel`; both None where one has too few conversions to say.
    `costs` are None where those of one are not recorded, or their campaigns count in several currencies.
    """

    channel: int
    current_channel: int
    effect: float
    interval: Interval
    probability: float
    compared: int
    campaigns: int
    current_campaigns: int
    most_effect: float | None
    most_channel: int | None
    costs: ChannelCosts | None

    @property
    def confidence(self) -> float:
        """What the probability of being better is at least."""
        return at_least(self.probability, self.compared)


def choose_channel(sums: Sequence[ChannelSums], current_channel: int) -> ChannelChoice | None:
    """Return the other channel with the highest mean rate; None where nothing can be compared."""
    usable = [each for each in sums if each.impressions >= MINIMUM_IMPRESSIONS]
    by_channel: dict[int, list[ChannelSums]] = {}
    for each in usable:
        by_channel.setdefault(each.channel, []).append(each)
    enough = {name: of for name, of in by_channel.items() if len(of) >= MINIMUM_CAMPAIGNS}
    if current_channel not in enough or len(enough) == 1:
        return None
    levels = {name: level for name, of in enough.items() if (level := _Level.of(of)) is not None}
    if current_channel not in levels or len(levels) == 1:
        return None
    best = max(sorted(levels.keys() - {current_channel}), key=lambda name: levels[name].log_mean)
    compared = _Comparison.of(levels[best], levels[current_channel], list(levels.values()))
    others = len(enough) - 1
    lower, upper = compared.ends(_TAIL / others)
    most = _most_effect(levels, current_channel) if len(levels) == len(enough) else None
    return ChannelChoice(
        channel=best,
        current_channel=current_channel,
        effect=math.expm1(compared.difference),
        interval=Interval(lower=math.expm1(lower), upper=math.expm1(upper)),
        probability=1.0 - compared.doubt,
        compared=others,
        campaigns=len(enough[best]),
        current_campaigns=len(enough[current_channel]),
        most_effect=None if most is None else most[0],
        most_channel=None if most is None else most[1],
        costs=_costs(enough[best], enough[current_channel]),
    )


@dataclass(frozen=True, kw_only=True)
class _Level:
    """A channel's log of the mean rate, with its variance and the variance's degrees of freedom.

    `law` is what the same would be if rates were logit-normal.
    """

    log_mean: float
    variance: float
    degrees: float
    campaigns: int
    law: MeanLaw

    @classmethod
    def of(cls, group: Sequence[ChannelSums]) -> Self | None:
        """None where all that converted were of one campaign at most: without it there is no rate.

        The variance is at least what counting alone gives at the group's pooled rate, so that rates alike by
        chance claim nothing.
        """
        rates = np.array([each.rate for each in group])
        if (rates > 0.0).sum() <= 1:
            return None
        impressions = np.array([each.impressions for each in group])
        count, mean = len(group), float(rates.mean())
        counting = sum(each.conversions for each in group) / float(impressions.sum()) / impressions
        without = (mean - rates / count) / (1.0 - 1.0 / count)
        jackknife = (count - 1) / count * float((np.log(mean / without) ** 2).sum())
        between = max(float(rates.var(ddof=1)) - float(counting.mean()), 0.0)
        return cls(
            log_mean=math.log(mean),
            variance=max(jackknife, float(counting.mean()) / count / mean**2),
            degrees=_satterthwaite_degrees(between + counting),
            campaigns=count,
            law=MeanLaw.of([each.impressions for each in group], [each.conversions for each in group]),
        )


def _satterthwaite_degrees(variances: FloatArray) -> float:
    """Degrees of freedom of the spread around the mean of values with such variances.

    tr(A S)^2 / tr(A S A S) of the centring matrix A and S = diag(variances): n - 1 where all are alike, fewer
    where a few values make most of the spread.
    """
    count = len(variances)
    total, squares = float(variances.sum()), float((variances**2).sum())
    apart = 1.0 - 1.0 / count
    return (total * apart) ** 2 / (squares * apart**2 + (total**2 - squares) / count**2)


@dataclass(frozen=True, kw_only=True)
class _Comparison:
    """The difference of two channels' log means, its standard error and Satterthwaite's degrees."""

    first: _Level
    second: _Level
    error: float
    degrees: float

    @classmethod
    def of(cls, first: _Level, second: _Level, of_all: Sequence[_Level]) -> Self:
        """A channel's own variance counts where it is larger than the one pooled over channels."""
        freedom = sum(level.campaigns - 1 for level in of_all)
        pooled = sum((level.campaigns - 1) * level.campaigns * level.variance for level in of_all) / freedom
        degrees_of_all = sum(level.degrees for level in of_all)
        parts = [
            (level.variance, level.degrees)
            if level.variance >= pooled / level.campaigns
            else (pooled / level.campaigns, degrees_of_all)
            for level in (first, second)
        ]
        total = sum(variance for variance, _ in parts)
        degrees = total**2 / sum(variance**2 / of_it for variance, of_it in parts)
        return cls(first=first, second=second, error=math.sqrt(total), degrees=degrees)

    @property
    def difference(self) -> float:
        return self.first.log_mean - self.second.log_mean

    @property
    def doubt(self) -> float:
        """The larger of both probabilities that the first is no better."""
        by_means = float(stdtr(self.degrees, -self.difference / self.error))
        return max(by_means, self.first.law.probability_below(self.second.law))

    def ends(self, tail: float) -> tuple[float, float]:
        """The ends of both intervals that lie furthest out, each leaving `tail` beyond."""
        half = float(stdtrit(self.degrees, 1.0 - tail)) * self.error
        first, second = self.first.law, self.second.law
        lower = min(self.difference - half, first.quantile_over(second, tail))
        upper = max(self.difference + half, first.quantile_over(second, 1.0 - tail))
        return lower, min(upper, max(self.difference, _LARGEST_LOG_RATIO))


def _most_effect(levels: Mapping[int, _Level], current_channel: int) -> tuple[float, int]:
    """Return the highest upper end of the intervals, each taken by itself, of what others gain, and whose."""
    of_all, current = list(levels.values()), levels[current_channel]
    return max(
        (math.expm1(_Comparison.of(levels[name], current, of_all).ends(_TAIL)[1]), name)
        for name in levels.keys() - {current_channel}
    )


def _costs(group: Sequence[ChannelSums], current: Sequence[ChannelSums]) -> ChannelCosts | None:
    """Return the costs of both, each campaign counting alike; a channel without cost has none recorded."""
    currencies = {each.currency_code for each in (*group, *current)}
    per_impression, current_per_impression = _mean_cost(group), _mean_cost(current)
    if len(currencies) > 1 or not per_impression or not current_per_impression:
        return None
    return ChannelCosts(
        per_impression=per_impression,
        current_per_impression=current_per_impression,
        per_conversion=per_impression / _mean_rate(group),
        current_per_conversion=current_per_impression / _mean_rate(current),
        currency_code=currencies.pop(),
    )


def _mean_cost(group: Sequence[ChannelSums]) -> float:
    return sum(each.cost_micros / MICROS_PER_UNIT / each.impressions for each in group) / len(group)


def _mean_rate(group: Sequence[ChannelSums]) -> float:
    return sum(each.rate for each in group) / len(group)
