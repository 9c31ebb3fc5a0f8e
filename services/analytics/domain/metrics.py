"""What a campaign did, from sums over its users."""

from dataclasses import dataclass, field
from datetime import date
from typing import Literal

from services.analytics.domain.design_effect import (
    estimate_window_rate_interval,
    estimate_window_ratio_interval,
)
from services.analytics.domain.intervals import (
    ConfidenceInterval,
    RatioMoments,
    estimate_rate_interval,
    estimate_ratio_interval,
    estimate_wilson_interval,
)

CONFIDENCE_LEVEL = 0.95

IntervalMethod = Literal["user_delta_method", "design_effect"]
RatioName = Literal[
    "view_rate", "ctr", "conversion_rate", "notification_open_rate", "revenue_per_impression", "roas"
]
RATES: tuple[RatioName, ...] = ("view_rate", "ctr", "conversion_rate", "notification_open_rate")


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
class Signals:
    """What happened beside the funnel: never impressions or views."""

    notification_deliveries: int = 0
    notification_opens: int = 0
    geofence_entries: int = 0
    unsubscribes: int = 0


@dataclass(frozen=True, kw_only=True)
class UserMoments:
    """Sums over the users of a campaign: how many they are, and squares and products of their counts.

    `users` have any event, `reached_users` a delivery, `converting_users` a delivery and a conversion,
    `paying_users` revenue above 0. Money is in micros; costs are those of events. `deliveries` and `opens`
    are of notifications.
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
    revenue_revenue_revenue: int = 0
    deliveries_deliveries: int = 0
    deliveries_opens: int = 0
    opens_opens: int = 0


@dataclass(frozen=True, kw_only=True)
class CampaignTotals:
    """Everything counted of a campaign, over its life or some days; its cost holds the imported cost."""

    counts: Counts = field(default_factory=Counts)
    signals: Signals = field(default_factory=Signals)
    moments: UserMoments = field(default_factory=UserMoments)
    imported_cost_micros: int = 0


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
    """Everything GetCampaignMetrics says; money per something is in micros.

    Users are None where nobody added them up (`design_effect`).
    """

    campaign_id: str
    currency_code: str | None
    date_range: DateRange | None
    counts: Counts
    signals: Signals
    interval_method: IntervalMethod
    reached_users: int | None
    converting_users: int | None
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
    breakeven_conversion_rate: float | None
    user_conversion_rate: Estimate
    notification_open_rate: Estimate


def divide(numerator: int, denominator: int) -> float | None:
    """Return the ratio, None where the denominator is 0."""
    return numerator / denominator if denominator else None


def moments_of(totals: CampaignTotals, name: RatioName) -> RatioMoments:
    """Return the sums over users that make a ratio and its interval."""
    c, m = totals.counts, totals.moments
    impressions = {"users": m.users, "x": c.impressions, "xx": m.impressions_impressions}
    revenue = {
        "users": m.users,
        "y": c.revenue_micros,
        "yy": m.revenue_revenue,
        "yyy": m.revenue_revenue_revenue,
        "carriers": m.paying_users,
    }
    match name:
        case "view_rate":
            return RatioMoments(**impressions, y=c.views, yy=m.views_views, xy=m.impressions_views)
        case "ctr":
            return RatioMoments(**impressions, y=c.clicks, yy=m.clicks_clicks, xy=m.impressions_clicks)
        case "conversion_rate":
            return RatioMoments(
                users=m.users,
                y=c.conversions,
                x=c.views,
                yy=m.conversions_conversions,
                xy=m.views_conversions,
                xx=m.views_views,
            )
        case "notification_open_rate":
            return RatioMoments(
                users=m.users,
                y=totals.signals.notification_opens,
                x=totals.signals.notification_deliveries,
                yy=m.opens_opens,
                xy=m.deliveries_opens,
                xx=m.deliveries_deliveries,
            )
        case "revenue_per_impression":
            return RatioMoments(**{**revenue, **impressions}, xy=m.impressions_revenue)
        case "roas":
            return RatioMoments(
                **revenue,
                x=c.cost_micros,
                xy=m.revenue_cost,
                xx=m.cost_cost,
                x_known=totals.imported_cost_micros,
            )


def lacks_views(counts: Counts) -> bool:
    """Return whether a source reports no views: what can follow a view happened, and no view did.

    A view rate of 0 and its interval would then be false.
    """
    return counts.views == 0 and (counts.clicks > 0 or counts.conversions > 0)


def estimate_by_users(
    totals: CampaignTotals, name: RatioName, confidence_level: float = CONFIDENCE_LEVEL
) -> Estimate:
    """Return a ratio with its interval by the sums over its users."""
    if name == "view_rate" and lacks_views(totals.counts):
        return Estimate()
    moments = moments_of(totals, name)
    estimate = estimate_rate_interval if name in RATES else estimate_ratio_interval
    return Estimate(value=moments.ratio, interval=estimate(moments, confidence_level))


def estimate_by_design_effect(
    window: CampaignTotals,
    life: CampaignTotals,
    name: RatioName,
    confidence_level: float = CONFIDENCE_LEVEL,
) -> Estimate:
    """Return a ratio of a part of a life with its interval by the life's design effect."""
    if name == "view_rate" and lacks_views(window.counts):
        return Estimate()
    given, whole = moments_of(window, name), moments_of(life, name)
    if name in RATES:
        interval = estimate_window_rate_interval(
            whole, y=given.y, x=given.x, confidence_level=confidence_level
        )
    else:
        share = divide(window.counts.conversions, life.counts.conversions)
        interval = estimate_window_ratio_interval(
            whole, y=given.y, x=given.x, volume_share=share or 0.0, confidence_level=confidence_level
        )
    return Estimate(value=given.ratio, interval=interval)


def measure_campaign(
    *,
    campaign_id: str,
    currency_code: str | None,
    date_range: DateRange | None,
    totals: CampaignTotals,
    life: CampaignTotals | None = None,
    confidence_level: float = CONFIDENCE_LEVEL,
) -> CampaignMetrics:
    """Return every metric of a campaign with its interval; the user is the unit of each.

    With `life`, the sums over users of `totals` are unknown, and the life's design effect stands in.
    """

    def estimate(name: RatioName) -> Estimate:
        if life is None:
            return estimate_by_users(totals, name, confidence_level)
        return estimate_by_design_effect(totals, life, name, confidence_level)

    c, m = totals.counts, totals.moments
    profit = c.revenue_micros - c.cost_micros
    return CampaignMetrics(
        campaign_id=campaign_id,
        currency_code=currency_code,
        date_range=date_range,
        counts=c,
        signals=totals.signals,
        interval_method="user_delta_method" if life is None else "design_effect",
        reached_users=m.reached_users if life is None else None,
        converting_users=m.converting_users if life is None else None,
        profit_micros=profit,
        view_rate=estimate("view_rate"),
        ctr=estimate("ctr"),
        conversion_rate=estimate("conversion_rate"),
        revenue_per_impression=estimate("revenue_per_impression"),
        cost_per_conversion=divide(c.cost_micros, c.conversions),
        roas=estimate("roas"),
        roi=divide(profit, c.cost_micros),
        profit_margin=divide(profit, c.revenue_micros),
        breakeven_conversions=count_breakeven_conversions(c),
        breakeven_conversion_rate=find_breakeven_conversion_rate(c),
        user_conversion_rate=Estimate(
            value=divide(m.converting_users, m.reached_users),
            interval=estimate_wilson_interval(m.converting_users, m.reached_users, confidence_level),
        ),
        notification_open_rate=estimate("notification_open_rate"),
    )


def count_breakeven_conversions(counts: Counts) -> int | None:
    """Return the least number of conversions, at the mean revenue of those seen, that pays the cost.

    The smallest whole b with b * revenue / conversions >= cost, in exact integers. None without
    conversions or without revenue above 0.
    """
    if counts.conversions <= 0 or counts.revenue_micros <= 0:
        return None
    return -(-counts.cost_micros * counts.conversions // counts.revenue_micros)


def find_breakeven_conversion_rate(counts: Counts) -> float | None:
    """Return the conversion rate at which the revenue pays the cost, all else as it was.

    cost / (views * revenue / conversions): at the views had and the mean revenue of the conversions seen.
    Above 1 where not even a conversion at every view would. None without views, or without revenue above 0.
    """
    if counts.views <= 0 or counts.conversions <= 0 or counts.revenue_micros <= 0:
        return None
    return counts.cost_micros * counts.conversions / (counts.views * counts.revenue_micros)
