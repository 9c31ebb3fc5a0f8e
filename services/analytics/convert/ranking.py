"""Rankings between the wire and the domain."""

from gen.campaigns.analytics.v1 import ranking_pb2
from services.analytics.convert.ranges import interval_to_proto, range_to_proto
from services.analytics.domain.ranking import RankedCampaign, Ranking
from services.analytics.operations.ranking import RankingQuery
from services.common.errors import invalid_field
from services.common.wire import MICROS_PER_UNIT, micros_to_money, timestamp_to_datetime

_CURRENCY_LENGTH = 3


def ranking_query_from_proto(request: ranking_pb2.ListTopCampaignsRequest) -> RankingQuery:
    """Return what is asked for; bounds are the domain's to say."""
    return RankingQuery(
        metric=request.metric,
        limit=request.limit if request.HasField("limit") else None,
        days=request.days if request.HasField("days") else None,
        as_of=timestamp_to_datetime(request.as_of, "as_of") if request.HasField("as_of") else None,
        minimum_volume=request.minimum_volume if request.HasField("minimum_volume") else None,
        currency_code=currency_code_from_proto(request.currency_code),
    )


def currency_code_from_proto(code: str) -> str:
    """Return the name of a currency, or the empty text; refused where none can have it."""
    if code and not (len(code) == _CURRENCY_LENGTH and code.isascii() and code.isalpha() and code.isupper()):
        raise invalid_field("currency_code", "must be three capital letters, such as USD", "TEXT_INVALID")
    return code


def ranking_to_proto(ranking: Ranking) -> ranking_pb2.ListTopCampaignsResponse:
    """Return the answer of ListTopCampaigns."""
    divisor = MICROS_PER_UNIT if ranking.metric.is_money else 1
    return ranking_pb2.ListTopCampaignsResponse(
        date_range=range_to_proto(ranking.date_range),
        metric=ranking.metric.name,
        campaigns=[_ranked_to_proto(campaign, divisor) for campaign in ranking.campaigns],
        volume_metric=ranking.metric.volume,
        minimum_volume=ranking.minimum_volume,
        interval_method=ranking.metric.method,
    )


def _ranked_to_proto(ranked: RankedCampaign, divisor: int) -> ranking_pb2.RankedCampaign:
    window = ranked.window
    counts = window.counts
    return ranking_pb2.RankedCampaign(
        rank=ranked.rank,
        campaign_id=window.campaign_id,
        campaign_name=window.campaign_name or "",
        value=ranked.value / divisor,
        value_interval=interval_to_proto(ranked.interval, divisor=divisor),
        currency_code=window.currency_code or "",
        impressions=counts.impressions,
        views=counts.views,
        clicks=counts.clicks,
        conversions=counts.conversions,
        revenue=micros_to_money(counts.revenue_micros),
        cost=micros_to_money(counts.cost_micros),
    )
