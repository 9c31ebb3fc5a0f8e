"""Which active campaigns to show to a user, by affinity and response.

Campaigns are ordered by the conversion rate at their own offer, its odds moved by the user's affinity to the
merchant as far as past views say that affinity moves them (`affinity_response`). How readily the user
converts in whatever campaign is the same for all of them, and left out. The offer is in the rate; its size
does not count again, or the most expensive offers would come first.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from services.optimizer.domain.affinity.answer import MerchantAffinity, UserScores
from services.optimizer.domain.campaigns import Campaign
from services.optimizer.domain.features import FEATURE_NAMES, MICROS_PER_UNIT, Float32Array, FloatArray
from services.optimizer.domain.models.serving_parameters import ServingParameters
from services.optimizer.domain.offers.answer import ExpectedRate, Interval, rate_at
from services.optimizer.domain.offers.case import OfferCase
from services.optimizer.domain.response.response import logit

MOST_CANDIDATES: Final = 4000
"""Campaigns of the merchants that the user is nearest to."""
MOST_ROWS: Final = 4096
"""What the model server takes at once: a row for each offer that a candidate lately sent."""
_LIKE_OTHERS: Final = 0.05
"""A rate whose logit is this near to that of the user's middling campaign is like it."""


@dataclass(frozen=True, kw_only=True)
class ActiveCampaign:
    """A campaign that runs now; what is not known is None. The offer is the catalog's, or the last sent."""

    campaign_id: str
    campaign_name: str
    campaign_type: int | None
    merchant_id: int | None
    currency_code: str
    offer_micros: int | None

    @property
    def is_comparable(self) -> bool:
        """Whether its type and its offer are known."""
        return self.campaign_type is not None and bool(self.offer_micros)

    @property
    def offer(self) -> float:
        """The offer in currency units, 0 where it is unknown."""
        return (self.offer_micros or 0) / MICROS_PER_UNIT

    @property
    def in_catalog(self) -> Campaign:
        """The campaign as questions for an offer know it."""
        return Campaign(
            campaign_id=self.campaign_id,
            campaign_type=self.campaign_type,
            merchant_id=self.merchant_id,
            offer_micros=self.offer_micros,
            gross_margin_rate=None,
            currency_code=self.currency_code,
        )


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """An active campaign that can be compared, and the user's affinity to its merchant as a score."""

    campaign: ActiveCampaign
    affinity: float


@dataclass(frozen=True, kw_only=True)
class Choice:
    """A campaign to show; `expected_value` is the rate at the user's affinity, `score` is over the best's.

    `value_interval` has the ends of the rate's interval at that affinity.
    """

    candidate: Candidate
    affinity: MerchantAffinity
    conversion_rate: float
    rate_interval: Interval | None
    expected_value: float
    value_interval: Interval | None
    score: float
    reasons: tuple[str, ...]


def nearest_merchants(counts: Mapping[int | None, int], scores: Mapping[int, float]) -> list[int]:
    """Return the merchants whose campaigns are worth a look, the nearest first.

    They are as many as have `MOST_CANDIDATES` campaigns together; `counts` are active campaigns by merchant.
    """
    nearest: list[int] = []
    campaigns = 0
    for merchant_id in sorted(scores, key=lambda merchant_id: (-scores[merchant_id], merchant_id)):
        if campaigns >= MOST_CANDIDATES:
            break
        nearest.append(merchant_id)
        campaigns += counts[merchant_id]
    return nearest


def choose_candidates(campaigns: Sequence[ActiveCampaign], scores: Mapping[int, float]) -> list[Candidate]:
    """Return the campaigns that can be compared, those of the nearest merchants first."""
    candidates = [
        Candidate(campaign=campaign, affinity=scores[campaign.merchant_id])
        for campaign in campaigns
        if campaign.is_comparable and campaign.merchant_id is not None and campaign.merchant_id in scores
    ]
    candidates.sort(key=lambda candidate: (-candidate.affinity, candidate.campaign.campaign_id))
    return candidates[:MOST_CANDIDATES]


def within_batch(cases: Sequence[OfferCase]) -> int:
    """Return how many of the cases, from the first, the model server takes at once."""
    rows = np.cumsum([case.forest_rows for case in cases])
    return int(np.searchsorted(rows, MOST_ROWS, side="right"))


def choice_features(cases: Sequence[OfferCase], parameters: ServingParameters) -> Float32Array:
    """Return the rows (offers lately sent of all cases, 7) to be predicted, in one call."""
    rows = [case.forest_features(parameters) for case in cases]
    return np.concatenate(rows) if rows else np.empty((0, len(FEATURE_NAMES)), dtype=np.float32)


def expect_rates(
    campaigns: Sequence[ActiveCampaign],
    cases: Sequence[OfferCase],
    predicted: FloatArray,
    parameters: ServingParameters,
) -> list[ExpectedRate]:
    """Return each campaign's rate at its own offer, as OptimizeOffer's curve has it.

    `predicted` are the forest's rates for `choice_features`.
    """
    found, start = [], 0
    for campaign, case in zip(campaigns, cases, strict=True):
        end = start + case.forest_rows
        found.append(rate_at(case, campaign.offer_micros or 0, predicted[start:end], parameters))
        start = end
    return found


def rank_choices(
    candidates: Sequence[Candidate], rates: Sequence[ExpectedRate], scores: UserScores, *, limit: int
) -> list[Choice]:
    """Return the campaigns of the highest rates at the user's affinities, and explain only them.

    Ties are ordered by campaign_id.
    """
    if not candidates:
        return []
    affinities = np.array([candidate.affinity for candidate in candidates])
    expected = np.array([rate.rate for rate in rates])
    values = scores.response.rates(expected, affinities)
    moved = scores.response.log_odds(affinities)
    best = float(values.max())
    order = sorted(
        range(len(candidates)), key=lambda index: (-values[index], candidates[index].campaign.campaign_id)
    )[:limit]
    merchants = _explain([candidates[index].campaign for index in order], scores)
    odds = logit(expected)
    nearness, response = moved - np.median(moved), odds - np.median(odds)
    return [
        Choice(
            candidate=candidates[index],
            affinity=merchants[candidates[index].campaign.merchant_id],
            conversion_rate=rates[index].rate,
            rate_interval=rates[index].interval,
            expected_value=float(values[index]),
            value_interval=_at_affinity(rates[index].interval, float(affinities[index]), scores),
            score=float(values[index]) / best,
            reasons=_reasons(
                candidates[index].campaign,
                merchants[candidates[index].campaign.merchant_id].reasons,
                nearness=float(nearness[index]),
                response=float(response[index]),
                rate=rates[index],
            ),
        )
        for index in order
    ]


def _at_affinity(interval: Interval | None, affinity: float, scores: UserScores) -> Interval | None:
    """Return a rate's interval with its odds moved by an affinity."""
    if interval is None:
        return None
    ends = np.array([interval.lower, interval.upper])
    lower, upper = scores.response.rates(ends, np.full(2, affinity)).tolist()
    return Interval(lower=lower, upper=upper)


def _explain(campaigns: Sequence[ActiveCampaign], scores: UserScores) -> dict[int | None, MerchantAffinity]:
    """Return the campaigns' merchants with what says why, by merchant_id."""
    wanted = {campaign.merchant_id for campaign in campaigns if campaign.merchant_id is not None}
    return {merchant.merchant_id: merchant for merchant in scores.explain(sorted(wanted))}


def _reasons(
    campaign: ActiveCampaign,
    of_merchant: tuple[str, ...],
    *,
    nearness: float,
    response: float,
    rate: ExpectedRate,
) -> tuple[str, ...]:
    """Return why: the merchant's reasons and the campaign's rate, the weightier first; then its offer.

    `nearness` and `response` are by how much affinity and rate lift the logit above the user's middling one.
    """
    currency = f" {campaign.currency_code}" if campaign.currency_code else ""
    beside = f"{_beside(response)} the middle of the campaigns compared"
    of_rate = (f"{_say_rate(rate)} of all who view it are expected to convert, {beside}",)
    first, second = (of_merchant, of_rate) if nearness >= response else (of_rate, of_merchant)
    return (*first, *second, f"offers {campaign.offer:.2f}{currency}")


def _say_rate(rate: ExpectedRate) -> str:
    if rate.interval is None:
        return f"{rate.rate:.1%}"
    return f"{rate.rate:.1%} ({rate.interval.lower:.1%} to {rate.interval.upper:.1%} on nine days in ten)"


def _beside(weight: float) -> str:
    if abs(weight) <= _LIKE_OTHERS:
        return "about"
    return "above" if weight > 0.0 else "below"
