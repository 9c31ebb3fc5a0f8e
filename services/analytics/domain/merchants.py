"""What a merchant did: through campaigns, and plain purchases and geofence entries beside them.

Events count at the merchant that they named when they were taken in. Their users were added up by campaign
and not by merchant, so intervals take the design effect of the lives of the merchant's campaigns, all of a
user's events in them together (`design_effect.py`); where the merchant has all that these campaigns did, they
are exact.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from services.analytics.domain.intervals import MINIMUM_USERS, ConfidenceInterval, log_interval
from services.analytics.domain.metrics import (
    CONFIDENCE_LEVEL,
    CampaignTotals,
    Counts,
    DateRange,
    Estimate,
    RatioName,
    Signals,
    divide,
    estimate_by_design_effect,
)

RATIOS: Sequence[RatioName] = ("view_rate", "ctr", "conversion_rate", "roas", "notification_open_rate")


@dataclass(frozen=True, kw_only=True)
class MerchantCampaign:
    """What one campaign did at the merchant, in the campaign's currency."""

    campaign_id: str
    campaign_name: str | None
    currency_code: str
    counts: Counts
    signals: Signals


@dataclass(frozen=True, kw_only=True)
class MerchantPurchases:
    """What happened at the merchant without a campaign, in one currency."""

    currency_code: str
    geofence_entries: int
    purchases: int
    purchase_revenue_micros: int


@dataclass(frozen=True, kw_only=True)
class MerchantTotals:
    """Sums and their ratios; money has a meaning, and its ratios are there, in one currency only."""

    currency_code: str | None
    is_money_defined: bool
    counts: Counts
    signals: Signals
    purchases: int
    purchase_revenue_micros: int
    ratios: Mapping[RatioName, Estimate]


@dataclass(frozen=True, kw_only=True)
class MerchantCurrency:
    """The merchant in one currency."""

    totals: MerchantTotals
    total_campaigns: int
    average_roas: float | None


@dataclass(frozen=True, kw_only=True)
class MerchantPerformance:
    """Everything GetMerchantPerformance says, but for the page of campaigns."""

    merchant_id: int
    merchant_name: str | None
    date_range: DateRange | None
    total_campaigns: int
    totals: MerchantTotals
    campaign_geofence_entries: int
    conversions_per_geofence_entry: Estimate
    currencies: Sequence[MerchantCurrency]


def measure_merchant(
    *,
    merchant_id: int,
    merchant_name: str | None,
    date_range: DateRange | None,
    campaigns: Sequence[MerchantCampaign],
    purchases: Sequence[MerchantPurchases],
    lives: Mapping[str | None, CampaignTotals],
) -> MerchantPerformance:
    """Return a merchant's performance.

    Args:
        merchant_id: the merchant.
        merchant_name: its name in the catalog, if it has one.
        date_range: the days counted; None where all are.
        campaigns: what each campaign did at the merchant.
        purchases: what happened without a campaign, once per currency.
        lives: the lives of the campaigns with the sums over users, by currency, and under None of all.
    """
    codes = sorted({c.currency_code for c in campaigns} | {p.currency_code for p in purchases})
    totals = _add(campaigns, purchases, lives.get(None, CampaignTotals()))
    return MerchantPerformance(
        merchant_id=merchant_id,
        merchant_name=merchant_name,
        date_range=date_range,
        total_campaigns=len(campaigns),
        totals=totals,
        campaign_geofence_entries=sum(c.signals.geofence_entries for c in campaigns),
        conversions_per_geofence_entry=_estimate_per_entry(totals, lives.get(None, CampaignTotals())),
        currencies=[_measure_currency(code, campaigns, purchases, lives) for code in codes],
    )


def measure_merchant_campaign(campaign: MerchantCampaign, life: CampaignTotals) -> MerchantTotals:
    """Return what a campaign did at a merchant, with intervals by the design effect of its life."""
    return _add([campaign], [], life)


def _measure_currency(
    code: str,
    campaigns: Sequence[MerchantCampaign],
    purchases: Sequence[MerchantPurchases],
    lives: Mapping[str | None, CampaignTotals],
) -> MerchantCurrency:
    own = [campaign for campaign in campaigns if campaign.currency_code == code]
    roas = [c.counts.revenue_micros / c.counts.cost_micros for c in own if c.counts.cost_micros]
    return MerchantCurrency(
        totals=_add(
            own, [p for p in purchases if p.currency_code == code], lives.get(code, CampaignTotals())
        ),
        total_campaigns=len(own),
        average_roas=sum(roas) / len(roas) if roas else None,
    )


def _add(
    campaigns: Sequence[MerchantCampaign], purchases: Sequence[MerchantPurchases], life: CampaignTotals
) -> MerchantTotals:
    signals = [campaign.signals for campaign in campaigns]
    window = CampaignTotals(
        counts=sum((campaign.counts for campaign in campaigns), Counts()),
        signals=Signals(
            notification_deliveries=sum(s.notification_deliveries for s in signals),
            notification_opens=sum(s.notification_opens for s in signals),
            geofence_entries=sum(s.geofence_entries for s in signals)
            + sum(p.geofence_entries for p in purchases),
            unsubscribes=sum(s.unsubscribes for s in signals),
        ),
    )
    everything = {c.currency_code for c in campaigns} | {p.currency_code for p in purchases}
    with_money = {c.currency_code for c in campaigns if c.counts.revenue_micros or c.counts.cost_micros} | {
        p.currency_code for p in purchases if p.purchase_revenue_micros
    }
    codes = with_money or everything
    ratios = [name for name in RATIOS if name != "roas" or len(with_money) <= 1]
    return MerchantTotals(
        currency_code=next(iter(codes)) if len(codes) == 1 else None,
        is_money_defined=len(with_money) <= 1,
        counts=window.counts,
        signals=window.signals,
        purchases=sum(p.purchases for p in purchases),
        purchase_revenue_micros=sum(p.purchase_revenue_micros for p in purchases),
        ratios={name: estimate_by_design_effect(window, life, name) for name in ratios},
    )


def _estimate_per_entry(totals: MerchantTotals, life: CampaignTotals) -> Estimate:
    """Return conversions per geofence entry, the entries taken as known.

    Users come independently of each other and convert as often as each does, a compound Poisson process: the
    variance of their conversions is the sum of squares over users, D times as large as the conversions, D by
    the lives of the campaigns. The interval is on the logarithm, with as many effective users as the
    conversions are worth.
    """
    entries, conversions = totals.signals.geofence_entries, totals.counts.conversions
    ratio = divide(conversions, entries)
    interval: ConfidenceInterval | None = None
    whole, squares = life.counts.conversions, life.moments.conversions_conversions
    if ratio and whole > 0:
        dispersion = squares / whole
        effective = conversions / dispersion
        if effective >= MINIMUM_USERS:
            interval = log_interval(ratio, dispersion / conversions, effective, CONFIDENCE_LEVEL)
    return Estimate(value=ratio, interval=interval)
