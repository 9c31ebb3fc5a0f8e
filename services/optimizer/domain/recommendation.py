"""Which offer to recommend from a response curve, how sure that is, and when not to recommend at all."""

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy.special import ndtr

from services.common.errors import FailedPreconditionError
from services.optimizer.domain.features import MICROS_PER_UNIT, BoolArray, FloatArray
from services.optimizer.domain.objectives import Economics, Objective, value_per_conversion
from services.optimizer.domain.response import (
    CURVE_OFFERS_MICROS,
    Anchor,
    ResponseModel,
    TypeResponse,
    anchored_rates,
    saturating_terms,
)
from services.optimizer.domain.support import Support

CONFIDENCE_METHOD: Final = "laplace_delta"
"""The probability that the recommended offer beats the current one, by a normal approximation of the log
ratio of their conversion rates (delta method over the response's coefficients, whose posterior is Laplace's,
and over `CONFOUNDING_SPREAD`), averaged over what the mean revenue may be."""

MOST_CONFIDENCE: Final = 0.99
"""No probability above this, nor below its complement, is claimed: the shape of the curve and the normal
approximation are themselves not surer than that."""

CONFOUNDING_SPREAD: Final = 0.03
"""What past offers that were not random may have bent the curve by, unseen by its standard errors: the
standard deviation of a false slope of the logit, per currency unit. A judgement, of the size that audiences
leaning with the offer have in the simulated world; without it, confidence there was far above the share of
recommendations that were right. A randomised test is what removes it."""

SMALLEST_BASE: Final = 0.1
"""A current offer worth less than this share of the best is no base for a percentage: where it nears 0, the
percentage is made by the error of the base."""


@dataclass(frozen=True, kw_only=True)
class CurvePoint:
    """One offer of a response curve.

    `logit_spread` is the standard deviation of the rate's logit, for the shape of the curve between the
    offers that set its level and this one. `value_per_view` is the objective's, in currency units (a rate
    for conversion_rate); `is_supported` tells whether the data can speak of the offer.
    """

    offer_micros: int
    conversion_rate: float
    logit_spread: float
    forest_conversion_rate: float
    value_per_view: float
    is_supported: bool


@dataclass(frozen=True, kw_only=True)
class OfferRecommendation:
    """The best supported offer, and what is expected of it.

    The current offer's figures are None where there is no current offer, or the data cannot speak of it;
    `expected_improvement_percent` also where its value is below `SMALLEST_BASE` of the best one's.
    `is_at_edge` tells that the best offer is the last one the data supports: a better one may lie beyond.
    """

    offer_micros: int
    conversion_rate: float
    value_per_view: float
    current_offer_micros: int | None
    current_conversion_rate: float | None
    current_value_per_view: float | None
    expected_improvement_percent: float | None
    confidence: float | None
    is_at_edge: bool
    curve: tuple[CurvePoint, ...]


@dataclass(frozen=True, kw_only=True)
class Question:
    """What is asked: for which kind of campaign, from which offer, towards what."""

    campaign_type: int
    current_offer_micros: int | None
    objective: Objective
    economics: Economics


def decide_offer(
    question: Question, *, response: ResponseModel, support: Support, anchor: Anchor, forest: FloatArray
) -> OfferRecommendation:
    """Return the supported offer of the highest value.

    Args:
        question: what is asked.
        response: the fitted response by campaign type.
        support: what each campaign type has tried.
        anchor: what sets the level of the curve.
        forest: the forest's own rates at the 41 offers, shown beside the curve.

    Raises:
        FailedPreconditionError: the data cannot speak of this campaign type (OFFER_UNSUPPORTED), revenue is
            unknown (REVENUE_UNKNOWN), or no supported offer earns anything (OFFER_UNPROFITABLE).
    """
    type_response, supported = _consult_data(question.campaign_type, response, support)
    current_offer = question.current_offer_micros
    if current_offer is not None and not support[question.campaign_type].covers((current_offer,))[0]:
        current_offer = None
    offers = np.array(CURVE_OFFERS_MICROS) / MICROS_PER_UNIT
    rates = anchored_rates(type_response, offers, anchor)
    values = rates * value_per_conversion(question.objective, offers, question.economics)
    best = int(np.argmax(np.where(supported, values, -np.inf)))
    if values[best] <= 0.0:
        raise FailedPreconditionError(
            "no supported offer earns anything: gross_margin_rate x mean revenue per conversion is at most"
            " the smallest supported offer",
            reason="OFFER_UNPROFITABLE",
        )
    current = (
        None if current_offer is None else _PricedOffer.at(current_offer, question, type_response, anchor)
    )
    chosen = _PricedOffer(offer=float(offers[best]), rate=float(rates[best]), value=float(values[best]))
    places = np.flatnonzero(supported)
    spreads = _logit_spreads(type_response, offers, anchor)
    return OfferRecommendation(
        offer_micros=CURVE_OFFERS_MICROS[best],
        conversion_rate=chosen.rate,
        value_per_view=chosen.value,
        current_offer_micros=question.current_offer_micros,
        current_conversion_rate=current.rate if current else None,
        current_value_per_view=current.value if current else None,
        expected_improvement_percent=current.improvement_percent(chosen.value) if current else None,
        confidence=_confidence(question, type_response, anchor, chosen, current) if current else None,
        is_at_edge=best in (places[0], places[-1]),
        curve=tuple(
            CurvePoint(
                offer_micros=offer,
                conversion_rate=float(rates[index]),
                logit_spread=float(spreads[index]),
                forest_conversion_rate=float(forest[index]),
                value_per_view=float(values[index]),
                is_supported=bool(supported[index]),
            )
            for index, offer in enumerate(CURVE_OFFERS_MICROS)
        ),
    )


def _consult_data(
    campaign_type: int, response: ResponseModel, support: Support
) -> tuple[TypeResponse, BoolArray]:
    """Return the type's response and the offers of the curve it may be asked about."""
    of_type = support.get(campaign_type)
    if of_type is None or not of_type.tried_micros:
        raise _unsupported("no offer of this campaign type was viewed often enough in the training data")
    if of_type.varied_campaigns == 0 or campaign_type not in response:
        raise _unsupported(
            "no campaign of this type ever changed its offer in the training data, so the effect of the offer"
            " cannot be told from the campaigns' own differences"
        )
    supported = of_type.covers(CURVE_OFFERS_MICROS)
    if not supported.any():
        raise _unsupported("every offer tried by this campaign type lies outside $5 to $25")
    return response[campaign_type], supported


def _unsupported(why: str) -> FailedPreconditionError:
    return FailedPreconditionError(
        f"no recommendation without data: {why}; vary the offer (an A/B test does) and train again",
        reason="OFFER_UNSUPPORTED",
    )


@dataclass(frozen=True, kw_only=True)
class _PricedOffer:
    """An offer, its predicted rate and its value per view."""

    offer: float
    rate: float
    value: float

    @classmethod
    def at(
        cls, offer_micros: int, question: Question, response: TypeResponse, anchor: Anchor
    ) -> "_PricedOffer":
        offer = np.array([offer_micros / MICROS_PER_UNIT])
        rate = anchored_rates(response, offer, anchor)
        value = rate * value_per_conversion(question.objective, offer, question.economics)
        return cls(offer=float(offer[0]), rate=float(rate[0]), value=float(value[0]))

    def improvement_percent(self, best_value: float) -> float | None:
        return 100.0 * (best_value / self.value - 1.0) if self.value >= SMALLEST_BASE * best_value else None


def _logit_spreads(response: TypeResponse, offers: FloatArray, anchor: Anchor) -> FloatArray:
    """Return how uncertain the logit is at each offer x, given the level at the anchor.

    sqrt(g' V g + c²) with g = s(x) - a, a the mean terms at the anchor, V the coefficients' covariance, and
    c = CONFOUNDING_SPREAD * (x - mean offer of the anchor).
    """
    middle = np.average(saturating_terms(anchor.offers), axis=0, weights=anchor.weights)
    gradient = saturating_terms(offers) - middle
    bent = CONFOUNDING_SPREAD * (offers - np.average(anchor.offers, weights=anchor.weights))
    return np.asarray(np.sqrt(np.sum((gradient @ response.covariance) * gradient, axis=1) + bent**2))


def _confidence(
    question: Question,
    response: TypeResponse,
    anchor: Anchor,
    best: _PricedOffer,
    current: _PricedOffer,
) -> float:
    """Return the probability that the best offer's value exceeds the current one's; 1/2 for the same offer.

    The log ratio of the two rates has the gradient g = (1 - rate*) (s(x*) - a) - (1 - rate0) (s(x0) - a) in
    the coefficients, a the mean terms at the anchor, and the variance g' V g + c²; c = CONFOUNDING_SPREAD *
    (1 - rate*) * (x* - x0) is what a false slope around x0 does to it. The mean revenue is as uncertain as
    its days say, independently of the rates.
    """
    if math.isclose(best.offer, current.offer):
        return 0.5
    offers = np.array([best.offer, current.offer])
    terms = saturating_terms(offers) - np.average(
        saturating_terms(anchor.offers), axis=0, weights=anchor.weights
    )
    gradient = (1.0 - best.rate) * terms[0] - (1.0 - current.rate) * terms[1]
    bent = CONFOUNDING_SPREAD * (1.0 - best.rate) * (best.offer - current.offer)
    spread = math.sqrt(float(gradient @ response.covariance @ gradient) + bent**2)
    log_rates = math.log(best.rate / current.rate)
    wins = [
        _win(log_rates, spread, *value_per_conversion(question.objective, offers, economics).tolist())
        for economics in question.economics.plausible()
    ]
    return min(max(math.fsum(wins) / len(wins), 1.0 - MOST_CONFIDENCE), MOST_CONFIDENCE)


def _win(log_rates: float, spread: float, best_worth: float, current_worth: float) -> float:
    """Return the probability that one offer is worth more than the other, given what conversions are worth.

    Where one earns and the other does not, the rates decide nothing; where both lose, the smaller loss wins.
    """
    if best_worth * current_worth <= 0.0:
        return 1.0 if best_worth > current_worth else 0.0
    log_ratio = log_rates + math.log(best_worth / current_worth)
    return float(ndtr(math.copysign(log_ratio, log_ratio * best_worth) / spread))
