"""From a campaign's situation to the answer that a caller gets: the steps around the model server's call."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from services.optimizer.domain.features import (
    MICROS_PER_UNIT,
    FloatArray,
)
from services.optimizer.domain.models.serving_parameters import ServingParameters
from services.optimizer.domain.offers.case import OfferCase
from services.optimizer.domain.offers.evidence import Evidence, gather_evidence
from services.optimizer.domain.offers.recommendation import (
    Knowledge,
    OfferRecommendation,
    decide_offer,
)
from services.optimizer.domain.offers.warnings import (
    warn_of_assumptions,
    warn_of_comparison,
    warn_of_constraints,
    warn_of_history,
)
from services.optimizer.domain.response.metrics import Conformal
from services.optimizer.domain.response.offer_odds import logit_spreads
from services.optimizer.domain.response.response import (
    CURVE_OFFERS_MICROS,
    Anchor,
    Audience,
    TypeResponse,
    anchored_rates,
    logistic,
    logit,
)
from services.optimizer.domain.training_window import WINDOW_DAYS

INTERVAL_LEVEL: Final = 0.9
WIDEST_INTERVAL: Final = 0.9
"""An interval that leaves out a tenth of [0, 1] or less says nothing, and is not given."""
_LEAST_SLOPE: Final = 1e-4
_FLAT: Final = TypeResponse(coefficients=np.zeros(3), covariance=np.zeros((3, 3)))


@dataclass(frozen=True, kw_only=True)
class Interval:
    """A range within [0, 1] for the conversion rate of a day."""

    lower: float
    upper: float


@dataclass(frozen=True, kw_only=True)
class ExpectedRate:
    """The conversion rate expected at one offer, and its interval, None where none can be said."""

    rate: float
    interval: Interval | None


@dataclass(frozen=True, kw_only=True)
class OfferAnswer:
    """A recommendation with its intervals (None where none can be said) and what to beware of.

    `interval` is of the rate at the offer recommended, `current_interval` of that at the current one.
    """

    case: OfferCase
    recommendation: OfferRecommendation
    interval: Interval | None
    current_interval: Interval | None
    curve_intervals: tuple[Interval | None, ...]
    evidence: Evidence
    model_version: int
    warnings: tuple[str, ...]


def answer_offer(
    case: OfferCase, predicted: FloatArray, parameters: ServingParameters, model_version: int
) -> OfferAnswer:
    """Return the answer, given the forest's rates for `case.features`.

    Raises:
        FailedPreconditionError: as `decide_offer`.
    """
    predicted, count = case.over_days(predicted), len(CURVE_OFFERS_MICROS)
    conformal = _conformal_of(case, parameters)
    anchor = _anchor(case, predicted[count:], parameters)
    usual_rate = float(np.average(anchor.rates, weights=anchor.weights))
    recommendation = decide_offer(
        case.question,
        Knowledge(
            response=parameters.response,
            support=parameters.support,
            anchor=anchor,
            forest=predicted[:count],
            level_variance=_logit_variance(conformal.model_variance, usual_rate) + case.level_spread**2,
            views_a_day=case.views_a_day,
        ),
    )
    intervals = tuple(
        _interval(point.conversion_rate, point.logit_spread, case, conformal)
        for point in recommendation.curve
    )
    best = CURVE_OFFERS_MICROS.index(recommendation.offer_micros)
    current = recommendation.current_offer_micros
    evidence = gather_evidence(case.question.campaign_type, parameters)
    return OfferAnswer(
        case=case,
        recommendation=recommendation,
        interval=intervals[best],
        current_interval=(
            None if current is None else _rate_of(case, current, anchor, parameters, conformal).interval
        ),
        curve_intervals=intervals,
        evidence=evidence,
        model_version=model_version,
        warnings=(
            evidence.caveat,
            *warn_of_constraints(recommendation),
            *warn_of_comparison(case, recommendation),
            *warn_of_assumptions(case, recommendation),
            *warn_of_history(case),
            *_warn_of_interval(case, conformal, intervals[best]),
        ),
    )


def _conformal_of(case: OfferCase, parameters: ServingParameters) -> Conformal:
    """Return what calibrates the intervals of a campaign that goes on, or of one that paused."""
    if case.seen_until is not None and parameters.paused_conformal is not None:
        return parameters.paused_conformal
    return parameters.conformal


def _anchor(case: OfferCase, predicted: FloatArray, parameters: ServingParameters) -> Anchor:
    """Return where the level is known, given the forest's rates at the anchor's offers."""
    offers = np.array(case.anchor_offers_micros) / MICROS_PER_UNIT
    rates = logistic(logit(predicted) + parameters.level_drift)
    if case.known_rate is not None:
        rates = np.array([case.known_rate])
    if case.level is not None:
        effects = _response_of(case, parameters).effect(offers)
        rates = np.array([case.level.expected_rate(float(effect)) for effect in effects])
    return Anchor(
        offers=offers,
        rates=rates,
        weights=np.array(case.anchor_weights),
        audience=_audience(case, parameters.segment_effects),
    )


def _response_of(case: OfferCase, parameters: ServingParameters) -> TypeResponse:
    """Return the type's response to offers, a flat one where none was identified."""
    return parameters.response.get(case.question.campaign_type, _FLAT)


def rate_at(
    case: OfferCase, offer_micros: int, predicted: FloatArray, parameters: ServingParameters
) -> ExpectedRate:
    """Return the rate of `answer_offer`'s curve at an offer, with its interval.

    `predicted` are the forest's rates for `case.forest_features`. Of a type whose response nobody knows, the
    offer is taken to move nothing.
    """
    anchor = _anchor(case, case.over_days(predicted), parameters)
    return _rate_of(case, offer_micros, anchor, parameters, _conformal_of(case, parameters))


def _rate_of(
    case: OfferCase, offer_micros: int, anchor: Anchor, parameters: ServingParameters, conformal: Conformal
) -> ExpectedRate:
    response = _response_of(case, parameters)
    offer = np.array([offer_micros / MICROS_PER_UNIT])
    rate = float(anchored_rates(response, offer, anchor)[0])
    spread = float(logit_spreads(response, offer, anchor)[0])
    return ExpectedRate(rate=rate, interval=_interval(rate, spread, case, conformal))


def _audience(case: OfferCase, segment_effects: Mapping[int, float]) -> Audience | None:
    """Return who meets the offers: of a campaign that nobody viewed, as many as levels are likely."""
    if case.level is not None:
        deviations = case.level.deviations
        shares = np.full(len(deviations), 1.0 / len(deviations))
        anchors = len(case.anchor_offers_micros)
        return Audience(effects=deviations, shares=shares, anchor_shares=np.tile(shares, (anchors, 1)))
    if case.audience is None:
        return None
    return case.audience.at_offers(case.anchor_offers_micros, segment_effects)


def _logit_variance(variance: float, rate: float) -> float:
    """Return the variance of a logit whose rate has `variance` (delta method)."""
    return variance / max(rate * (1.0 - rate), _LEAST_SLOPE) ** 2


def _interval(rate: float, logit_spread: float, case: OfferCase, conformal: Conformal) -> Interval | None:
    """Return the interval of a day's rate; wider, the farther the offer lies from those lately sent."""
    if INTERVAL_LEVEL not in conformal.quantiles or case.daily_views is None:
        return None
    spread = math.hypot(logit_spread, case.level_spread)
    lower, upper = conformal.interval(
        rate, case.daily_views, INTERVAL_LEVEL, more_variance=(rate * (1.0 - rate) * spread) ** 2
    )
    return Interval(lower=lower, upper=upper) if upper - lower < WIDEST_INTERVAL else None


def _warn_of_interval(case: OfferCase, conformal: Conformal, interval: Interval | None) -> Iterator[str]:
    if interval is not None:
        if case.level is not None:
            yield "Nobody has seen this campaign's rate; how campaigns of its type differ is in the interval."
        return
    if INTERVAL_LEVEL not in conformal.quantiles:
        yield "Too few days were held out in training for an interval."
    elif case.daily_views is None:
        yield (
            "No interval is given: how large its days are is not known, or how it differs from others (no"
            f" views in the last {WINDOW_DAYS} days, nor a rate that was seen)."
        )
    else:
        yield (
            f"A day has about {case.daily_views:.0f} views; so few can convert at almost any rate, so no"
            " interval is given."
        )
