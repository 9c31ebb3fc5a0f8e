"""What conversions of a merchant's new campaign bring, and how much campaigns differ in it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy.special import ndtri, stdtrit

from services.optimizer.domain.features import MICROS_PER_UNIT, FloatArray, IntArray

FEWEST_CONVERSIONS: Final = 10
"""A campaign with fewer conversions says little about their mean revenue."""


@dataclass(frozen=True, kw_only=True)
class CampaignTotals:
    """What one campaign's conversions brought in the days looked at."""

    merchant_id: int
    conversions: int
    revenue_micros: int


@dataclass(frozen=True, kw_only=True)
class CampaignRevenue:
    """The mean revenue (currency units) of a new campaign's conversions.

    `log_deviation` is the standard deviation of its logarithm around the merchant's mean, with `degrees` of
    freedom; `order_variation` the coefficient of variation of a single conversion's revenue.
    """

    mean: float
    log_deviation: float
    degrees: float
    order_variation: float

    def draw(self, conversions: IntArray, level: FloatArray, chance: FloatArray) -> FloatArray:
        """Return revenues of so many conversions, given uniform draws of campaigns and of orders."""
        means = self.mean * np.exp(self.log_deviation * stdtrit(self.degrees, level))
        noise = self.order_variation * np.sqrt(conversions) * ndtri(chance)
        return np.asarray(means * np.maximum(conversions + noise, 0.0))


def survey_revenue(
    merchant_id: int, campaigns: Sequence[CampaignTotals], *, order_variation: float
) -> CampaignRevenue | None:
    """Return what a conversion of a new campaign of a merchant brings.

    `campaigns` are all those of one currency. The deviation is that of campaigns' log mean revenues around
    their merchant's, pooled over merchants; around all merchants' where none has two. None where the
    merchant has no revenue, or nothing tells how campaigns differ.
    """
    own = [campaign for campaign in campaigns if campaign.merchant_id == merchant_id]
    conversions = sum(campaign.conversions for campaign in own)
    revenue = sum(campaign.revenue_micros for campaign in own)
    told = [
        (campaign.merchant_id, math.log(campaign.revenue_micros / campaign.conversions))
        for campaign in campaigns
        if campaign.conversions >= FEWEST_CONVERSIONS and campaign.revenue_micros > 0
    ]
    if conversions <= 0 or revenue <= 0 or len(told) < 2:  # noqa: PLR2004 (a spread needs two)
        return None
    merchants, logs = np.array([merchant for merchant, _ in told]), np.array([log for _, log in told])
    _, place = np.unique(merchants, return_inverse=True)
    degrees = len(logs) - int(place.max()) - 1
    if degrees == 0:
        place, degrees = np.zeros_like(place), len(logs) - 1
    centres = np.bincount(place, weights=logs) / np.bincount(place)
    variance = float(np.sum((logs - centres[place]) ** 2)) / degrees
    return CampaignRevenue(
        mean=revenue / conversions / MICROS_PER_UNIT,
        log_deviation=math.sqrt(variance * (1.0 + 1.0 / max(len(own), 1))),
        degrees=float(degrees),
        order_variation=order_variation,
    )
