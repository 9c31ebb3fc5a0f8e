"""A small synthetic world for the optimizer's tests, with its truth: rows as analytics publishes them.

logit rate = type + campaign + strength * x^3 / (x^3 + 11^3) + weekday, with offers that change weekly and are
higher where a campaign converts worse (confounded between campaigns, not within).
"""

from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np
from numpy.typing import NDArray

from services.optimizer.domain.features import DailyRow, DailyTable, daily_table

END_DAY = date(2026, 11, 20)
TYPE_LEVEL = {1: -3.0, 2: -2.4, 3: -3.6}
TYPE_STRENGTH = {1: 3.9, 2: 3.0, 3: 4.6}
HALF_SATURATION = 11.0
WEEKDAY = np.array([-0.3, -0.25, -0.1, 0.0, 0.25, 0.3, 0.1])
MEAN_REVENUE = 40.0


def true_rate(campaign_type: int, own_level: float, offers: NDArray[np.float64]) -> NDArray[np.float64]:
    """The conversion rate at each offer (currency units), of a day like any other."""
    powered = offers**3
    effect = TYPE_STRENGTH[campaign_type] * powered / (powered + HALF_SATURATION**3)
    logits = TYPE_LEVEL[campaign_type] + own_level + effect
    return np.asarray(1.0 / (1.0 + np.exp(-logits)))


@dataclass(frozen=True, kw_only=True)
class SyntheticWorld:
    """Rows (see `DailyRow`) and what made them; campaign i is `campaign-i`."""

    rows: tuple[DailyRow, ...]
    own_levels: NDArray[np.float64]
    campaign_types: tuple[int, ...]
    merchant_ids: tuple[int, ...]
    last_offers: tuple[int, ...]

    @property
    def table(self) -> DailyTable:
        return daily_table(self.rows)

    def best_offer(self, campaign: int, mean_revenue: float = MEAN_REVENUE) -> float:
        """The offer, of the 41, that truly earns most per view."""
        offers = np.arange(10, 51) / 2.0
        rates = true_rate(self.campaign_types[campaign], float(self.own_levels[campaign]), offers)
        return float(offers[np.argmax(rates * (mean_revenue - offers))])


def build_world(
    *,
    seed: int = 1,
    campaigns: int = 45,
    days: int = 60,
    impressions: int = 300,
    end_day: date = END_DAY,
    noise_only: bool = False,
) -> SyntheticWorld:
    """Draw a world that ends before `end_day`; with `noise_only` rates are drawn anew for every row."""
    rng = np.random.default_rng(seed)
    own = rng.normal(0.0, 0.4, campaigns)
    types = [1 + index % 3 for index in range(campaigns)]
    merchants = [1 + index % 9 for index in range(campaigns)]
    rows: list[DailyRow] = []
    last_offers = []
    for campaign in range(campaigns):
        offer = 0
        for back in range(days, 0, -1):
            day = end_day - timedelta(days=back)
            if (days - back) % 7 == 0:
                level = 15.0 - 4.0 * own[campaign] + rng.normal(0.0, 5.0)
                offer = int(np.clip(round(level / 2.5) * 2.5, 5.0, 25.0) * 1_000_000)
            rate = true_rate(types[campaign], float(own[campaign]), np.array([offer / 1e6]))[0]
            logit = np.log(rate / (1.0 - rate)) + WEEKDAY[day.weekday()] + rng.normal(0.0, 0.1)
            rate = rng.uniform(0.02, 0.4) if noise_only else 1.0 / (1.0 + np.exp(-logit))
            shown = int(rng.poisson(impressions))
            views = int(rng.binomial(shown, 0.5))
            conversions = int(rng.binomial(views, rate))
            rows.append(
                (
                    f"campaign-{campaign}",
                    day,
                    offer,
                    shown,
                    views,
                    conversions,
                    types[campaign],
                    merchants[campaign],
                )
            )
        last_offers.append(offer)
    return SyntheticWorld(
        rows=tuple(rows),
        own_levels=own,
        campaign_types=tuple(types),
        merchant_ids=tuple(merchants),
        last_offers=tuple(last_offers),
    )
