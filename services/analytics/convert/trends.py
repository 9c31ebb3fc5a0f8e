"""Trends between the wire and the domain."""

from gen.campaigns.analytics.v1 import trends_pb2
from services.analytics.convert.ranges import interval_to_proto
from services.analytics.domain.anomalies import Anomaly, Change
from services.analytics.domain.periods import Interval, parse_interval
from services.analytics.operations.trends import Trend
from services.common.wire import MICROS_PER_UNIT, micros_to_money

_DIVISORS = {"revenue": MICROS_PER_UNIT}


def interval_from_proto(text: str) -> Interval:
    """Return the interval of a trend, `daily` for the empty text."""
    return parse_interval(text)


def trend_to_proto(trend: Trend) -> trends_pb2.GetCampaignTrendResponse:
    """Return the answer of GetCampaignTrend."""
    points = [
        trends_pb2.TrendPoint(
            period=point.period,
            impressions=point.counts.impressions,
            views=point.counts.views,
            clicks=point.counts.clicks,
            conversions=point.counts.conversions,
            revenue=micros_to_money(point.counts.revenue_micros),
            cost=micros_to_money(point.counts.cost_micros),
            is_partial=point.is_partial,
        )
        for point in trend.points
    ]
    for anomaly in trend.unusual.anomalies:
        points[anomaly.place].anomalies.append(_anomaly_to_proto(anomaly))
    return trends_pb2.GetCampaignTrendResponse(
        campaign_id=trend.campaign_id,
        currency_code=trend.currency_code or "",
        interval=trend.interval,
        points=points,
        change_points=[
            _change_to_proto(change, trend.points[change.place].period) for change in trend.unusual.changes
        ],
        detection_method=trend.unusual.method,
    )


def _anomaly_to_proto(anomaly: Anomaly) -> trends_pb2.TrendAnomaly:
    divisor = _DIVISORS.get(anomaly.metric, 1)
    return trends_pb2.TrendAnomaly(
        metric=anomaly.metric,
        direction=anomaly.direction,
        expected=anomaly.expected / divisor,
        expected_interval=interval_to_proto(anomaly.interval, divisor=divisor),
    )


def _change_to_proto(change: Change, period: str) -> trends_pb2.ChangePoint:
    divisor = _DIVISORS.get(change.metric, 1)
    relative = change.level_after / change.level_before - 1 if change.level_before else None
    return trends_pb2.ChangePoint(
        metric=change.metric,
        period=period,
        level_before=change.level_before / divisor,
        level_after=change.level_after / divisor,
        relative_change=relative,
    )
