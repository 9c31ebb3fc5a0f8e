"""Metrics between the wire and the domain."""

from datetime import date

from gen.campaigns.analytics.v1 import analytics_service_pb2
from gen.campaigns.type.v1 import range_pb2
from services.analytics.domain.intervals import ConfidenceInterval
from services.analytics.domain.metrics import CampaignMetrics, DateRange
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
    counts = metrics.counts
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
    )


def range_to_proto(days: DateRange | None) -> range_pb2.DateRange | None:
    """Return days as the contract names them; unset where there are none."""
    if days is None:
        return None
    return range_pb2.DateRange(start_date=days.start.isoformat(), end_date=days.end.isoformat())


def interval_to_proto(
    interval: ConfidenceInterval | None, *, divisor: int = 1
) -> range_pb2.ConfidenceInterval | None:
    """Return an interval, its ends divided by `divisor`; unset where there is none."""
    if interval is None:
        return None
    return range_pb2.ConfidenceInterval(lower=interval.lower / divisor, upper=interval.upper / divisor)


def _per_unit(micros: float | None) -> float | None:
    return None if micros is None else micros / MICROS_PER_UNIT
