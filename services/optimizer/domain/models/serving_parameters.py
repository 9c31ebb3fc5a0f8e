"""What serving needs beside the model file, and its JSON form in ml_models."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from services.optimizer.domain.features import Encoding
from services.optimizer.domain.response.between_campaigns import (
    BetweenCampaigns,
    MerchantEffect,
    Spread,
    TypeSpread,
)
from services.optimizer.domain.response.doubly_robust import CONFOUNDING_SPREAD, FalseSlope
from services.optimizer.domain.response.metrics import Conformal
from services.optimizer.domain.response.offer_cells import DrawnOffers
from services.optimizer.domain.response.response import ResponseModel, TypeResponse
from services.optimizer.domain.response.support import Support, TypeSupport


@dataclass(frozen=True, kw_only=True)
class ServingParameters:
    """The encoding of the features, the response to offers, its support, and the intervals' calibration.

    `segment_effects` are what a segment set adds to the logit; `drawn_offers` what offers were drawn at
    random, by campaign type; `false_slope` what they showed, None where they were too few; `paused_conformal`
    calibrates intervals of campaigns that nobody viewed lately, None where too few rows could tell; `between`
    is how campaigns of a type differ, for those that are only planned. `level_drift` is what the held-out
    days added to the logits that were predicted for them.
    """

    encoding: Encoding
    response: ResponseModel
    support: Support
    conformal: Conformal
    segment_effects: Mapping[int, float] = field(default_factory=dict)
    drawn_offers: Mapping[int, DrawnOffers] = field(default_factory=dict)
    false_slope: FalseSlope | None = None
    paused_conformal: Conformal | None = None
    level_drift: float = 0.0
    between: BetweenCampaigns = field(default_factory=BetweenCampaigns)


def to_document(parameters: ServingParameters) -> dict[str, Any]:
    """Return `parameters` as JSON values; object keys are decimal strings."""
    return {
        "encoding": {
            "merchant_codes": {str(key): code for key, code in parameters.encoding.merchant_codes.items()},
            "unknown_merchant_code": parameters.encoding.unknown_merchant_code,
        },
        "response": {
            str(campaign_type): {
                "coefficients": response.coefficients.tolist(),
                "covariance": response.covariance.tolist(),
                "slope": response.slope,
                "slope_error": response.slope_error,
            }
            for campaign_type, response in parameters.response.items()
        },
        "support": {
            str(campaign_type): {
                "tried_micros": list(support.tried_micros),
                "varied_campaigns": support.varied_campaigns,
            }
            for campaign_type, support in parameters.support.items()
        },
        "conformal": _conformal_document(parameters.conformal),
        "level_drift": parameters.level_drift,
        "segment_effects": {str(key): effect for key, effect in parameters.segment_effects.items()},
        "drawn_offers": {str(key): asdict(drawn) for key, drawn in parameters.drawn_offers.items()},
        "false_slope": None if parameters.false_slope is None else asdict(parameters.false_slope),
        "paused_conformal": (
            None if parameters.paused_conformal is None else _conformal_document(parameters.paused_conformal)
        ),
        "between": _between_document(parameters.between),
    }


def _conformal_document(conformal: Conformal) -> dict[str, Any]:
    return {
        "model_variance": conformal.model_variance,
        "quantiles": {str(level): score for level, score in conformal.quantiles.items()},
    }


def _conformal(document: dict[str, Any]) -> Conformal:
    return Conformal(
        model_variance=float(document["model_variance"]),
        quantiles={float(level): float(score) for level, score in document["quantiles"].items()},
    )


def from_document(document: dict[str, Any]) -> ServingParameters:
    """Return the parameters that `to_document` wrote, now or before the later fields were added."""
    encoding, paused = document["encoding"], document.get("paused_conformal")
    false_slope = document.get("false_slope")
    return ServingParameters(
        encoding=Encoding(
            merchant_codes={int(key): float(code) for key, code in encoding["merchant_codes"].items()},
            unknown_merchant_code=float(encoding["unknown_merchant_code"]),
        ),
        response={
            int(campaign_type): TypeResponse(
                coefficients=np.array(response["coefficients"], dtype=np.float64),
                covariance=np.array(response["covariance"], dtype=np.float64),
                slope=float(response.get("slope", 0.0)),
                slope_error=float(response.get("slope_error", CONFOUNDING_SPREAD)),
            )
            for campaign_type, response in document["response"].items()
        },
        support={
            int(campaign_type): TypeSupport(
                tried_micros=tuple(support["tried_micros"]),
                varied_campaigns=int(support["varied_campaigns"]),
            )
            for campaign_type, support in document["support"].items()
        },
        conformal=_conformal(document["conformal"]),
        level_drift=float(document.get("level_drift", 0.0)),
        segment_effects={
            int(key): float(effect) for key, effect in document.get("segment_effects", {}).items()
        },
        drawn_offers={
            int(key): DrawnOffers(**drawn) for key, drawn in document.get("drawn_offers", {}).items()
        },
        false_slope=None if false_slope is None else FalseSlope(**false_slope),
        paused_conformal=None if paused is None else _conformal(paused),
        between=_between(document.get("between", {})),
    )


def _between_document(between: BetweenCampaigns) -> dict[str, Any]:
    return {
        **asdict(between),
        "types": {str(key): asdict(spread) for key, spread in between.types.items()},
        "merchants": {str(key): asdict(effect) for key, effect in between.merchants.items()},
    }


def _spread(document: dict[str, Any], campaigns: int) -> Spread:
    """Return a spread; of versions that did not keep the error of its mean, as if chance hid no level."""
    return Spread(**{"mean_variance": float(document["deviation"]) ** 2 / campaigns, **document})


def _between(document: dict[str, Any]) -> BetweenCampaigns:
    return BetweenCampaigns(
        types={
            int(key): TypeSpread(
                campaigns=int(spread["campaigns"]),
                level=_spread(spread["level"], int(spread["campaigns"])),
                view_rate=_spread(spread["view_rate"], int(spread["campaigns"])),
            )
            for key, spread in document.get("types", {}).items()
        },
        merchants={
            int(key): MerchantEffect(**effect) for key, effect in document.get("merchants", {}).items()
        },
        merchant_variance=float(document.get("merchant_variance", 0.0)),
        day_deviation=float(document.get("day_deviation", 0.0)),
    )
