"""What serving needs beside the model file, and its JSON form in ml_models."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from services.optimizer.domain.features import Encoding
from services.optimizer.domain.metrics import Conformal
from services.optimizer.domain.response import ResponseModel, TypeResponse
from services.optimizer.domain.support import Support, TypeSupport


@dataclass(frozen=True, kw_only=True)
class ServingParameters:
    """The encoding of the features, the response to offers, its support, and the intervals' calibration."""

    encoding: Encoding
    response: ResponseModel
    support: Support
    conformal: Conformal


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
        "conformal": {
            "model_variance": parameters.conformal.model_variance,
            "quantiles": {str(level): score for level, score in parameters.conformal.quantiles.items()},
        },
    }


def from_document(document: dict[str, Any]) -> ServingParameters:
    """Return the parameters that `to_document` wrote."""
    encoding, conformal = document["encoding"], document["conformal"]
    return ServingParameters(
        encoding=Encoding(
            merchant_codes={int(key): float(code) for key, code in encoding["merchant_codes"].items()},
            unknown_merchant_code=float(encoding["unknown_merchant_code"]),
        ),
        response={
            int(campaign_type): TypeResponse(
                coefficients=np.array(response["coefficients"], dtype=np.float64),
                covariance=np.array(response["covariance"], dtype=np.float64),
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
        conformal=Conformal(
            model_variance=float(conformal["model_variance"]),
            quantiles={float(level): float(score) for level, score in conformal["quantiles"].items()},
        ),
    )
