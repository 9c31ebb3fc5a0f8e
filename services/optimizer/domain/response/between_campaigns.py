"""How campaigns of one type differ from each other, which is what nobody knows of one that is only planned.

Campaign c of a type has a level l_c on the logit scale: what is left of its conversion rate once the fitted
response to its offers is taken away. Levels scatter around the type's mean m by what campaigns really differ
in (tau^2), and counts by chance beside; `logit_normal` parts the two. A new campaign's level then lies around
m by Student's t with the variance tau^2 + 1 / sum 1 / (v_c + tau^2), v_c being the variances of levels'
errors (Higgins, Thompson & Spiegelhalter, JRSS A 172 (2009), equation 12). Views per impression are treated
the same. A campaign's own days scatter too, by what `day_deviation` says: with k of n viewers converting on a
day and p expected, the excess of (k - n p)^2 over n p (1 - p) is (n p (1 - p))^2 times its square.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np
from scipy.special import ndtri, stdtrit

from services.optimizer.domain.features import MICROS_PER_UNIT, DailyTable, FloatArray, IntArray
from services.optimizer.domain.response.logit_normal import Counts, LogitNormal, fit_logit_normal
from services.optimizer.domain.response.response import ResponseModel, logistic
from services.optimizer.domain.response.type_spreads import as_student, weigh_deviations

FEWEST_CAMPAIGNS: Final = 3
"""Fewer campaigns of all types together tell of no spread."""
LEAST_OWN_SHARE: Final = 0.25
"""At least this share of a type's variance is campaigns' own, whatever merchants seem to explain."""
_QUANTILES: Final = 400


@dataclass(frozen=True, kw_only=True)
class Spread:
    """Where campaigns lie on the logit scale.

    `degrees` of freedom are those of the deviation, `mean_variance` is the error of the mean.
    """

    mean: float
    deviation: float
    degrees: float
    mean_variance: float = 0.0

    def draw(self, uniform: FloatArray) -> FloatArray:
        """Return where new campaigns lie, given uniform draws."""
        return np.asarray(self.mean + self.deviation * stdtrit(self.degrees, uniform))

    def expected_rate(self, effect: float) -> float:
        """Return the mean rate of new campaigns, `effect` (of the logit) added."""
        return float(np.mean(logistic(effect + self.mean + self.deviations)))

    @property
    def deviations(self) -> FloatArray:
        """How far from the mean equally likely campaigns lie (400), were the deviation known.

        Rates are averaged over these: Student's t has tails, for want of knowledge, in which rates of a few
        thousandths would be near to 1, and their mean a multiple of what campaigns do.
        """
        return np.asarray(self.deviation * ndtri((np.arange(_QUANTILES) + 0.5) / _QUANTILES))

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
        variance = own + merchant.variance + of_type.level.mean_variance
        return Spread(
            mean=of_type.level.mean + merchant.mean,
            deviation=math.sqrt(variance),
            degrees=of_type.level.degrees,
        )

    def new_view_rate(self, campaign_type: int) -> Spread:
        """Return where the logit of a new campaign's views per impression lies."""
        seen = self.types[campaign_type].view_rate
        return replace(seen, deviation=math.sqrt(seen.deviation**2 + seen.mean_variance), mean_variance=0.0)


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
    if len(campaigns) <= len(np.unique(kinds)):
        return BetweenCampaigns()
    impressions = np.maximum(usable.impressions, usable.views)
    laws = _fit_types(kinds, position, usable.views, conversions, effect)
    viewed = _fit_types(kinds, position, impressions, usable.views, np.zeros(len(usable)))
    level_spreads, view_spreads = _spreads(laws), _spreads(viewed)
    levels, deviations, errors, variances = np.zeros((4, len(campaigns)))
    for kind, law in laws.items():
        levels[kinds == kind] = law.levels
        deviations[kinds == kind], errors[kinds == kind] = law.responses - law.mean, law.errors
        variances[kinds == kind] = law.variance
    effects, merchant_variance = _merchant_effects(merchants, deviations, errors, variances)
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
    merchants: IntArray, deviations: FloatArray, errors: FloatArray, variances: FloatArray
) -> tuple[dict[int, MerchantEffect], float]:
    """Return what each merchant's campaigns have in common, and its variance between merchants.

    The product of the deviations y of two campaigns of a merchant has that variance for expectation, whatever
    their errors; weighted by w = 1 / (error + type's variance), as in C. R. Rao's MINQUE (J. Multivariate
    Analysis 1 (1971)), over merchants j it is

        sum_j [(sum w y)^2 - sum w^2 y^2] / sum_j [(sum w)^2 - sum w^2]

    Unweighted, a lone conversion of few views would make it many times what it is. A merchant's effect is the
    best linear unbiased prediction: its campaigns' weighted mean, drawn towards 0. Merchant 0 is an unknown
    one.
    """
    known = merchants != 0
    ids, place = np.unique(merchants[known], return_inverse=True)
    values, errors, variances = deviations[known], errors[known], variances[known]
    weights = 1.0 / (errors + variances)
    apart = _pairs(place, weights)
    if len(ids) < FEWEST_CAMPAIGNS or apart <= 0.0:
        return {}, 0.0
    most = (1.0 - LEAST_OWN_SHARE) * float(np.average(variances, weights=weights))
    between = float(np.clip(_pairs(place, weights * values) / apart, 0.0, most))
    weights = 1.0 / (errors + np.maximum(variances - between, LEAST_OWN_SHARE * variances))
    total = np.bincount(place, weights=weights)
    mean = np.bincount(place, weights=weights * values) / total
    shrunk = between * total / (1.0 + between * total)
    effects = {
        int(merchant): MerchantEffect(mean=float(effect), variance=float(between * (1.0 - share)))
        for merchant, effect, share in zip(ids, shrunk * mean, shrunk, strict=True)
    }
    return effects, between


def _pairs(place: IntArray, values: FloatArray) -> float:
    """Return the sum of the products of any two values of one place."""
    return float(np.sum(np.bincount(place, weights=values) ** 2) - np.sum(values**2))


def _fit_types(
    kinds: IntArray, position: IntArray, trials: IntArray, successes: IntArray, effect: FloatArray
) -> dict[int, LogitNormal]:
    """Return the law of each type's campaigns; `kinds` are campaigns', the rest rows'."""
    laws = {}
    for kind in np.unique(kinds):
        rows = kinds[position] == kind
        _, place = np.unique(position[rows], return_inverse=True)
        laws[int(kind)] = fit_logit_normal(Counts.of(place, trials[rows], successes[rows], effect[rows]))
    return laws


def _day_deviation(views: IntArray, conversions: IntArray, expected: FloatArray) -> float:
    """Return how days scatter around their campaign's level beyond chance, 0 where they do not."""
    information = views * expected * (1.0 - expected)
    excess = float(np.sum((conversions - views * expected) ** 2 - information))
    return math.sqrt(max(excess, 0.0) / float(np.sum(information**2)))


def _spreads(laws: Mapping[int, LogitNormal]) -> dict[int, Spread]:
    """Return each type's mean and spread, over all deviations that its counts and the other types allow."""
    shares = weigh_deviations([law.heights for law in laws.values()])
    return {kind: _spread(law, share) for (kind, law), share in zip(laws.items(), shares, strict=True)}


def _spread(law: LogitNormal, share: FloatArray) -> Spread:
    """Return where the type's campaigns lie.

    The mean's error is averaged over deviations, and multiplied by their t's tails beside: that counts the
    larger ones twice, since too narrow an interval is worse than too wide a one.
    """
    deviation, degrees = as_student(share)
    mean = float(np.sum(share * law.means))
    missed = law.mean_variances + (law.means - mean) ** 2
    return Spread(
        mean=mean, deviation=deviation, degrees=degrees, mean_variance=float(np.sum(share * missed))
    )
