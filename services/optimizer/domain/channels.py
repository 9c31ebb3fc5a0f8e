"""Which channel to send a campaign over: campaigns of its type compared by what an impression brings.

A campaign's channel was chosen by somebody, and campaigns differ for other reasons as well. So the campaign
is the unit: the mean of conversions per impression of campaigns on one channel against that of those on
another, as the log of their ratio (variances by the delta method) with Welch's t (Biometrika 34, 1947), where
both channels have at least `MINIMUM_CAMPAIGNS`. The logs of campaigns' own rates would be biased upwards for
small campaigns, a mean of rates is not. Of several other channels the best looks better than it is, so its
interval and probability are Bonferroni's.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy.special import stdtr, stdtrit

from services.optimizer.domain.offer_answer import INTERVAL_LEVEL, Interval
from services.optimizer.domain.segments import MOST_PROBABILITY

MINIMUM_CAMPAIGNS: Final = 3
MINIMUM_IMPRESSIONS: Final = 100
"""Impressions below which a campaign on a channel says next to nothing."""
CHANNEL_METHOD: Final = "welch_log_rate_bonferroni"


@dataclass(frozen=True, kw_only=True)
class ChannelSums:
    """What one campaign did over one channel; `channel` is the wire's number, money in micros."""

    campaign_id: str
    channel: int
    impressions: int
    conversions: int
    cost_micros: int

    @property
    def rate(self) -> float:
        """Conversions per impression."""
        return self.conversions / self.impressions


@dataclass(frozen=True, kw_only=True)
class ChannelChoice:
    """The best other channel against the current one; `effect` is relative, in conversions per impression."""

    channel: int
    current_channel: int
    effect: float
    interval: Interval
    confidence: float
    campaigns: int
    current_campaigns: int
    cost_per_impression: float
    current_cost_per_impression: float


def choose_channel(sums: Sequence[ChannelSums], current_channel: int) -> ChannelChoice | None:
    """Return the other channel with the highest mean rate; None where nothing can be compared."""
    usable = [each for each in sums if each.impressions >= MINIMUM_IMPRESSIONS]
    by_channel: dict[int, list[ChannelSums]] = {}
    for each in usable:
        by_channel.setdefault(each.channel, []).append(each)
    enough = {name: of for name, of in by_channel.items() if len(of) >= MINIMUM_CAMPAIGNS}
    if current_channel not in enough or len(enough) == 1:
        return None
    means = {name: float(np.mean([each.rate for each in of])) for name, of in enough.items()}
    best = max(sorted(enough.keys() - {current_channel}), key=lambda name: means[name])
    if min(means[best], means[current_channel]) <= 0.0:
        return None
    difference, error, degrees = _welch(enough[best], enough[current_channel])
    others = len(enough) - 1
    half = float(stdtrit(degrees, 1.0 - (1.0 - INTERVAL_LEVEL) / 2.0 / others)) * error
    doubt = others * float(stdtr(degrees, -difference / error))
    return ChannelChoice(
        channel=best,
        current_channel=current_channel,
        effect=math.expm1(difference),
        interval=Interval(lower=math.expm1(difference - half), upper=math.expm1(difference + half)),
        confidence=min(max(1.0 - doubt, 1.0 - MOST_PROBABILITY), MOST_PROBABILITY),
        campaigns=len(enough[best]),
        current_campaigns=len(enough[current_channel]),
        cost_per_impression=_cost(enough[best]),
        current_cost_per_impression=_cost(enough[current_channel]),
    )


def _welch(first: Sequence[ChannelSums], second: Sequence[ChannelSums]) -> tuple[float, float, float]:
    """Return the log of the ratio of mean rates, its standard error and Welch and Satterthwaite's degrees."""
    means, variances = zip(*(_mean_and_variance(group) for group in (first, second)), strict=True)
    total = sum(variances)
    degrees = total**2 / sum(
        variance**2 / (len(group) - 1) for variance, group in zip(variances, (first, second), strict=True)
    )
    return math.log(means[0] / means[1]), math.sqrt(total), degrees


def _mean_and_variance(group: Sequence[ChannelSums]) -> tuple[float, float]:
    """Return the mean rate, above 0, and the variance of its log.

    The variance is at least what counting alone gives at the group's pooled rate, so that rates alike by
    chance claim nothing.
    """
    rates = np.array([each.rate for each in group])
    impressions = np.array([each.impressions for each in group])
    pooled = sum(each.conversions for each in group) / float(impressions.sum())
    counting = pooled * float(np.mean(1.0 / impressions))
    mean = float(rates.mean())
    return mean, max(float(rates.var(ddof=1)), counting) / len(group) / mean**2


def _cost(group: Sequence[ChannelSums]) -> float:
    return sum(each.cost_micros for each in group) / 1e6 / sum(each.impressions for each in group)
