"""Offers between the wire and the domain; shapes are checked here, by field path."""

from typing import Final

from gen.campaigns.optimizer.v1 import offers_pb2 as pb
from gen.campaigns.type.v1 import campaign_pb2, range_pb2
from services.common.errors import FieldViolation, InvalidArgumentError, invalid_field, invalid_fields
from services.common.wire import micros_to_money, money_to_micros
from services.optimizer.convert.checks import optional_share
from services.optimizer.convert.offer_constraints import check_to_proto
from services.optimizer.convert.ranges import interval_to_proto
from services.optimizer.domain.campaigns import PlannedCampaign
from services.optimizer.domain.objectives import Objective
from services.optimizer.domain.offers.answer import INTERVAL_LEVEL, Interval, OfferAnswer
from services.optimizer.domain.offers.evidence import Evidence
from services.optimizer.domain.offers.recommendation import CurvePoint, Gain
from services.optimizer.domain.response.offer_odds import CONFIDENCE_METHOD

_PLANNED_FIELDS: Final = (
    "campaign_type",
    "merchant_id",
    "current_offer",
    "current_conversion_rate",
    "gross_margin_rate",
    "current_views",
    "views_per_day",
)
_MOST_VIEWS: Final = 10**12
_LEAST_RATE: Final = 1e-6
"""A curve is scaled to the rate: from 0 or 1, or what can hardly be told from them, it has no shape."""
_LONGEST_ID: Final = 128
_UNSPECIFIED: Final = campaign_pb2.CAMPAIGN_TYPE_UNSPECIFIED


def objective_from_proto(request: pb.OptimizeOfferRequest) -> Objective:
    """Return the objective; empty is profit."""
    try:
        return Objective(request.objective or Objective.PROFIT)
    except ValueError as error:
        words = ", ".join(objective.value for objective in Objective)
        raise invalid_field("objective", f"must be one of {words}", "VALUE_UNKNOWN") from error


def campaign_id_from_proto(request: pb.OptimizeOfferRequest) -> str | None:
    """Return the campaign asked about, None for one that is only planned; refuses a mixture of both."""
    if not request.campaign_id:
        return None
    if len(request.campaign_id) > _LONGEST_ID or "\0" in request.campaign_id:
        raise invalid_field(
            "campaign_id", f"must have at most {_LONGEST_ID} characters and no NUL", "TEXT_INVALID"
        )
    conflicts = [name for name in _PLANNED_FIELDS if _is_set(request, name)]
    if conflicts:
        raise invalid_fields(
            [
                FieldViolation(
                    field=name, description="must be unset with campaign_id", reason="FIELDS_CONFLICT"
                )
                for name in conflicts
            ]
        )
    return request.campaign_id


def _is_set(request: pb.OptimizeOfferRequest, name: str) -> bool:
    if name == "campaign_type":
        return request.campaign_type != _UNSPECIFIED
    return any(field.name == name for field, _ in request.ListFields())


def planned_from_proto(request: pb.OptimizeOfferRequest) -> PlannedCampaign:
    """Return the planned campaign that is described."""
    if request.campaign_type == _UNSPECIFIED:
        raise _required("campaign_type")
    if request.campaign_type not in campaign_pb2.CampaignType.values():
        raise invalid_field("campaign_type", "is no known campaign type", "VALUE_UNKNOWN")
    if not request.HasField("merchant_id"):
        raise _required("merchant_id")
    return PlannedCampaign(
        campaign_type=request.campaign_type,
        merchant_id=request.merchant_id,
        current_offer_micros=_current_offer(request),
        current_conversion_rate=_current_rate(request),
        current_views=_current_views(request),
        gross_margin_rate=_gross_margin(request),
        views_a_day=_views_per_day(request),
    )


def _required(field: str) -> InvalidArgumentError:
    return invalid_field(field, "is required without campaign_id", "FIELD_REQUIRED")


def _current_offer(request: pb.OptimizeOfferRequest) -> int | None:
    if not request.HasField("current_offer"):
        return None
    micros = money_to_micros(request.current_offer, "current_offer")
    if micros <= 0:
        raise invalid_field("current_offer", "must be above 0", "MONEY_OUT_OF_RANGE")
    return micros


def _current_rate(request: pb.OptimizeOfferRequest) -> float | None:
    if not request.HasField("current_conversion_rate"):
        return None
    if not _LEAST_RATE <= request.current_conversion_rate <= 1.0 - _LEAST_RATE:
        raise invalid_field(
            "current_conversion_rate",
            f"must be from {_LEAST_RATE:f} to {1.0 - _LEAST_RATE:f}",
            "VALUE_OUT_OF_RANGE",
        )
    if not request.HasField("current_offer"):
        raise invalid_field(
            "current_conversion_rate", "needs current_offer, the offer it was seen at", "FIELDS_CONFLICT"
        )
    return request.current_conversion_rate


def _current_views(request: pb.OptimizeOfferRequest) -> int | None:
    if not request.HasField("current_views"):
        return None
    if not 1 <= request.current_views <= _MOST_VIEWS:
        raise invalid_field("current_views", f"must be from 1 to {_MOST_VIEWS}", "VALUE_OUT_OF_RANGE")
    if not request.HasField("current_conversion_rate"):
        raise invalid_field(
            "current_views", "needs current_conversion_rate, which was seen in them", "FIELDS_CONFLICT"
        )
    return request.current_views


def _gross_margin(request: pb.OptimizeOfferRequest) -> float | None:
    rate = request.gross_margin_rate if request.HasField("gross_margin_rate") else None
    return optional_share(rate, "gross_margin_rate")


def _views_per_day(request: pb.OptimizeOfferRequest) -> float | None:
    if not request.HasField("views_per_day"):
        return None
    if not 0.0 < request.views_per_day <= _MOST_VIEWS:
        raise invalid_field(
            "views_per_day", f"must be above 0 and at most {_MOST_VIEWS}", "VALUE_OUT_OF_RANGE"
        )
    return request.views_per_day


def answer_to_proto(answer: OfferAnswer, campaign_id: str) -> pb.OptimizeOfferResponse:
    """Return a recommendation with its curve."""
    recommendation = answer.recommendation
    comparison, current = recommendation.comparison, answer.case.question.current_offer_micros
    improvement, gain = (comparison.improvement, comparison.gain) if comparison else (None, None)
    return pb.OptimizeOfferResponse(
        campaign_id=campaign_id,
        offer_amount=micros_to_money(recommendation.offer_micros),
        predicted_conversion_rate=recommendation.conversion_rate,
        predicted_conversion_rate_interval=interval_to_proto(answer.interval),
        expected_improvement_percent=None if improvement is None else 100.0 * improvement.value,
        confidence=comparison.confidence if comparison else None,
        confidence_method=CONFIDENCE_METHOD if comparison else "",
        objective=answer.case.question.objective.value,
        current_offer=None if current is None else micros_to_money(current),
        response_curve=[
            _point_to_proto(point, interval)
            for point, interval in zip(recommendation.curve, answer.curve_intervals, strict=True)
        ],
        model_version=answer.model_version,
        warnings=answer.warnings,
        expected_improvement_percent_interval=_ends_to_proto(improvement, 100.0),
        evidence=_evidence_to_proto(answer.evidence),
        constraints=[check_to_proto(check) for check in recommendation.constraints],
        unconstrained_offer_amount=micros_to_money(recommendation.unconstrained_offer_micros),
        currency_code=answer.case.currency_code,
        gross_margin_rate=answer.case.question.economics.gross_margin_rate,
        current_objective_value=comparison.value_per_view if comparison else None,
        expected_objective_gain=None if gain is None else gain.value,
        expected_objective_gain_interval=_ends_to_proto(gain, 1.0),
    )


def _ends_to_proto(gain: Gain | None, unit: float) -> range_pb2.ConfidenceInterval | None:
    if gain is None:
        return None
    lower, upper = gain.interval
    return range_pb2.ConfidenceInterval(lower=unit * lower, upper=unit * upper)


def _evidence_to_proto(evidence: Evidence) -> pb.OfferEvidence:
    message = pb.OfferEvidence(
        kind=evidence.kind.value,
        views=evidence.of_type.views,
        randomised_views=evidence.of_type.drawn_views,
        slope_correction=evidence.correction,
        slope_correction_error=evidence.correction_error,
        is_segmented=evidence.is_segmented,
    )
    if evidence.false_slope is not None:
        lower, upper = evidence.false_slope.interval(INTERVAL_LEVEL)
        message.correcting_campaigns = evidence.false_slope.campaigns
        message.false_slope = evidence.false_slope.point_estimate
        message.false_slope_interval.CopyFrom(range_pb2.ConfidenceInterval(lower=lower, upper=upper))
    return message


def _point_to_proto(point: CurvePoint, interval: Interval | None) -> pb.ResponsePoint:
    return pb.ResponsePoint(
        offer_amount=micros_to_money(point.offer_micros),
        predicted_conversion_rate=point.conversion_rate,
        predicted_conversion_rate_interval=interval_to_proto(interval),
        objective_value=point.value_per_view,
        is_supported=point.is_supported,
        forest_conversion_rate=point.forest_conversion_rate,
        broken_constraints=list(dict.fromkeys(kind.value for kind in point.broken)),
    )
