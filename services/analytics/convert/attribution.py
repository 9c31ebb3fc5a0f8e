"""Attribution between the wire and the domain."""

from datetime import date, datetime

from google.protobuf.timestamp_pb2 import Timestamp

from gen.campaigns.analytics.v1 import attribution_pb2 as pb
from services.analytics.convert.metrics import day_from_proto
from services.analytics.convert.ranges import interval_to_proto, range_to_proto
from services.analytics.convert.ranking import currency_code_from_proto
from services.analytics.domain.attribution import MICRO
from services.analytics.domain.periods import check_range
from services.analytics.operations.attribution import (
    AttributionQuery,
    CampaignAttribution,
    Credit,
    PortfolioAttribution,
)
from services.common.errors import InvalidArgumentError
from services.common.paging import Cursor, decode_page_token, encode_page_token, page_size, unusable_token
from services.common.wire import datetime_to_timestamp, micros_to_money, parse_date

_FILTERS = ("model", "start_date", "end_date", "currency_code")


def query_from_proto(request: pb.GetPortfolioAttributionRequest) -> AttributionQuery:
    """Return which page of which credits is asked for; a token goes on with its own list only."""
    start = day_from_proto(request.start_date, "start_date")
    end = day_from_proto(request.end_date, "end_date")
    after = None
    if cursor := decode_page_token(request.page_token):
        if any(cursor.get(name) != getattr(request, name) for name in _FILTERS):
            raise unusable_token()
        # Open ends are closed by the first page, so that all pages are of the same days.
        start, end = _days_of_token(cursor, start, end)
        after = _after_of_token(cursor)
    return AttributionQuery(
        model=request.model,
        start=start,
        end=end,
        currency_code=currency_code_from_proto(request.currency_code),
        size=page_size(request.page_size),
        after=after,
    )


def _days_of_token(cursor: Cursor, start: date | None, end: date | None) -> tuple[date, date]:
    try:
        first, last = (parse_date(str(cursor.get(name)), "page_token") for name in ("from", "to"))
        start, end = start or first, end or last
        check_range(start, end)
    except InvalidArgumentError as error:
        raise unusable_token() from error
    return start, end


def _after_of_token(cursor: Cursor) -> tuple[int, str]:
    micro, campaign_id = cursor.get("micro"), cursor.get("campaign_id")
    if not isinstance(micro, int) or not 0 <= micro < 2**63:
        raise unusable_token()
    if not isinstance(campaign_id, str) or "\0" in campaign_id:
        raise unusable_token()
    return micro, campaign_id


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
