"""Metrics, trends and the portfolio between the wire and the domain."""

from datetime import date

from gen.campaigns.analytics.v1 import analytics_service_pb2, metrics_pb2
from gen.campaigns.type.v1 import range_pb2
from services.analytics.domain.intervals import ConfidenceInterval
from services.analytics.domain.metrics import CampaignMetrics, DateRange, divide
from services.analytics.domain.portfolio import (
    CurrencyPortfolio,
    Portfolio,
    PortfolioChange,
    PortfolioTotals,
)
from services.analytics.operations.metrics import PortfolioQuery
from services.common.errors import invalid_field
from services.common.wire import MICROS_PER_UNIT, micros_to_money, parse_date, timestamp_to_datetime

MAXIMUM_ID_LENGTH = 128


def campaign_id_from_proto(campaign_id: str) -> str:
    """Return the name of a campaign; refused where none can have it."""
    if not campaign_id:
        raise invalid_field("campaign_id", "must not be empty", "FIELD_REQUIRED")
    if len(campaign_id) > MAXIMUM_ID_LENGTH or "\0" in campaign_id:
        raise invalid_field(
            "campaign_id", f"must have at most {MAXIMUM_ID_LENGTH} characters and no NUL", "TEXT_INVALID"
        )
    return campaign_id


def day_from_proto(text: str, field: str) -> date | None:
    """Return a calendar day, None for the empty text."""
    return parse_date(text, field) if text else None


def portfolio_query_from_proto(
    request: analytics_service_pb2.GetPortfolioPerformanceRequest,
) -> PortfolioQuery:
    """Return which days are asked for; what excludes what is the operation's to say."""
    return PortfolioQuery(
        days=request.days if request.HasField("days") else None,
        as_of=timestamp_to_datetime(request.as_of, "as_of") if request.HasField("as_of") else None,
        start=day_from_proto(request.start_date, "start_date"),
        end=day_from_proto(request.end_date, "end_date"),
    )


def metrics_to_proto(metrics: CampaignMetrics) -> analytics_service_pb2.GetCampaignMetricsResponse:
    """Return the answer of GetCampaignMetrics; what is undefined stays unset."""
    counts = metrics.counts
    return analytics_service_pb2.GetCampaignMetricsResponse(
        campaign_id=metrics.campaign_id,
        currency_code=metrics.currency_code or "",
        date_range=_range_to_proto(metrics.date_range),
        impressions=counts.impressions,
        views=counts.views,
        clicks=counts.clicks,
        conversions=counts.conversions,
        revenue=micros_to_money(counts.revenue_micros),
        cost=micros_to_money(counts.cost_micros),
        profit=micros_to_money(metrics.profit_micros),
        view_rate=metrics.view_rate.value,
        view_rate_interval=_interval_to_proto(metrics.view_rate.interval),
        ctr=metrics.ctr.value,
        ctr_interval=_interval_to_proto(metrics.ctr.interval),
        conversion_rate=metrics.conversion_rate.value,
        conversion_rate_interval=_interval_to_proto(metrics.conversion_rate.interval),
        revenue_per_impression=_per_unit(metrics.revenue_per_impression.value),
        revenue_per_impression_interval=_interval_to_proto(
            metrics.revenue_per_impression.interval, divisor=MICROS_PER_UNIT
        ),
        cost_per_conversion=_per_unit(metrics.cost_per_conversion),
        roas=metrics.roas.value,
        roas_interval=_interval_to_proto(metrics.roas.interval),
        roi=metrics.roi,
        profit_margin=metrics.profit_margin,
        breakeven_conversions=metrics.breakeven_conversions,
        reached_users=metrics.reached_users,
        converting_users=metrics.converting_users,
        user_conversion_rate=metrics.user_conversion_rate.value,
        user_conversion_rate_interval=_interval_to_proto(metrics.user_conversion_rate.interval),
    )


def portfolio_to_proto(portfolio: Portfolio) -> analytics_service_pb2.GetPortfolioPerformanceResponse:
    """Return the answer of GetPortfolioPerformance."""
    return analytics_service_pb2.GetPortfolioPerformanceResponse(
        date_range=_range_to_proto(portfolio.date_range),
        total_campaigns=portfolio.total_campaigns,
        totals=_totals_to_proto(portfolio.totals),
        average_roas=portfolio.average_roas,
        change=_change_to_proto(portfolio.change),
        currencies=[_currency_to_proto(currency) for currency in portfolio.currencies],
    )


def _currency_to_proto(currency: CurrencyPortfolio) -> metrics_pb2.CurrencyPortfolio:
    return metrics_pb2.CurrencyPortfolio(
        currency_code=currency.currency_code,
        total_campaigns=currency.total_campaigns,
        totals=_totals_to_proto(currency.totals),
        average_roas=currency.average_roas,
    )


def _totals_to_proto(totals: PortfolioTotals) -> metrics_pb2.PortfolioTotals:
    counts = totals.counts
    answer = metrics_pb2.PortfolioTotals(
        currency_code=totals.currency_code or "",
        impressions=counts.impressions,
        views=counts.views,
        clicks=counts.clicks,
        conversions=counts.conversions,
        view_rate=divide(counts.views, counts.impressions),
        ctr=divide(counts.clicks, counts.impressions),
        conversion_rate=divide(counts.conversions, counts.views),
        purchase_count=totals.purchases,
    )
    if totals.is_money_defined:
        answer.revenue = micros_to_money(counts.revenue_micros)
        answer.cost = micros_to_money(counts.cost_micros)
        answer.profit = micros_to_money(counts.revenue_micros - counts.cost_micros)
        answer.purchase_revenue = micros_to_money(totals.purchase_revenue_micros)
        if counts.cost_micros:
            answer.roas = counts.revenue_micros / counts.cost_micros
    return answer


def _change_to_proto(change: PortfolioChange) -> metrics_pb2.PortfolioChange:
    return metrics_pb2.PortfolioChange(
        date_range=_range_to_proto(change.date_range),
        totals=_totals_to_proto(change.totals),
        impressions_change=change.impressions,
        views_change=change.views,
        clicks_change=change.clicks,
        conversions_change=change.conversions,
        revenue_change=change.revenue,
        cost_change=change.cost,
        purchase_revenue_change=change.purchase_revenue,
    )


def _range_to_proto(days: DateRange | None) -> range_pb2.DateRange | None:
    if days is None:
        return None
    return range_pb2.DateRange(start_date=days.start.isoformat(), end_date=days.end.isoformat())


def _interval_to_proto(
    interval: ConfidenceInterval | None, *, divisor: int = 1
) -> range_pb2.ConfidenceInterval | None:
    if interval is None:
        return None
    return range_pb2.ConfidenceInterval(lower=interval.lower / divisor, upper=interval.upper / divisor)


def _per_unit(micros: float | None) -> float | None:
    return None if micros is None else micros / MICROS_PER_UNIT
