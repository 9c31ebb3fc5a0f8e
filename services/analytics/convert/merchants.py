"""Merchants' performance between the wire and the domain."""

from gen.campaigns.analytics.v1 import merchants_pb2, metrics_pb2
from services.analytics.convert.metrics import day_from_proto
from services.analytics.convert.ranges import interval_to_proto, range_to_proto
from services.analytics.domain.merchants import (
    MerchantCampaign,
    MerchantCurrency,
    MerchantTotals,
)
from services.analytics.domain.metrics import Estimate
from services.analytics.operations.merchants import MerchantPage, MerchantQuery
from services.common.errors import invalid_field
from services.common.paging import decode_page_token, encode_page_token, page_size
from services.common.wire import micros_to_money

_FILTERS = ("merchant_id", "start_date", "end_date")


def query_from_proto(request: merchants_pb2.GetMerchantPerformanceRequest) -> MerchantQuery:
    """Return which days of which merchant are asked for; a token goes on with its own list only."""
    if request.merchant_id < 0:
        raise invalid_field("merchant_id", "must not be negative", "VALUE_OUT_OF_RANGE")
    return MerchantQuery(
        merchant_id=request.merchant_id,
        start=day_from_proto(request.start_date, "start_date"),
        end=day_from_proto(request.end_date, "end_date"),
        size=page_size(request.page_size),
        after=_after_from_proto(request),
    )


def _after_from_proto(request: merchants_pb2.GetMerchantPerformanceRequest) -> tuple[int, str] | None:
    cursor = decode_page_token(request.page_token)
    if not cursor:
        return None
    conversions, campaign_id = cursor.get("conversions"), cursor.get("campaign_id")
    is_own = all(cursor.get(name) == getattr(request, name) for name in _FILTERS)
    if not is_own or not isinstance(conversions, int) or not isinstance(campaign_id, str):
        raise invalid_field("page_token", "is not a token of this list", "PAGE_TOKEN_INVALID")
    return conversions, campaign_id


def merchant_to_proto(
    request: merchants_pb2.GetMerchantPerformanceRequest, page: MerchantPage
) -> merchants_pb2.GetMerchantPerformanceResponse:
    """Return the answer of GetMerchantPerformance; the next page's token holds what this page was asked."""
    performance = page.performance
    per_entry = performance.conversions_per_geofence_entry
    return merchants_pb2.GetMerchantPerformanceResponse(
        merchant_id=performance.merchant_id,
        merchant_name=performance.merchant_name or "",
        total_campaigns=performance.total_campaigns,
        totals=_totals_to_proto(performance.totals),
        geofence_entries=performance.totals.signals.geofence_entries,
        campaign_geofence_entries=performance.campaign_geofence_entries,
        conversions_per_geofence_entry=per_entry.value,
        conversions_per_geofence_entry_interval=interval_to_proto(per_entry.interval),
        date_range=range_to_proto(performance.date_range),
        currencies=[_currency_to_proto(currency) for currency in performance.currencies],
        campaigns=[_campaign_to_proto(campaign, totals) for campaign, totals in page.campaigns],
        next_page_token=_next_page_token(request, page),
    )


def _next_page_token(request: merchants_pb2.GetMerchantPerformanceRequest, page: MerchantPage) -> str:
    if not page.has_more:
        return ""
    last, _ = page.campaigns[-1]
    return encode_page_token(
        {
            **{name: getattr(request, name) for name in _FILTERS},
            "conversions": last.counts.conversions,
            "campaign_id": last.campaign_id,
        }
    )


def _currency_to_proto(currency: MerchantCurrency) -> metrics_pb2.CurrencyPortfolio:
    return metrics_pb2.CurrencyPortfolio(
        currency_code=currency.totals.currency_code or "",
        total_campaigns=currency.total_campaigns,
        totals=_totals_to_proto(currency.totals),
        average_roas=currency.average_roas,
    )


def _campaign_to_proto(campaign: MerchantCampaign, totals: MerchantTotals) -> merchants_pb2.MerchantCampaign:
    return merchants_pb2.MerchantCampaign(
        campaign_id=campaign.campaign_id,
        campaign_name=campaign.campaign_name or "",
        totals=_totals_to_proto(totals),
    )


def _totals_to_proto(totals: MerchantTotals) -> metrics_pb2.PortfolioTotals:
    """Return sums and ratios; money stays unset where it would mix currencies."""
    counts, signals = totals.counts, totals.signals
    answer = metrics_pb2.PortfolioTotals(
        currency_code=totals.currency_code or "",
        impressions=counts.impressions,
        views=counts.views,
        clicks=counts.clicks,
        conversions=counts.conversions,
        purchase_count=totals.purchases,
        notification_deliveries=signals.notification_deliveries,
        notification_opens=signals.notification_opens,
        geofence_entries=signals.geofence_entries,
        unsubscribes=signals.unsubscribes,
    )
    if totals.is_money_defined:
        answer.revenue = micros_to_money(counts.revenue_micros)
        answer.cost = micros_to_money(counts.cost_micros)
        answer.profit = micros_to_money(counts.revenue_micros - counts.cost_micros)
        answer.purchase_revenue = micros_to_money(totals.purchase_revenue_micros)
    for name, estimate in totals.ratios.items():
        _set_ratio(answer, name, estimate)
    return answer


def _set_ratio(answer: metrics_pb2.PortfolioTotals, name: str, estimate: Estimate) -> None:
    if estimate.value is not None:
        setattr(answer, name, estimate.value)
        interval = interval_to_proto(estimate.interval)
        if interval is not None:
            getattr(answer, f"{name}_interval").CopyFrom(interval)
