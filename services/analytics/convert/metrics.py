"""Metrics between the wire and the domain."""

from datetime import date

from gen.campaigns.analytics.v1 import analytics_service_pb2, metrics_pb2
from services.analytics.convert.ranges import interval_to_proto, range_to_proto
from services.analytics.domain.metrics import CampaignMetrics
from services.analytics.domain.roi import CampaignRoi
from services.common.errors import invalid_field
from services.common.wire import MICROS_PER_UNIT, micros_to_money, parse_date

MAXIMUM_ID_LENGTH = 128


def campaign_id_from_proto(campaign_id: str, field: str = "campaign_id") -> str:
    """Return the name of a campaign; refused where none can have it."""
    if not campaign_id:
        raise invalid_field(field, "must not be empty", "FIELD_REQUIRED")
    if len(campaign_id) > MAXIMUM_ID_LENGTH or "\0" in campaign_id:
        raise invalid_field(
            field, f"must have at most {MAXIMUM_ID_LENGTH} characters and no NUL", "TEXT_INVALID"
        )
    return campaign_id


def day_from_proto(text: str, field: str) -> date | None:
    """Return a calendar day, None for the empty text."""
    return parse_date(text, field) if text else None


def metrics_to_proto(metrics: CampaignMetrics) -> analytics_service_pb2.GetCampaignMetricsResponse:
    """Return the answer of GetCampaignMetrics; what is undefined stays unset."""
    counts, signals = metrics.counts, metrics.signals
    return analytics_service_pb2.GetCampaignMetricsResponse(
        campaign_id=metrics.campaign_id,
        currency_code=metrics.currency_code or "",
        date_range=range_to_proto(metrics.date_range),
        impressions=counts.impressions,
        views=counts.views,
        clicks=counts.clicks,
        conversions=counts.conversions,
        revenue=micros_to_money(counts.revenue_micros),
        cost=micros_to_money(counts.cost_micros),
        profit=micros_to_money(metrics.profit_micros),
        view_rate=metrics.view_rate.value,
        view_rate_interval=interval_to_proto(metrics.view_rate.interval),
        ctr=metrics.ctr.value,
        ctr_interval=interval_to_proto(metrics.ctr.interval),
        conversion_rate=metrics.conversion_rate.value,
        conversion_rate_interval=interval_to_proto(metrics.conversion_rate.interval),
        revenue_per_impression=_per_unit(metrics.revenue_per_impression.value),
        revenue_per_impression_interval=interval_to_proto(
            metrics.revenue_per_impression.interval, divisor=MICROS_PER_UNIT
        ),
        cost_per_conversion=_per_unit(metrics.cost_per_conversion),
        roas=metrics.roas.value,
        roas_interval=interval_to_proto(metrics.roas.interval),
        roi=metrics.roi,
        profit_margin=metrics.profit_margin,
        breakeven_conversions=metrics.breakeven_conversions,
        reached_users=metrics.reached_users,
        converting_users=metrics.converting_users,
        user_conversion_rate=metrics.user_conversion_rate.value,
        user_conversion_rate_interval=interval_to_proto(metrics.user_conversion_rate.interval),
        breakeven_conversion_rate=metrics.breakeven_conversion_rate,
        notification_deliveries=signals.notification_deliveries,
        notification_opens=signals.notification_opens,
        notification_open_rate=metrics.notification_open_rate.value,
        notification_open_rate_interval=interval_to_proto(metrics.notification_open_rate.interval),
        geofence_entries=signals.geofence_entries,
        unsubscribes=signals.unsubscribes,
        interval_method=metrics.interval_method,
    )


def roi_to_proto(roi: CampaignRoi) -> metrics_pb2.GetCampaignRoiResponse:
    """Return the answer of GetCampaignRoi; what is undefined stays unset."""
    return metrics_pb2.GetCampaignRoiResponse(
        campaign_id=roi.campaign_id,
        currency_code=roi.currency_code or "",
        total_cost=micros_to_money(roi.counts.cost_micros),
        total_revenue=micros_to_money(roi.counts.revenue_micros),
        profit=micros_to_money(roi.profit_micros),
        roas=roi.roas.value,
        cost_per_conversion=_per_unit(roi.cost_per_conversion),
        profit_margin_percent=None if roi.profit_margin is None else 100 * roi.profit_margin,
        breakeven=metrics_pb2.Breakeven(
            conversions=roi.breakeven_conversions,
            is_reached=roi.is_breakeven_reached,
            conversion_rate=roi.breakeven_conversion_rate,
        ),
        roi=roi.roi.value,
        roas_interval=interval_to_proto(roi.roas.interval),
        roi_interval=interval_to_proto(roi.roi.interval),
        profit_interval=interval_to_proto(roi.profit_interval, divisor=MICROS_PER_UNIT),
    )


def _per_unit(micros: float | None) -> float | None:
    return None if micros is None else micros / MICROS_PER_UNIT
