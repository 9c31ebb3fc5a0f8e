"""Imported costs between the wire and the domain."""

from collections.abc import Sequence
from datetime import date

from gen.campaigns.analytics.v1 import costs_pb2 as pb
from gen.campaigns.type.v1.campaign_pb2 import Channel
from services.analytics.convert.metrics import campaign_id_from_proto, day_from_proto
from services.analytics.domain.costs import CostPage, KeptCost, SentCost
from services.analytics.domain.events import MAXIMUM_CHANNEL
from services.analytics.operations.costs import ImportedCosts
from services.common.errors import DomainError, ResourceExhaustedError, invalid_field
from services.common.paging import Cursor, decode_page_token, encode_page_token, page_size
from services.common.wire import micros_to_money, parse_date

MAXIMUM_COSTS = 10_000


def costs_from_proto(request: pb.ImportCostsRequest) -> Sequence[SentCost]:
    """Return the costs of a request as they were sent; what is wrong with one is the domain's to say."""
    if not request.costs:
        raise invalid_field("costs", "must hold at least one cost", "FIELD_REQUIRED")
    if len(request.costs) > MAXIMUM_COSTS:
        raise ResourceExhaustedError(
            f"a request holds at most {MAXIMUM_COSTS} costs, this one has {len(request.costs)}",
            reason="BATCH_TOO_LARGE",
            metadata={"limit": str(MAXIMUM_COSTS)},
        )
    return [
        SentCost(
            campaign_id=cost.campaign_id,
            channel=int(cost.channel),
            cost_date=cost.cost_date,
            cost=cost.cost if cost.HasField("cost") else None,
            currency_code=cost.currency_code,
        )
        for cost in request.costs
    ]


def imported_to_proto(imported: ImportedCosts) -> pb.ImportCostsResponse:
    """Return the answer of ImportCosts."""
    return pb.ImportCostsResponse(
        accepted_count=imported.accepted,
        unchanged_count=imported.unchanged,
        rejections=[
            pb.CostRejection(
                index=rejection.index,
                field=rejection.field,
                reason=rejection.reason,
                message=rejection.message,
            )
            for rejection in imported.rejections
        ],
    )


def cost_filter_from_proto(request: pb.ListCostsRequest) -> tuple[str, date | None, date | None, CostPage]:
    """Return the campaign (empty: all), the days and the page that are asked for."""
    campaign_id = campaign_id_from_proto(request.campaign_id) if request.campaign_id else ""
    start = day_from_proto(request.start_date, "start_date")
    end = day_from_proto(request.end_date, "end_date")
    page = CostPage(after=_after_from_proto(request), limit=page_size(request.page_size))
    return campaign_id, start, end, page


def costs_to_proto(
    request: pb.ListCostsRequest, costs: Sequence[KeptCost], *, has_more: bool
) -> pb.ListCostsResponse:
    """Return a page of costs; its token goes with the request's campaign and days."""
    token = ""
    if has_more:
        last = costs[-1]
        token = encode_page_token(
            {
                **_filter(request),
                "after": last.campaign_id,
                "day": last.day.isoformat(),
                "channel": last.channel,
            }
        )
    return pb.ListCostsResponse(
        costs=[
            pb.DailyCost(
                campaign_id=cost.campaign_id,
                channel=Channel.ValueType(cost.channel),
                cost_date=cost.day.isoformat(),
                cost=micros_to_money(cost.cost_micros),
                currency_code=cost.currency_code,
            )
            for cost in costs
        ],
        next_page_token=token,
    )


def _filter(request: pb.ListCostsRequest) -> Cursor:
    return {
        "campaign_id": request.campaign_id,
        "start_date": request.start_date,
        "end_date": request.end_date,
    }


def _after_from_proto(request: pb.ListCostsRequest) -> tuple[str, date, int] | None:
    if not request.page_token:
        return None
    cursor = decode_page_token(request.page_token)
    after, day, channel = cursor.get("after"), cursor.get("day"), cursor.get("channel")
    fits = all(cursor.get(name) == value for name, value in _filter(request).items())
    if not (fits and isinstance(after, str) and "\0" not in after and isinstance(day, str)):
        raise _foreign_token()
    if not (isinstance(channel, int) and 0 <= channel <= MAXIMUM_CHANNEL):
        raise _foreign_token()
    try:
        return after, parse_date(day, "page_token"), channel
    except DomainError as error:
        raise _foreign_token() from error


def _foreign_token() -> DomainError:
    return invalid_field("page_token", "is not a token of an earlier page of this list", "PAGE_TOKEN_INVALID")
