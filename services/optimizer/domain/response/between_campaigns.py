"""How campaigns of one type differ from each other, which is what nobody knows of one that is only planned.

Campaign c of a type has a level l_c on the logit scale: what is left of its conversion rate once the fitted
response to its offers is taken away. Levels scatter by what campaigns really differ in (tau^2) and by chance
(v_c). tau^2 is Paule & Mandel's ("Consensus values and weighting factors", J. Res. NBS 87 (1982), section
2): the value at which sum (l_c - m)^2 / (v_c + tau^2) is its own expectation, the number of campaigns less
one; m is the mean weighted by 1 / (v_c + tau^2). A new campaign's level then lies around m by Student's t
with the variance tau^2 (Higgins, Thompson & Spiegelhalter, JRSS A 172 (2009), equation 12). Views per
impression are treated the same. A campaign's own days scatter too, by what `day_deviation` says: with k of
n viewers converting on a day and p expected, the excess of (k - n p)^2 over n p (1 - p) is (n p (1 - p))^2
times its square.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np
from scipy.special import ndtri, stdtrit

from services.optimizer.domain.features import MICROS_PER_UNIT, DailyTable, FloatArray, IntArray
from services.optimizer.domain.response.response import ResponseModel, logistic, logit

PRIOR_CAMPAIGNS: Final = 5.0
"""The campaigns that all types' pooled spread counts for beside a type's own: a type of two campaigns that
happen to be alike does not make every third one like them."""
FEWEST_CAMPAIGNS: Final = 3
"""Fewer campaigns of all types together tell of no spread."""
LEAST_OWN_SHARE: Final = 0.25
"""At least this share of a type's variance is campaigns' own, whatever merchants seem to explain."""
_LEAST_VARIANCE: Final = 1e-6
_QUANTILES: Final = 400
_STEPS: Final = 60
_LARGEST_STEP: Final = 1.0


@dataclass(frozen=True, kw_only=True)
class Spread:
    """Where campaigns lie on the logit scale; `degrees` of freedom are those of the deviation."""

    mean: float
    deviation: float
    degrees: float

    def draw(self, uniform: FloatArray) -> FloatArray:
        """Return where new campaigns lie, given uniform draws."""
        return np.asarray(self.mean + self.deviation * stdtrit(self.degrees, uniform))

    def expected_rate(self, effect: float) -> float:
        """Return the mean rate of new campaigns, `effect` (of the logit) added."""
        return float(np.mean(logistic(effect + self.mean + self.deviations)))

    @property
    def deviations(self) -> FloatArray:
        """How far from the mean equally likely campaigns lie (400)."""
        quantiles = (np.arange(_QUANTILES) + 0.5) / _QUANTILES
        return np.asarray(self.deviation * stdtrit(self.degrees, quantiles))

    @property
    def normal_deviation(self) -> float:
        """The standard deviation of the normal law with the same 90 % interval."""
        return self.deviation * float(stdtrit(self.degrees, 0.95) / ndtri(0.95))


@dataclass(frozen=True, kw_only=True)
class TypeSpread:
    """How campaigns of a type differ, by their levels and by their views per impression."""

    campaigns: int
    level: Spread
    view_rate: Spread


@dataclass(frozen=True, kw_only=True)
class MerchantEffect:
    """What a merchant's campaigns have in common, on the logit scale, and how uncertain that is."""

    mean: float
    variance: float


@dataclass(frozen=True, kw_only=True)
class BetweenCampaigns:
    """How campaigns differ: by type (one that is missing had too few), by merchant, and from day to day.

    `merchant_variance` is what merchants differ by; `day_deviation` the standard deviation of a campaign's
    days around its level.
    """

    types: Mapping[int, TypeSpread] = field(default_factory=dict)
    merchants: Mapping[int, MerchantEffect] = field(default_factory=dict)
    merchant_variance: float = 0.0
    day_deviation: float = 0.0

    def new_level(self, campaign_type: int, merchant_id: int) -> Spread | None:
        """Return where the level of a merchant's new campaign lies, None where nothing tells.

        What the merchant's campaigns have in common leaves the type's variance, and its uncertainty enters.
        """
        of_type = self.types.get(campaign_type)
        if of_type is None:
            return None
        merchant = self.merchants.get(merchant_id, MerchantEffect(mean=0.0, variance=self.merchant_variance))
        total = of_type.level.deviation**2
        own = max(total - self.merchant_variance, LEAST_OWN_SHARE * total)
        variance = (own + merchant.variance) * (1.0 + 1.0 / of_type.campaigns)
        return Spread(
            mean=of_type.level.mean + merchant.mean,
            deviation=math.sqrt(variance),
            degrees=of_type.level.degrees,
        )

    def new_view_rate(self, campaign_type: int) -> Spread:
        """Return where the logit of a new campaign's views per impression lies."""
        of_type = self.types[campaign_type]
        deviation = of_type.view_rate.deviation * math.sqrt(1.0 + 1.0 / of_type.campaigns)
        return replace(of_type.view_rate, deviation=deviation)


def survey_campaigns(table: DailyTable, response: ResponseModel) -> BetweenCampaigns:
    """Return how campaigns of types with an identified response differ, from rows with views."""
    usable = table.select(table.is_usable & np.isin(table.campaign_type, sorted(response)))
    campaigns, position = np.unique(usable.campaign, return_inverse=True)
    if len(campaigns) < FEWEST_CAMPAIGNS:
        return BetweenCampaigns()
    kinds, merchants = np.zeros((2, len(campaigns)), dtype=np.int64)
    kinds[position], merchants[position] = usable.campaign_type, usable.merchant_id
    effect = np.zeros(len(usable))
    for kind in np.unique(kinds):
        rows = usable.campaign_type == kind
        effect[rows] = response[int(kind)].effect(usable.offer_micros[rows] / MICROS_PER_UNIT)
    conversions = np.minimum(usable.conversions, usable.views)
    levels, variances = _levels(position, usable.views, conversions, effect)
    impressions = np.maximum(usable.impressions, usable.views)
    level_spreads = _spreads(kinds, levels, variances)
    viewed = _levels(position, impressions, usable.views, np.zeros(len(usable)))
    view_spreads = _spreads(kinds, *viewed)
    if not level_spreads:
        return BetweenCampaigns()
    centres = np.array([level_spreads[int(kind)].mean for kind in kinds])
    effects, merchant_variance = _merchant_effects(merchants, levels - centres, variances)
    return BetweenCampaigns(
        types={
            kind: TypeSpread(campaigns=int(np.sum(kinds == kind)), level=level, view_rate=view_spreads[kind])
            for kind, level in level_spreads.items()
        },
        merchants=effects,
        merchant_variance=merchant_variance,
        day_deviation=_day_deviation(usable.views, conversions, logistic(levels[position] + effect)),
    )


def _merchant_effects(
    merchants: IntArray, deviations: FloatArray, variances: FloatArray
) -> tuple[dict[int, MerchantEffect], float]:
    """Return what each merchant's campaigns have in common, and its variance between merchants.

    The variance is Henderson's method 1 ("Estimation of variance and covariance components", Biometrics 9
    (1953)): (SS between - (m - 1) MS within) / (n - sum n_j^2 / n), for m merchants with n_j of n campaigns.
    A merchant's effect is the best linear unbiased prediction: its campaigns' weighted mean, drawn towards 0.
    Merchant 0 is an unknown one.
    """
    known = merchants != 0
    ids, place = np.unique(merchants[known], return_inverse=True)
    values, errors = deviations[known], variances[known]
    counts = np.bincount(place, minlength=len(ids))
    freedom = len(values) - len(ids)
    if freedom < 1 or len(ids) < FEWEST_CAMPAIGNS:
        return {}, 0.0
    centres = np.bincount(place, weights=values) / counts
    within = float(np.sum((values - centres[place]) ** 2)) / freedom
    apart = float(np.sum(counts * (centres - values.mean()) ** 2)) - (len(ids) - 1) * within
    size = len(values) - float(np.sum(counts**2)) / len(values)
    between = max(apart / size, 0.0)
    weights = 1.0 / np.maximum(np.maximum(within - float(errors.mean()), 0.0) + errors, _LEAST_VARIANCE)
    total = np.bincount(place, weights=weights)
    mean = np.bincount(place, weights=weights * values) / total
    shrunk = between * total / (1.0 + between * total)
    effects = {
        int(merchant): MerchantEffect(mean=float(effect), variance=float(between * (1.0 - share)))
        for merchant, effect, share in zip(ids, shrunk * mean, shrunk, strict=True)
    }
    return effects, between


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


def _day_deviation(views: IntArray, conversions: IntArray, expected: FloatArray) -> float:
    """Return how days scatter around their campaign's level beyond chance, 0 where they do not."""
    information = views * expected * (1.0 - expected)
    excess = float(np.sum((conversions - views * expected) ** 2 - information))
    return math.sqrt(max(excess, 0.0) / float(np.sum(information**2)))


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
