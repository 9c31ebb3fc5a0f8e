"""How a conversion rate answers to the offer: a smooth, saturating, pooled curve, anchored by the forest.

A forest predicts well where a campaign stands, and says little about what another offer would do: its
curve is a staircase, and its history features hide the offer's effect. So the level comes from the forest
and the shape from a logistic response,

    logit rate(x) = level + sum_k beta[type, k] * s_k(x),    s_k(x) = x^4 / (x^4 + h_k^4),

fitted with an intercept per campaign and per day (`training/response_fit.py`). The level is set so that the
curve agrees, on average over the offers the campaign was seen with, with what the forest predicts there.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from services.optimizer.domain.features import MICROS_PER_UNIT, FloatArray

HALF_SATURATIONS: Final = (7.0, 12.0, 19.0)
"""h_k in currency units: early, middle and late saturation within $5 to $25."""
STEEPNESS: Final = 4.0
LOWEST_OFFER_MICROS: Final = 5 * MICROS_PER_UNIT
HIGHEST_OFFER_MICROS: Final = 25 * MICROS_PER_UNIT
OFFER_STEP_MICROS: Final = MICROS_PER_UNIT // 2
CURVE_OFFERS_MICROS: Final = tuple(
    range(LOWEST_OFFER_MICROS, HIGHEST_OFFER_MICROS + OFFER_STEP_MICROS, OFFER_STEP_MICROS)
)
"""The 41 offers of every response curve."""
_LEAST_RATE: Final = 1e-6


@dataclass(frozen=True, kw_only=True)
class TypeResponse:
    """The response of one campaign type.

    `coefficients` (3) belong to the saturating terms, `covariance` (3, 3) to the coefficients.
    """

    coefficients: FloatArray
    covariance: FloatArray


ResponseModel = Mapping[int, TypeResponse]
"""The response by campaign type; a type that is missing has no identified response."""


def saturating_terms(offers: FloatArray) -> FloatArray:
    """Return s_k(x), shape (offers, 3), for offers in currency units; each rises from 0 to 1."""
    powered = np.asarray(offers, dtype=np.float64)[:, np.newaxis] ** STEEPNESS
    return np.asarray(powered / (powered + np.array(HALF_SATURATIONS) ** STEEPNESS))


def logit(rates: FloatArray) -> FloatArray:
    """Return log(rate / (1 - rate)) of rates held within [1e-6, 1 - 1e-6]."""
    held = np.clip(rates, _LEAST_RATE, 1.0 - _LEAST_RATE)
    return np.asarray(np.log(held) - np.log1p(-held))


def logistic(values: FloatArray) -> FloatArray:
    """Return 1 / (1 + exp(-values))."""
    return np.asarray(1.0 / (1.0 + np.exp(-values)))


@dataclass(frozen=True, kw_only=True)
class Anchor:
    """Where the level of a curve is known: rates at offers (currency units), weighted by exposure."""

    offers: FloatArray
    rates: FloatArray
    weights: FloatArray


def anchored_rates(response: TypeResponse, offers: FloatArray, anchor: Anchor) -> FloatArray:
    """Return the rates at `offers` of the curve whose weighted mean logit over the anchor is the anchor's."""
    at_anchor = saturating_terms(anchor.offers) @ response.coefficients
    level = np.average(logit(anchor.rates) - at_anchor, weights=anchor.weights)
    return logistic(level + saturating_terms(offers) @ response.coefficients)
