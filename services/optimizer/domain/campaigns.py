"""What the optimizer knows of campaigns: the catalog's word, and what was sent lately."""

import math
from dataclasses import dataclass
from datetime import date, datetime
from typing import Final

from services.optimizer.domain.features import MICROS_PER_UNIT
from services.optimizer.domain.objectives import Economics


@dataclass(frozen=True, kw_only=True)
class Campaign:
    """A campaign of the catalog; what the catalog does not know is None."""

    campaign_id: str
    campaign_type: int | None
    merchant_id: int | None
    offer_micros: int | None
    gross_margin_rate: float | None
    currency_code: str = ""
    end_at: datetime | None = None

    def has_ended(self, now: datetime) -> bool:
        """Return whether it is over."""
        return self.end_at is not None and self.end_at <= now


@dataclass(frozen=True, kw_only=True)
class MerchantTerms:
    """What a merchant's campaigns of the catalog have in common.

    `campaigns_with_margin` of them have a gross margin: `mean_margin`, from `lowest_margin` to
    `highest_margin`, None where there are none. `currency_code` is empty where they have none or several.
    """

    campaigns_with_margin: int = 0
    mean_margin: float | None = None
    lowest_margin: float | None = None
    highest_margin: float | None = None
    currency_code: str = ""


UNKNOWN_TERMS: Final = MerchantTerms()


@dataclass(frozen=True, kw_only=True)
class SentOffer:
    """What a campaign did under one offer as sent, None where the offer is unknown, over some days.

    `viewed_days` counts the days on which somebody viewed it, `weekdays` (Monday 0) are those of them.
    """

    offer_micros: int | None
    impressions: int
    views: int
    conversions: int
    viewed_days: int
    last_day: date
    weekdays: tuple[int, ...] = ()


@dataclass(frozen=True, kw_only=True)
class SentLately:
    """What a campaign sent in the history days.

    Where nobody viewed it in those, they are the ones up to `seen_until`, the last day on which somebody did.
    """

    offers: tuple[SentOffer, ...] = ()
    seen_until: date | None = None


@dataclass(frozen=True, kw_only=True)
class RevenueSpread:
    """How revenue scatters over the days that have any, or conversions.

    `days` is their number; the others are sums over them of squares and products of a day's conversions and
    revenue (micros).
    """

    days: int
    conversions_conversions: float
    conversions_revenue: float
    revenue_revenue: float


@dataclass(frozen=True, kw_only=True)
class RevenueTotals:
    """Conversions, what they brought, and how that scatters (None: nobody knows)."""

    conversions: int
    revenue_micros: int
    spread: RevenueSpread | None = None

    def economics(self, gross_margin_rate: float | None) -> Economics:
        """Return what a conversion brings; no revenue at all counts as unknown revenue."""
        if self.conversions <= 0 or self.revenue_micros <= 0:
            return Economics(mean_revenue=None, gross_margin_rate=gross_margin_rate)
        return Economics(
            mean_revenue=self.revenue_micros / self.conversions / MICROS_PER_UNIT,
            gross_margin_rate=gross_margin_rate,
            revenue_relative_error=self._relative_error(),
        )

    def _relative_error(self) -> float:
        """Return the standard error of the mean revenue over itself, at most 1, and 1 where a day tells none.

        The mean is a ratio of two sums over days; its variance is sum (revenue - mean conversions)^2 over the
        squared conversions, times days / (days - 1) (W. G. Cochran 1977, Sampling Techniques, equation 6.13).
        """
        if self.spread is None or self.spread.days < 2:  # noqa: PLR2004 (a spread needs two)
            return 1.0
        mean, days = self.revenue_micros / self.conversions, self.spread.days
        residual = (
            self.spread.revenue_revenue
            - 2.0 * mean * self.spread.conversions_revenue
            + mean**2 * self.spread.conversions_conversions
        )
        variance = max(residual, 0.0) * days / (days - 1) / self.conversions**2
        return min(math.sqrt(variance) / mean, 1.0)


@dataclass(frozen=True, kw_only=True)
class TypicalHistory:
    """What the average campaign of a type did over the history days.

    `daily_views` are the views of one of its offers on a day that had any, None where none had.
    """

    impressions: float
    views: float
    conversions: float
    daily_views: float | None


@dataclass(frozen=True, kw_only=True)
class PlannedCampaign:
    """A campaign that is only planned: what its planner knows, None where nothing.

    `current_views` are those that `current_conversion_rate` was seen in, `views_a_day` those expected of the
    mean day.
    """

    campaign_type: int
    merchant_id: int
    current_offer_micros: int | None
    current_conversion_rate: float | None
    current_views: int | None = None
    gross_margin_rate: float | None = None
    views_a_day: float | None = None


def latest_offer(offers: tuple[SentOffer, ...]) -> int | None:
    """Return the known offer sent on the latest day; of several that day, the one with the most views."""
    known = [offer for offer in offers if offer.offer_micros is not None]
    if not known:
        return None
    return max(known, key=lambda offer: (offer.last_day, offer.views)).offer_micros


def mean_daily_views(offers: tuple[SentOffer, ...]) -> float | None:
    """Return the views of one offer on a day that had any, None where none had.

    Days without a view do not count: a campaign that sends twice a week has days of the size that its
    intervals were calibrated on, and not seven days of a quarter of that.
    """
    days = sum(offer.viewed_days for offer in offers)
    return sum(offer.views for offer in offers) / days if days else None
