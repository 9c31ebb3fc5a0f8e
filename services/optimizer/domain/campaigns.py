"""What the optimizer knows of campaigns: the catalog's word, and what was sent lately."""

from dataclasses import dataclass
from datetime import date

from services.optimizer.domain.features import HISTORY_DAYS, MICROS_PER_UNIT
from services.optimizer.domain.objectives import Economics


@dataclass(frozen=True, kw_only=True)
class Campaign:
    """A campaign of the catalog; what the catalog does not know is None."""

    campaign_id: str
    campaign_type: int | None
    merchant_id: int | None
    offer_micros: int | None
    gross_margin_rate: float | None


@dataclass(frozen=True, kw_only=True)
class SentOffer:
    """What a campaign did under one offer as sent, None where the offer is unknown, over some days."""

    offer_micros: int | None
    impressions: int
    views: int
    conversions: int
    last_day: date


@dataclass(frozen=True, kw_only=True)
class RevenueTotals:
    """Conversions, and what they brought."""

    conversions: int
    revenue_micros: int

    def economics(self, gross_margin_rate: float | None) -> Economics:
        """Return what a conversion brings; no revenue at all counts as unknown revenue."""
        known = self.conversions > 0 and self.revenue_micros > 0
        mean = self.revenue_micros / self.conversions / MICROS_PER_UNIT if known else None
        return Economics(mean_revenue=mean, gross_margin_rate=gross_margin_rate)


@dataclass(frozen=True, kw_only=True)
class TypicalHistory:
    """What the average campaign of a type did over the history days."""

    impressions: float
    views: float
    conversions: float


@dataclass(frozen=True, kw_only=True)
class PlannedCampaign:
    """A campaign that is only planned: what its planner knows, None where nothing."""

    campaign_type: int
    merchant_id: int
    current_offer_micros: int | None
    current_conversion_rate: float | None


def latest_offer(offers: tuple[SentOffer, ...]) -> int | None:
    """Return the known offer sent on the latest day; of several that day, the one with the most views."""
    known = [offer for offer in offers if offer.offer_micros is not None]
    if not known:
        return None
    return max(known, key=lambda offer: (offer.last_day, offer.views)).offer_micros


def mean_daily_views(views: float) -> float:
    """Return the views of an average day, at least 1, of a campaign with `views` in its history days."""
    return max(1.0, views / HISTORY_DAYS)
