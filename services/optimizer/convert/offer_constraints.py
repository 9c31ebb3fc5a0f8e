"""What offers must keep, between the wire and the domain."""

from typing import Final

from gen.campaigns.optimizer.v1 import offer_constraints_pb2 as pb
from gen.campaigns.optimizer.v1 import offers_pb2
from services.common.errors import invalid_field
from services.common.wire import datetime_to_timestamp, micros_to_money, money_to_micros
from services.optimizer.convert.checks import LONGEST_COMMENT, LONGEST_ID, optional_text, required_id
from services.optimizer.domain.offers.constraints import (
    NO_LIMITS,
    ConstraintCheck,
    ConstraintSource,
    HeldLimits,
    KeptLimits,
    OfferLimits,
    Scope,
)
from services.optimizer.domain.response.response import LOWEST_OFFER_MICROS

_LARGEST_MARGIN: Final = 1.0


def scope_from_proto(request: pb.SetOfferConstraintsRequest | pb.GetOfferConstraintsRequest) -> Scope:
    """Return whose offers are meant: exactly one of campaign and merchant."""
    if request.HasField("merchant_id"):
        if request.campaign_id:
            raise invalid_field("merchant_id", "must be unset with campaign_id", "FIELDS_CONFLICT")
        return Scope.of_merchant(request.merchant_id)
    if not request.campaign_id:
        raise invalid_field("campaign_id", "is required without merchant_id", "FIELD_REQUIRED")
    return Scope.of_campaign(required_id(request.campaign_id, "campaign_id"))


def kept_limits_from_proto(request: pb.SetOfferConstraintsRequest) -> KeptLimits:
    """Return the limits to be kept."""
    scope, limits = scope_from_proto(request), limits_from_proto(request)
    if scope.kind is ConstraintSource.MERCHANT and limits.daily_budget_micros is not None:
        raise invalid_field("daily_budget", "is a campaign's only", "FIELDS_CONFLICT")
    _require_meant(limits, clear=request.clear)
    return KeptLimits(
        scope=scope,
        limits=limits,
        actor=optional_text(request.actor, "actor", longest=LONGEST_ID),
        comment=optional_text(request.comment, "comment", longest=LONGEST_COMMENT),
    )


def _require_meant(limits: OfferLimits, *, clear: bool) -> None:
    """Refuse to remove every limit unless that is asked for: the gateway drops fields that are misspelt."""
    if clear and limits != NO_LIMITS:
        raise invalid_field("clear", "must be unset with a constraint", "FIELDS_CONFLICT")
    if not clear and limits == NO_LIMITS:
        raise invalid_field(
            "clear",
            "must be true where all constraints are to be removed; to set one, give maximum_offer,"
            " minimum_profit_margin or daily_budget (a JSON field with another name is dropped)",
            "FIELD_REQUIRED",
        )


def etag_from_proto(request: pb.SetOfferConstraintsRequest) -> str:
    """Return what the constraints to be replaced are known by, empty for any."""
    return optional_text(request.etag, "etag", longest=LONGEST_ID)


def limits_from_proto(
    request: pb.SetOfferConstraintsRequest | offers_pb2.OptimizeOfferRequest,
) -> OfferLimits:
    """Return the limits that a request sets."""
    return OfferLimits(
        maximum_offer_micros=_maximum_offer(request),
        minimum_profit_margin=_margin(request),
        daily_budget_micros=_positive_money(request, "daily_budget"),
    )


def _maximum_offer(request: pb.SetOfferConstraintsRequest | offers_pb2.OptimizeOfferRequest) -> int | None:
    micros = _positive_money(request, "maximum_offer")
    if micros is not None and micros < LOWEST_OFFER_MICROS:
        lowest = micros_to_money(LOWEST_OFFER_MICROS)
        raise invalid_field(
            "maximum_offer", f"must be at least {lowest:g}, the smallest offer", "MONEY_OUT_OF_RANGE"
        )
    return micros


def _positive_money(
    request: pb.SetOfferConstraintsRequest | offers_pb2.OptimizeOfferRequest, field: str
) -> int | None:
    if not any(each.name == field for each, _ in request.ListFields()):
        return None
    micros = money_to_micros(getattr(request, field), field)
    if micros <= 0:
        raise invalid_field(field, "must be above 0", "MONEY_OUT_OF_RANGE")
    return micros


def _margin(request: pb.SetOfferConstraintsRequest | offers_pb2.OptimizeOfferRequest) -> float | None:
    if not request.HasField("minimum_profit_margin"):
        return None
    if not abs(request.minimum_profit_margin) <= _LARGEST_MARGIN:
        raise invalid_field("minimum_profit_margin", "must be from -1 to 1", "VALUE_OUT_OF_RANGE")
    return request.minimum_profit_margin


def held_limits_to_proto(held: HeldLimits) -> pb.GetOfferConstraintsResponse:
    """Return the limits that hold in a scope."""
    return pb.GetOfferConstraintsResponse(
        constraints=kept_limits_to_proto(held.own),
        merchant_constraints=None if held.of_merchant is None else kept_limits_to_proto(held.of_merchant),
    )


def kept_limits_to_proto(kept: KeptLimits) -> pb.OfferConstraints:
    """Return limits as they are kept; what is not limited stays unset."""
    limits, of_merchant = kept.limits, kept.scope.kind is ConstraintSource.MERCHANT
    return pb.OfferConstraints(
        campaign_id="" if of_merchant else kept.scope.name,
        merchant_id=int(kept.scope.name) if of_merchant else None,
        maximum_offer=_money(limits.maximum_offer_micros),
        minimum_profit_margin=limits.minimum_profit_margin,
        daily_budget=_money(limits.daily_budget_micros),
        actor=kept.actor,
        comment=kept.comment,
        update_time=None if kept.updated_at is None else datetime_to_timestamp(kept.updated_at),
        etag=kept.etag,
    )


def _money(micros: int | None) -> float | None:
    return None if micros is None else micros_to_money(micros)


def check_to_proto(check: ConstraintCheck) -> offers_pb2.OfferConstraintCheck:
    """Return a constraint that a recommended offer keeps."""
    return offers_pb2.OfferConstraintCheck(
        constraint=check.constraint.kind.value,
        source=check.constraint.source.value,
        limit=check.constraint.limit,
        is_binding=check.is_binding,
    )
