"""Attribution between the wire and the domain."""

from datetime import datetime

from google.protobuf.timestamp_pb2 import Timestamp

from gen.campaigns.analytics.v1 import attribution_pb2 as pb
from services.analytics.convert.metrics import day_from_proto
from services.analytics.convert.ranges import interval_to_proto, range_to_proto
from services.analytics.convert.ranking import currency_code_from_proto
from services.analytics.domain.attribution import MICRO
from services.analytics.operations.attribution import (
    AttributionQuery,
    CampaignAttribution,
    Credit,
    PortfolioAttribution,
)
from services.common.errors import invalid_field
from services.common.paging import decode_page_token, encode_page_token, page_size
from services.common.wire import datetime_to_timestamp, micros_to_money

_FILTERS = ("model", "start_date", "end_date", "currency_code")


def query_from_proto(request: pb.GetPortfolioAttributionRequest) -> AttributionQuery:
    """Return which page of which credits is asked for; a token goes on with its own list only."""
    cursor = decode_page_token(request.page_token)
    after = None
    start, end = request.start_date, request.end_date
    if cursor:
        # Open ends are closed by the first page, so that all pages are of the same days.
        start, end = start or str(cursor.get("from", "")), end or str(cursor.get("to", ""))
        micro, campaign_id = cursor.get("micro"), cursor.get("campaign_id")
        is_own = all(cursor.get(name) == getattr(request, name) for name in _FILTERS)
        if (
            not is_own
            or not isinstance(micro, int)
            or not 0 <= micro < 2**63
            or not isinstance(campaign_id, str)
            or "\0" in campaign_id
        ):
            raise invalid_field("page_token", "is not a token of this list", "PAGE_TOKEN_INVALID")
        after = (micro, campaign_id)
    return AttributionQuery(
        model=request.model,
        start=day_from_proto(start, "start_date"),
        end=day_from_proto(end, "end_date"),
        currency_code=currency_code_from_proto(request.currency_code),
        size=page_size(request.page_size),
        after=after,
    )


def attribution_to_proto(attribution: CampaignAttribution) -> pb.GetAttributionResponse:
    """Return the answer of GetAttribution."""
    return pb.GetAttributionResponse(
        campaign_id=attribution.campaign_id,
        currency_code=attribution.currency_code or "",
        credits=[_credit_to_proto(credit) for credit in attribution.credits],
        date_range=range_to_proto(attribution.days),
        as_of=_time(attribution.as_of),
        conversions=attribution.counted.microconversions // MICRO,
        revenue=micros_to_money(attribution.counted.revenue_micros),
        direct_conversions=attribution.direct_conversions,
        lookback_days=attribution.lookback_days,
    )


def portfolio_attribution_to_proto(
    request: pb.GetPortfolioAttributionRequest, attribution: PortfolioAttribution
) -> pb.GetPortfolioAttributionResponse:
    """Return the answer of GetPortfolioAttribution; the next page's token holds what this page was asked."""
    return pb.GetPortfolioAttributionResponse(
        model=attribution.model,
        currency_code=attribution.currency_code or "",
        date_range=range_to_proto(attribution.days),
        as_of=_time(attribution.as_of),
        campaigns=[
            pb.CampaignCredit(campaign_id=campaign_id, credit=_credit_to_proto(credit))
            for campaign_id, credit in attribution.campaigns
        ],
        next_page_token=_next_page_token(request, attribution),
        conversions=attribution.divided.conversions,
        revenue=micros_to_money(attribution.divided.revenue_micros),
        credited_conversions=attribution.credited.microconversions / MICRO,
        credited_revenue=micros_to_money(attribution.credited.revenue_micros),
        direct_conversions=attribution.divided.direct_conversions,
        touched_purchases=attribution.divided.touched_purchases,
        lookback_days=attribution.lookback_days,
    )


def _next_page_token(request: pb.GetPortfolioAttributionRequest, attribution: PortfolioAttribution) -> str:
    if not attribution.has_more:
        return ""
    campaign_id, credit = attribution.campaigns[-1]
    return encode_page_token(
        {
            **{name: getattr(request, name) for name in _FILTERS},
            "from": attribution.days.start.isoformat(),
            "to": attribution.days.end.isoformat(),
            "micro": credit.sums.microconversions,
            "campaign_id": campaign_id,
        }
    )


def _credit_to_proto(credit: Credit) -> pb.AttributionCredit:
    return pb.AttributionCredit(
        model=credit.model,
        conversions=credit.sums.microconversions / MICRO,
        revenue=micros_to_money(credit.sums.revenue_micros),
        conversion_share=credit.share.value,
        conversion_share_interval=interval_to_proto(credit.share.interval),
    )


def _time(moment: datetime | None) -> Timestamp | None:
    return None if moment is None else datetime_to_timestamp(moment)
