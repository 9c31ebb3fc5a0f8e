"""The portfolio between the wire and the domain."""

from gen.campaigns.analytics.v1 import analytics_service_pb2, metrics_pb2
from services.analytics.convert.metrics import day_from_proto
from services.analytics.convert.ranges import interval_to_proto, range_to_proto
from services.analytics.domain.portfolio import (
    CurrencyPortfolio,
    Portfolio,
    PortfolioChange,
    PortfolioTotals,
)
from services.analytics.operations.portfolio import PortfolioQuery
from services.common.wire import micros_to_money, timestamp_to_datetime


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


def portfolio_to_proto(portfolio: Portfolio) -> analytics_service_pb2.GetPortfolioPerformanceResponse:
    """Return the answer of GetPortfolioPerformance."""
    return analytics_service_pb2.GetPortfolioPerformanceResponse(
        date_range=range_to_proto(portfolio.date_range),
        total_campaigns=portfolio.total_campaigns,
        totals=totals_to_proto(portfolio.totals),
        average_roas=portfolio.average_roas,
        change=_change_to_proto(portfolio.change),
        currencies=[_currency_to_proto(currency) for currency in portfolio.currencies],
    )


def _currency_to_proto(currency: CurrencyPortfolio) -> metrics_pb2.CurrencyPortfolio:
    return metrics_pb2.CurrencyPortfolio(
        currency_code=currency.currency_code,
        total_campaigns=currency.total_campaigns,
        totals=totals_to_proto(currency.totals),
        average_roas=currency.average_roas,
    )


def totals_to_proto(totals: PortfolioTotals) -> metrics_pb2.PortfolioTotals:
    """Return sums; money stays unset where it would mix currencies."""
    counts, rates = totals.counts, totals.rates
    answer = metrics_pb2.PortfolioTotals(
        currency_code=totals.currency_code or "",
        impressions=counts.impressions,
        views=counts.views,
        clicks=counts.clicks,
        conversions=counts.conversions,
        view_rate=rates.view_rate.value,
        view_rate_interval=interval_to_proto(rates.view_rate.interval),
        ctr=rates.ctr.value,
        ctr_interval=interval_to_proto(rates.ctr.interval),
        conversion_rate=rates.conversion_rate.value,
        conversion_rate_interval=interval_to_proto(rates.conversion_rate.interval),
        purchase_count=totals.purchases,
        roas=rates.roas.value,
        roas_interval=interval_to_proto(rates.roas.interval),
        notification_deliveries=totals.notification_deliveries,
        notification_opens=totals.notification_opens,
        notification_open_rate=rates.notification_open_rate.value,
        notification_open_rate_interval=interval_to_proto(rates.notification_open_rate.interval),
        geofence_entries=totals.geofence_entries,
        unsubscribes=totals.unsubscribes,
    )
    if totals.is_money_defined:
        answer.revenue = micros_to_money(counts.revenue_micros)
        answer.cost = micros_to_money(counts.cost_micros)
        answer.profit = micros_to_money(counts.revenue_micros - counts.cost_micros)
        answer.purchase_revenue = micros_to_money(totals.purchase_revenue_micros)
    return answer


def _change_to_proto(change: PortfolioChange) -> metrics_pb2.PortfolioChange:
    return metrics_pb2.PortfolioChange(
        date_range=range_to_proto(change.date_range),
        totals=totals_to_proto(change.totals),
        impressions_change=change.impressions,
        views_change=change.views,
        clicks_change=change.clicks,
        conversions_change=change.conversions,
        revenue_change=change.revenue,
        cost_change=change.cost,
        purchase_revenue_change=change.purchase_revenue,
    )
