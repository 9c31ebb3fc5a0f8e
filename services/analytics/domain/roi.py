"""What a campaign cost and brought, and what it takes to pay the cost."""

from dataclasses import dataclass

from services.analytics.domain.intervals import ConfidenceInterval, estimate_total_interval
from services.analytics.domain.metrics import (
    CONFIDENCE_LEVEL,
    CampaignTotals,
    Counts,
    Estimate,
    count_breakeven_conversions,
    divide,
    estimate_by_users,
    find_breakeven_conversion_rate,
    moments_of,
)


@dataclass(frozen=True, kw_only=True)
class CampaignRoi:
    """Everything GetCampaignRoi says; money is in micros, None is undefined."""

    campaign_id: str
    currency_code: str | None
    counts: Counts
    profit_micros: int
    profit_interval: ConfidenceInterval | None
    roas: Estimate
    roi: Estimate
    cost_per_conversion: float | None
    profit_margin: float | None
    breakeven_conversions: int | None
    breakeven_conversion_rate: float | None
    is_breakeven_reached: bool | None


def measure_roi(
    *,
    campaign_id: str,
    currency_code: str | None,
    totals: CampaignTotals,
    confidence_level: float = CONFIDENCE_LEVEL,
) -> CampaignRoi:
    """Return what a campaign cost and brought; the user is the unit of each interval."""
    counts = totals.counts
    roas = estimate_by_users(totals, "roas", confidence_level)
    profit = counts.revenue_micros - counts.cost_micros
    return CampaignRoi(
        campaign_id=campaign_id,
        currency_code=currency_code,
        counts=counts,
        profit_micros=profit,
        profit_interval=estimate_total_interval(moments_of(totals, "roas"), confidence_level),
        roas=roas,
        # roi is roas - 1, and so is its interval.
        roi=Estimate(
            value=divide(profit, counts.cost_micros),
            interval=roas.interval
            and ConfidenceInterval(lower=roas.interval.lower - 1, upper=roas.interval.upper - 1),
        ),
        cost_per_conversion=divide(counts.cost_micros, counts.conversions),
        profit_margin=divide(profit, counts.revenue_micros),
        breakeven_conversions=count_breakeven_conversions(counts),
        breakeven_conversion_rate=find_breakeven_conversion_rate(counts),
        is_breakeven_reached=profit >= 0 if counts.cost_micros else None,
    )
