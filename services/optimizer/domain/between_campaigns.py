"""How campaigns of one type differ from each other, which is what nobody knows of one that is only planned.

Campaign c of a type has a level l_c on the logit scale: what is left of its conversion rate once the fitted
response to its offers is taken away. Levels scatter by what campaigns really differ in (tau^2) and by chance
(v_c). tau^2 is Paule & Mandel's ("Consensus values and weighting factors", J. Res. NBS 87 (1982), section
2): the value at which sum (l_c - m)^2 / (v_c + tau^2) is its own expectation, the number of campaigns less
one; m is the mean weighted by 1 / (v_c + tau^2). A new campaign's level then lies around m by Student's t
with the variance tau^2 (Higgins, Thompson & Spiegelhalter, JRSS A 172 (2009), equation 12). Views per
impression are treated the same.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy.special import ndtri, stdtrit

from services.optimizer.domain.features import MICROS_PER_UNIT, DailyTable, FloatArray, IntArray
from services.optimizer.domain.response import ResponseModel, logistic, logit

PRIOR_CAMPAIGNS: Final = 5.0
"""The campaigns that all types' pooled spread counts for beside a type's own: a type of two campaigns that
happen to be alike does not make every third one like them."""
FEWEST_CAMPAIGNS: Final = 3
"""Fewer campaigns of all types together tell of no spread."""
_STEPS: Final = 60
_LARGEST_STEP: Final = 1.0


@dataclass(frozen=True, kw_only=True)
class Spread:
    """Where campaigns lie on the logit scale; `degrees` of freedom are those of the deviation."""

    mean: float
    deviation: float
    degrees: float


@dataclass(frozen=True, kw_only=True)
class TypeSpread:
    """How campaigns of a type differ, by their levels and by their views per impression."""

    campaigns: int
    level: Spread
    view_rate: Spread

    @property
    def new_level_deviation(self) -> float:
        """The standard deviation of the normal law whose 90 % interval a new campaign's level has."""
        return float(self._draw(self.level, np.array([0.95]))[0] / ndtri(0.95))

    def draw_levels(self, uniform: FloatArray) -> FloatArray:
        """Return how far new campaigns' levels lie from the mean, given uniform draws."""
        return self._draw(self.level, uniform)

    def draw_view_rates(self, uniform: FloatArray) -> FloatArray:
        """Return the share of a new campaign's impressions that are viewed, given uniform draws."""
        return logistic(self.view_rate.mean + self._draw(self.view_rate, uniform))

    def _draw(self, spread: Spread, uniform: FloatArray) -> FloatArray:
        deviation = spread.deviation * np.sqrt(1.0 + 1.0 / self.campaigns)
        return np.asarray(deviation * stdtrit(spread.degrees, uniform))


BetweenCampaigns = Mapping[int, TypeSpread]
"""By campaign type; a type that is missing had no campaign, or all types together had too few."""


def survey_campaigns(table: DailyTable, response: ResponseModel) -> BetweenCampaigns:
    """Return how campaigns of each type with an identified response differ, from rows with views."""
    usable = table.select(table.is_usable & np.isin(table.campaign_type, sorted(response)))
    campaigns, position = np.unique(usable.campaign, return_inverse=True)
    if len(campaigns) < FEWEST_CAMPAIGNS:
        return {}
    kinds = np.zeros(len(campaigns), dtype=np.int64)
    kinds[position] = usable.campaign_type
    effect = np.zeros(len(usable))
    for kind in np.unique(kinds):
        rows = usable.campaign_type == kind
        effect[rows] = response[int(kind)].effect(usable.offer_micros[rows] / MICROS_PER_UNIT)
    levels = _levels(position, usable.views, np.minimum(usable.conversions, usable.views), effect)
    impressions = np.maximum(usable.impressions, usable.views)
    viewed = _levels(position, impressions, usable.views, np.zeros(len(usable)))
    level_spreads, view_spreads = _spreads(kinds, *levels), _spreads(kinds, *viewed)
    return {
        kind: TypeSpread(
            campaigns=int(np.sum(kinds == kind)), level=level_spreads[kind], view_rate=view_spreads[kind]
        )
        for kind in level_spreads
    }


def _levels(
    position: IntArray, trials: IntArray, successes: IntArray, effect: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Return each campaign's level and the variance of its error.

    The level solves sum trials * logistic(level + effect) = successes over the campaign's rows, by Newton's
    method; half a success and half a failure are added, so that it is finite.
    """
    counts = np.bincount(position, weights=trials)
    reached = (np.bincount(position, weights=successes) + 0.5) / (counts + 1.0)
    level = logit(reached) - np.bincount(position, weights=trials * effect) / counts
    for _ in range(_STEPS):
        rates = logistic(level[position] + effect)
        information = np.bincount(position, weights=trials * rates * (1.0 - rates))
        missing = reached * counts - np.bincount(position, weights=trials * rates)
        level += np.clip(missing / np.maximum(information, 1e-9), -_LARGEST_STEP, _LARGEST_STEP)
    return level, 1.0 / np.maximum(information, 1e-9)


def _spreads(kinds: IntArray, values: FloatArray, variances: FloatArray) -> dict[int, Spread]:
    """Return each type's mean and spread, the spread drawn towards that of all types together."""
    own = {
        int(kind): paule_mandel(values[kinds == kind], variances[kinds == kind]) for kind in np.unique(kinds)
    }
    freedom = {kind: float(np.sum(kinds == kind)) - 1.0 for kind in own}
    total = sum(freedom.values())
    if total < 1.0:
        return {}
    pooled = sum(freedom[kind] * spread for kind, (_, spread) in own.items()) / total
    prior = min(PRIOR_CAMPAIGNS, total)
    return {
        kind: Spread(
            mean=mean,
            deviation=float(np.sqrt((freedom[kind] * spread + prior * pooled) / (freedom[kind] + prior))),
            degrees=freedom[kind] + prior,
        )
        for kind, (mean, spread) in own.items()
    }


def paule_mandel(values: FloatArray, variances: FloatArray) -> tuple[float, float]:
    """Return the weighted mean and tau^2 of values with known error variances; tau^2 is 0 for a single one.

    Q(tau^2) falls with tau^2, so that Newton's method from 0 climbs to the root without passing it.
    """
    between = 0.0
    for _ in range(_STEPS):
        weights = 1.0 / (variances + between)
        mean = float(np.average(values, weights=weights))
        excess = float(np.sum(weights * (values - mean) ** 2)) - (len(values) - 1)
        if excess <= 0.0:
            break
        between += excess / float(np.sum((weights * (values - mean)) ** 2))
    return mean, between
