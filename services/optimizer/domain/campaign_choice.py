"""Which active campaigns to show to a user, by affinity, response and offer.

A campaign's expected value is affinity x conversion rate x offer. It is an order and not a forecast: the
affinity is the probability that the user buys at the merchant within a week, the rate that of all who view
the campaign, and how the two go together for one user is not estimated. Offers of different currencies are
made comparable by the mean offer of active campaigns in each currency.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Final

import numpy as np

from services.optimizer.domain.affinity_answer import MerchantAffinity
from services.optimizer.domain.features import (
    MICROS_PER_UNIT,
    Encoding,
    Float32Array,
    FloatArray,
    History,
    feature_matrix,
)
from services.optimizer.domain.metrics import Conformal
from services.optimizer.domain.offer_answer import INTERVAL_LEVEL, WIDEST_INTERVAL, Interval

MOST_CANDIDATES: Final = 4000
"""Campaigns of the merchants that the user is nearest to; the model server takes 4096 rows at once."""
_LIKE_OTHERS: Final = 0.05
"""A factor whose logarithm is this near to that of the user's middling campaign is like it."""


@dataclass(frozen=True, kw_only=True)
class ActiveCampaign:
    """A campaign that runs now; what is not known is None.

    The history is that of the last days: impressions, conversions, views, and the offers' days that had any
    view.
    """

    campaign_id: str
    campaign_name: str
    campaign_type: int | None
    merchant_id: int | None
    currency_code: str
    offer_micros: int | None
    impressions: int
    conversions: int
    views: int
    viewed_days: int

    @property
    def is_comparable(self) -> bool:
        """Whether its type and its offer are known."""
        return self.campaign_type is not None and bool(self.offer_micros)

    @property
    def offer(self) -> float:
        """The offer in currency units, 0 where it is unknown."""
        return (self.offer_micros or 0) / MICROS_PER_UNIT


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """An active campaign that can be compared, and the user's affinity to its merchant."""

    campaign: ActiveCampaign
    affinity: MerchantAffinity


@dataclass(frozen=True, kw_only=True)
class Choice:
    """A campaign to show; `score` is its expected value relative to the best one's."""

    candidate: Candidate
    conversion_rate: float
    rate_interval: Interval | None
    expected_value: float
    score: float
    reasons: tuple[str, ...]


def choose_candidates(
    campaigns: Sequence[ActiveCampaign], affinities: Sequence[MerchantAffinity]
) -> list[Candidate]:
    """Return the campaigns that can be compared, those of the nearest merchants first."""
    by_merchant = {affinity.merchant_id: affinity for affinity in affinities}
    candidates = [
        Candidate(campaign=campaign, affinity=by_merchant[campaign.merchant_id])
        for campaign in campaigns
        if campaign.is_comparable and campaign.merchant_id in by_merchant
    ]
    candidates.sort(key=lambda candidate: (-candidate.affinity.score, candidate.campaign.campaign_id))
    return candidates[:MOST_CANDIDATES]


def choice_features(candidates: Sequence[Candidate], day: date, encoding: Encoding) -> Float32Array:
    """Return the rows (candidates, 7) to be predicted, in one call: each campaign today at its own offer."""
    campaigns = [candidate.campaign for candidate in candidates]
    return feature_matrix(
        offer_micros=np.array([campaign.offer_micros for campaign in campaigns], dtype=np.int64),
        day=np.full(len(campaigns), day.toordinal(), dtype=np.int64),
        campaign_type=np.array([campaign.campaign_type for campaign in campaigns], dtype=np.int64),
        merchant_id=np.array([campaign.merchant_id for campaign in campaigns], dtype=np.int64),
        history=History(
            impressions=np.array([campaign.impressions for campaign in campaigns], dtype=np.int64),
            conversions=np.array([campaign.conversions for campaign in campaigns], dtype=np.int64),
        ),
        encoding=encoding,
    )


def rank_choices(
    candidates: Sequence[Candidate], rates: FloatArray, conformal: Conformal, *, limit: int
) -> list[Choice]:
    """Return the best campaigns by expected value, ties by campaign_id."""
    if not candidates:
        return []
    means = _mean_offers(candidates)
    affinities = np.array([candidate.affinity.score for candidate in candidates])
    offers = np.array([candidate.campaign.offer for candidate in candidates])
    relative = offers / np.array([means[candidate.campaign.currency_code] for candidate in candidates])
    values = affinities * rates * relative
    best = float(values.max())
    order = sorted(
        range(len(candidates)), key=lambda index: (-values[index], candidates[index].campaign.campaign_id)
    )
    middles = (float(np.median(affinities)), float(np.median(rates)), 1.0)
    return [
        Choice(
            candidate=candidates[index],
            conversion_rate=float(rates[index]),
            rate_interval=_interval(candidates[index].campaign, float(rates[index]), conformal),
            expected_value=float(affinities[index] * rates[index] * offers[index]),
            score=float(values[index]) / best if best > 0.0 else 0.0,
            reasons=_reasons(
                candidates[index],
                means,
                weights=[
                    _weight(float(factor[index]), middle)
                    for factor, middle in zip((affinities, rates, relative), middles, strict=True)
                ],
                rate=float(rates[index]),
            ),
        )
        for index in order[:limit]
    ]


def _mean_offers(candidates: Sequence[Candidate]) -> dict[str, float]:
    by_currency: dict[str, list[float]] = {}
    for candidate in candidates:
        by_currency.setdefault(candidate.campaign.currency_code, []).append(candidate.campaign.offer)
    return {currency: math.fsum(offers) / len(offers) for currency, offers in by_currency.items()}


def _interval(campaign: ActiveCampaign, rate: float, conformal: Conformal) -> Interval | None:
    """Return the interval of a day's rate, None where nobody knows how large its days are."""
    if campaign.viewed_days == 0 or INTERVAL_LEVEL not in conformal.quantiles:
        return None
    lower, upper = conformal.interval(rate, campaign.views / campaign.viewed_days, INTERVAL_LEVEL)
    return Interval(lower=lower, upper=upper) if upper - lower < WIDEST_INTERVAL else None


def _weight(factor: float, middle: float) -> float:
    """Return how far a factor lies above a middling one, as a logarithm."""
    if factor <= 0.0:
        return -math.inf
    return math.log(factor / middle) if middle > 0.0 else math.inf


def _reasons(
    candidate: Candidate, means: Mapping[str, float], *, weights: Sequence[float], rate: float
) -> tuple[str, ...]:
    """Return why, the weightiest factor first: the merchant's reasons, the campaign's rate, the offer."""
    campaign = candidate.campaign
    currency = f" {campaign.currency_code}" if campaign.currency_code else ""
    mean = means[campaign.currency_code]
    groups = [
        candidate.affinity.reasons,
        (f"{rate:.1%} of those who view it convert, {_beside(weights[1])} your campaigns' middle",),
        (f"offers {campaign.offer:.2f}{currency}, {_beside(weights[2])} the {mean:.2f} of active campaigns",),
    ]
    order = sorted(range(len(groups)), key=lambda index: -weights[index])
    return tuple(reason for index in order for reason in groups[index])


def _beside(weight: float) -> str:
    if abs(weight) <= _LIKE_OTHERS:
        return "about"
    return "above" if weight > 0.0 else "below"
