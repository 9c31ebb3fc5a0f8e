"""Trends between the wire and the domain."""

from gen.campaigns.analytics.v1 import trends_pb2
from services.analytics.domain.periods import Interval, parse_interval
from services.analytics.operations.trends import Trend
from services.common.wire import micros_to_money


def interval_from_proto(text: str) -> Interval:
    """Return the interval of a trend, `daily` for the empty text."""
    return parse_interval(text)


def trend_to_proto(trend: Trend) -> trends_pb2.GetCampaignTrendResponse:
    """Return the answer of GetCampaignTrend."""
    return trends_pb2.GetCampaignTrendResponse(
        campaign_id=trend.campaign_id,
        currency_code=trend.currency_code or "",
        interval=trend.interval,
        points=[
            trends_pb2.TrendPoint(
                period=point.period,
                impressions=point.counts.impressions,
                views=point.counts.views,
                clicks=point.counts.clicks,
                conversions=point.counts.conversions,
                revenue=micros_to_money(point.counts.revenue_micros),
                cost=micros_to_money(point.counts.cost_micros),
            )
            for point in trend.points
        ],
    )
