"""How a conversion rate answers to the offer: a smooth, saturating, pooled curve, anchored by the forest.

A forest predicts well where a campaign stands, and says little about what another offer would do: its
curve is a staircase, and its history features hide the offer's effect. So the level comes from the forest
and the shape from a logistic response,

    logit rate(x) = level + sum_k beta[type, k] * s_k(x) + slope[type] * x,    s_k(x) = x^4 / (x^4 + h_k^4),

fitted with effects of campaigns, days and segments (`training/response_fit.py`), its slope corrected by
offers drawn at random (`doubly_robust.py`). The level is set so that the curve agrees, on average over the
offers the campaign was seen with and the audiences that they met, with what the forest predicts there.
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
_LEVEL_STEPS: Final = 1000
"""At most; usual audiences take three to six. The wider the effects' spread, the less each step brings."""
_NOTHING_MISSING: Final = 1e-9
"""Log odds of the level."""


@dataclass(frozen=True, kw_only=True)
class TypeResponse:
    """The response of one campaign type.

    `coefficients` (3) belong to the saturating terms, `covariance` (3, 3) to the coefficients. `slope`, per
    currency unit, corrects what past offers that were not random bent the terms by, and is uncertain by
    `slope_error` (`doubly_robust.py`).
    """

    coefficients: FloatArray
    covariance: FloatArray
    slope: float = 0.0
    slope_error: float = 0.0

    def effect(self, offers: FloatArray) -> FloatArray:
        """Return what offers (currency units) add to the logit."""
        return np.asarray(saturating_terms(offers) @ self.coefficients + self.slope * offers)

    def effect_variance(self, terms: FloatArray, offers: FloatArray) -> FloatArray:
        """Return the variances of contrasts of effects, given by `terms` (rows, 3) and `offers` (rows)."""
        shape = np.sum((terms @ self.covariance) * terms, axis=1)
        return np.asarray(shape + (self.slope_error * offers) ** 2)


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
class Audience:
    """Who sees the offers: what each of S segment sets adds to the logit, and how large a share it is.

    `effects` (S) belong to the sets; `shares` (S) are those of the campaign as a whole, `anchor_shares`
    (anchors, S) those that each offer of the anchor was sent to. Shares add to 1.
    """

    effects: FloatArray
    shares: FloatArray
    anchor_shares: FloatArray


@dataclass(frozen=True, kw_only=True)
class Anchor:
    """Where the level of a curve is known: rates at offers (currency units), weighted by exposure.

    `audience` is None where nobody knows whom the offers met; all are then taken for alike.
    """

    offers: FloatArray
    rates: FloatArray
    weights: FloatArray
    audience: Audience | None = None

    @property
    def known_audience(self) -> Audience:
        """The audience, or one of people all alike."""
        if self.audience is not None:
            return self.audience
        return Audience(effects=np.zeros(1), shares=np.ones(1), anchor_shares=np.ones((len(self.offers), 1)))


def anchored_rates(response: TypeResponse, offers: FloatArray, anchor: Anchor) -> FloatArray:
    """Return the rates at `offers` before the campaign's whole audience.

    The standardised rate at x is sum_g share_g * logistic(level + effect_g + response(x)) (the g-formula: J.
    Robins 1986). The level is where, by weight, the mean logit of such rates at the anchor's offers, each
    before the audience that it was sent to, is the mean logit of the anchor's rates; found by adding what is
    missing until nothing is.
    """
    audience = anchor.known_audience
    at_anchor = response.effect(anchor.offers)
    wanted = logit(anchor.rates)
    level = float(np.average(wanted - at_anchor, weights=anchor.weights))
    for _ in range(_LEVEL_STEPS):
        reached = logit(_averaged(level + at_anchor, audience.effects, audience.anchor_shares))
        missing = float(np.average(wanted - reached, weights=anchor.weights))
        level += missing
        if abs(missing) < _NOTHING_MISSING:
            break
    return _averaged(level + response.effect(offers), audience.effects, audience.shares)


def _averaged(logits: FloatArray, effects: FloatArray, shares: FloatArray) -> FloatArray:
    """Return the rates (n) of audiences with `shares` (S or n, S) at `logits` (n) before their effects."""
    return np.asarray(np.sum(shares * logistic(logits[:, np.newaxis] + effects), axis=1))
