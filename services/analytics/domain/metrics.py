"""What a campaign did, from sums over its users."""

from dataclasses import dataclass
from datetime import date

from services.analytics.domain.intervals import (
    ConfidenceInterval,
    RatioMoments,
    estimate_rate_interval,
    estimate_ratio_interval,
    estimate_wilson_interval,
)

CONFIDENCE_LEVEL = 0.95


@dataclass(frozen=True, kw_only=True)
class Counts:
    """The funnel and the money of some events; refunds are taken from revenue."""

    impressions: int = 0
    views: int = 0
    clicks: int = 0
    conversions: int = 0
    revenue_micros: int = 0
    cost_micros: int = 0

    def __add__(self, other: "Counts") -> "Counts":
        return Counts(
            impressions=self.impressions + other.impressions,
            views=self.views + other.views,
            clicks=self.clicks + other.clicks,
            conversions=self.conversions + other.conversions,
            revenue_micros=self.revenue_micros + other.revenue_micros,
            cost_micros=self.cost_micros + other.cost_micros,
        )


@dataclass(frozen=True, kw_only=True)
class UserMoments:
    """Sums over the users of a campaign: how many they are, and squares and products of their counts.

    `users` have any event, `reached_users` a delivery, `converting_users` a delivery and a conversion,
    `paying_users` revenue above 0. Money is in micros.
    """

    users: int = 0
    reached_users: int = 0
    converting_users: int = 0
    paying_users: int = 0
    impressions_impressions: int = 0
    impressions_views: int = 0
    impressions_clicks: int = 0
    views_views: int = 0
    views_conversions: int = 0
    clicks_clicks: int = 0
    conversions_conversions: int = 0
    impressions_revenue: int = 0
    conversions_cost: int = 0
    revenue_revenue: int = 0
    revenue_cost: int = 0
    cost_cost: int = 0


@dataclass(frozen=True, kw_only=True)
class DateRange:
    """Calendar days of the reporting time zone, both ends included."""

    start: date
    end: date


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A ratio and its interval; None where undefined."""

    value: float | None = None
    interval: ConfidenceInterval | None = None


@dataclass(frozen=True, kw_only=True)
class CampaignMetrics:
    """Everything GetCampaignMetrics says; money per something is in micros."""

    campaign_id: str
    currency_code: str | None
    date_range: DateRange | None
    counts: Counts
    reached_users: int
    converting_users: int
    profit_micros: int
    view_rate: Estimate
    ctr: Estimate
    conversion_rate: Estimate
    revenue_per_impression: Estimate
    cost_per_conversion: float | None
    roas: Estimate
    roi: float | None
    profit_margin: float | None
    breakeven_conversions: int | None
    user_conversion_rate: Estimate


def divide(numerator: int, denominator: int) -> float | None:
    """Return the ratio, None where the denominator is 0."""
    return numerator / denominator if denominator else None


def measure_campaign(
    *,
    campaign_id: str,
    currency_code: str | None,
    date_range: DateRange | None,
    counts: Counts,
    moments: UserMoments,
    confidence_level: float = CONFIDENCE_LEVEL,
) -> CampaignMetrics:
    """Return every metric of a campaign with its interval; the user is the unit of each."""
    c, m = counts, moments
    view_rate = RatioMoments(
        users=m.users,
        y=c.views,
        x=c.impressions,
        yy=m.views_views,
        xy=m.impressions_views,
        xx=m.impressions_impressions,
    )
    ctr = RatioMoments(
        users=m.users,
        y=c.clicks,
        x=c.impressions,
        yy=m.clicks_clicks,
        xy=m.impressions_clicks,
        xx=m.impressions_impressions,
    )
    conversion_rate = RatioMoments(
        users=m.users,
        y=c.conversions,
        x=c.views,
        yy=m.conversions_conversions,
        xy=m.views_conversions,
        xx=m.views_views,
    )
    revenue_per_impression = RatioMoments(
        users=m.users,
        y=c.revenue_micros,
        x=c.impressions,
        yy=m.revenue_revenue,
        xy=m.impressions_revenue,
        xx=m.impressions_impressions,
        carriers=m.paying_users,
    )
    roas = RatioMoments(
        users=m.users,
        y=c.revenue_micros,
        x=c.cost_micros,
        yy=m.revenue_revenue,
        xy=m.revenue_cost,
        xx=m.cost_cost,
        carriers=m.paying_users,
    )
    profit = c.revenue_micros - c.cost_micros
    return CampaignMetrics(
        campaign_id=campaign_id,
        currency_code=currency_code,
        date_range=date_range,
        counts=c,
        reached_users=m.reached_users,
        converting_users=m.converting_users,
        profit_micros=profit,
        view_rate=_rate(view_rate, confidence_level),
        ctr=_rate(ctr, confidence_level),
        conversion_rate=_rate(conversion_rate, confidence_level),
        revenue_per_impression=_ratio(revenue_per_impression, confidence_level),
        cost_per_conversion=divide(c.cost_micros, c.conversions),
        roas=_ratio(roas, confidence_level),
        roi=divide(profit, c.cost_micros),
        profit_margin=divide(profit, c.revenue_micros),
        breakeven_conversions=count_breakeven_conversions(c),
        user_conversion_rate=Estimate(
            value=divide(m.converting_users, m.reached_users),
            interval=estimate_wilson_interval(m.converting_users, m.reached_users, confidence_level),
        ),
    )


def count_breakeven_conversions(counts: Counts) -> int | None:
    """Return the least number of conversions, at the mean revenue of those seen, that pays the cost.

    The smallest whole b with b * revenue / conversions >= cost, in exact integers. None without
    conversions or without revenue above 0.
    """
    if counts.conversions <= 0 or counts.revenue_micros <= 0:
        return None
    return -(-counts.cost_micros * counts.conversions // counts.revenue_micros)


def _rate(moments: RatioMoments, confidence_level: float) -> Estimate:
    return Estimate(value=moments.ratio, interval=estimate_rate_interval(moments, confidence_level))


def _ratio(moments: RatioMoments, confidence_level: float) -> Estimate:
    return Estimate(value=moments.ratio, interval=estimate_ratio_interval(moments, confidence_level))
