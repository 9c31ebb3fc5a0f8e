"""Predictions of planned campaigns between the wire and the domain."""

from typing import Final

from gen.campaigns.optimizer.v1 import prediction_pb2 as pb
from gen.campaigns.type.v1 import range_pb2
from services.common.errors import invalid_field
from services.common.wire import money_to_micros
from services.optimizer.convert.checks import required_campaign_type
from services.optimizer.domain.offers.prediction import Estimate, Plan, Prediction
from services.optimizer.domain.response.response import HIGHEST_OFFER_MICROS, LOWEST_OFFER_MICROS

_MOST_IMPRESSIONS: Final = 10**12


def plan_from_proto(request: pb.PredictCampaignRequest) -> Plan:
    """Return the plan; every field but impressions is required."""
    campaign_type = required_campaign_type(request.campaign_type, "campaign_type")
    if not request.HasField("merchant_id"):
        raise invalid_field("merchant_id", "is required", "FIELD_REQUIRED")
    if not request.HasField("offer_amount"):
        raise invalid_field("offer_amount", "is required", "FIELD_REQUIRED")
    offer = money_to_micros(request.offer_amount, "offer_amount")
    if not LOWEST_OFFER_MICROS <= offer <= HIGHEST_OFFER_MICROS:
        raise invalid_field("offer_amount", "must be from 5 to 25", "MONEY_OUT_OF_RANGE")
    if request.HasField("impressions") and not 1 <= request.impressions <= _MOST_IMPRESSIONS:
        raise invalid_field("impressions", f"must be from 1 to {_MOST_IMPRESSIONS}", "VALUE_OUT_OF_RANGE")
    return Plan(
        campaign_type=campaign_type,
        merchant_id=request.merchant_id,
        offer_micros=offer,
        impressions=request.impressions if request.HasField("impressions") else None,
    )


def prediction_to_proto(prediction: Prediction) -> pb.PredictCampaignResponse:
    """Return a prediction; what is not known stays unset."""
    views, conversions, revenue = prediction.views, prediction.conversions, prediction.revenue
    return pb.PredictCampaignResponse(
        predicted_conversion_rate=prediction.rate.value,
        predicted_conversion_rate_interval=_interval(prediction.rate),
        predicted_views=None if views is None else views.value,
        predicted_views_interval=_interval(views),
        predicted_conversions=None if conversions is None else conversions.value,
        predicted_conversions_interval=_interval(conversions),
        predicted_revenue=None if revenue is None else revenue.value,
        predicted_revenue_interval=_interval(revenue),
        model_version=prediction.model_version,
        compared_campaigns=prediction.campaigns,
        warnings=prediction.warnings,
        currency_code=prediction.currency_code,
    )


def _interval(estimate: Estimate | None) -> range_pb2.ConfidenceInterval | None:
    return (
        None if estimate is None else range_pb2.ConfidenceInterval(lower=estimate.lower, upper=estimate.upper)
    )
