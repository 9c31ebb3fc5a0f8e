"""From a campaign's situation to the answer that a caller gets: the steps around the model server's call."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Final

import numpy as np

from services.optimizer.domain.campaigns import PlannedCampaign, SentOffer, TypicalHistory
from services.optimizer.domain.features import (
    HISTORY_DAYS,
    MICROS_PER_UNIT,
    Float32Array,
    FloatArray,
    Situation,
    situation_features,
)
from services.optimizer.domain.metrics import Conformal
from services.optimizer.domain.objectives import Objective
from services.optimizer.domain.offer_cells import CampaignAudience
from services.optimizer.domain.offer_evidence import Evidence, gather_evidence
from services.optimizer.domain.recommendation import (
    CurvePoint,
    Knowledge,
    OfferRecommendation,
    Question,
    decide_offer,
)
from services.optimizer.domain.response import CURVE_OFFERS_MICROS, Anchor, Audience, logistic, logit
from services.optimizer.domain.serving_parameters import ServingParameters
from services.optimizer.domain.support import Support
from services.optimizer.domain.training_window import WINDOW_DAYS

INTERVAL_LEVEL: Final = 0.9
WIDEST_INTERVAL: Final = 0.9
"""An interval that leaves out a tenth of [0, 1] or less says nothing, and is not given."""
_LEAST_SLOPE: Final = 1e-4


@dataclass(frozen=True, kw_only=True)
class OfferCase:
    """Everything known of a campaign before the model server is asked.

    `anchor_offers_micros` (not empty) are the offers at which the forest sets the level of the curve, by
    `anchor_weights`. `known_rate` is the rate that the caller saw at the only anchor offer, in the forest's
    place. `daily_views` is the size of the day that intervals are for, None where nobody knows how the
    campaign stands. `seen_until` is the last day somebody viewed a campaign that nobody viewed in the history
    days, and `situation` and the anchor are then those of the days up to it. `audience` is who viewed the
    campaign before the last training, None where nobody knows; `views_a_day` the mean over all days, also
    those without any. `level_spread` is the standard deviation of the curve's level (of the logit) beyond
    what intervals were calibrated on.
    """

    question: Question
    situation: Situation
    anchor_offers_micros: tuple[int, ...]
    anchor_weights: tuple[float, ...]
    known_rate: float | None
    daily_views: float | None
    seen_until: date | None = None
    audience: CampaignAudience | None = None
    views_a_day: float | None = None
    level_spread: float = 0.0

    def features(self, parameters: ServingParameters) -> Float32Array:
        """Return the rows (41 + anchors, 7) to be predicted, in one call."""
        offers = (*CURVE_OFFERS_MICROS, *self.anchor_offers_micros)
        return situation_features(self.situation, offers, parameters.encoding)


@dataclass(frozen=True, kw_only=True)
class Interval:
    """A range within [0, 1] for the conversion rate of a day."""

    lower: float
    upper: float


@dataclass(frozen=True, kw_only=True)
class OfferAnswer:
    """A recommendation with its intervals (None where none can be said) and what to beware of."""

    case: OfferCase
    recommendation: OfferRecommendation
    interval: Interval | None
    curve_intervals: tuple[Interval | None, ...]
    evidence: Evidence
    model_version: int
    warnings: tuple[str, ...]


def sent_anchor(
    sent: tuple[SentOffer, ...], *, fallback_micros: int | None, campaign_type: int, support: Support
) -> tuple[tuple[int, ...], tuple[float, ...]]:
    """Return where the level of a campaign's curve is set: offers and weights.

    The offers lately sent, by their views; else `fallback_micros` (the current offer); else all that the
    campaign type has tried; else the middle of the curve.
    """
    known = [(offer.offer_micros, offer.views) for offer in sent if offer.offer_micros is not None]
    viewed = [(offer, float(views)) for offer, views in known if views > 0]
    if viewed:
        return tuple(offer for offer, _ in viewed), tuple(views for _, views in viewed)
    if fallback_micros is not None:
        return (fallback_micros,), (1.0,)
    of_type = support.get(campaign_type)
    tried = of_type.tried_micros if of_type is not None and of_type.tried_micros else ()
    offers = tried or (CURVE_OFFERS_MICROS[len(CURVE_OFFERS_MICROS) // 2],)
    return offers, (1.0,) * len(offers)


def planned_situation(planned: PlannedCampaign, typical: TypicalHistory, day: date) -> Situation:
    """Return the situation of a planned campaign: the history of its type's average campaign.

    Where the planner knows a conversion rate, the history converts at that rate.
    """
    conversions = typical.conversions
    if planned.current_conversion_rate is not None:
        conversions = typical.views * planned.current_conversion_rate
    return Situation(
        day=day,
        campaign_type=planned.campaign_type,
        merchant_id=planned.merchant_id,
        historical_impressions=round(typical.impressions),
        historical_conversions=round(conversions),
    )


def answer_offer(
    case: OfferCase, predicted: FloatArray, parameters: ServingParameters, model_version: int
) -> OfferAnswer:
    """Return the answer, given the forest's rates for `case.features`.

    Raises:
        FailedPreconditionError: as `decide_offer`.
    """
    count = len(CURVE_OFFERS_MICROS)
    rates = logistic(logit(predicted[count:]) + parameters.level_drift)
    if case.known_rate is not None:
        rates = np.array([case.known_rate])
    conformal = _conformal_of(case, parameters)
    anchor = Anchor(
        offers=np.array(case.anchor_offers_micros) / MICROS_PER_UNIT,
        rates=rates,
        weights=np.array(case.anchor_weights),
        audience=_audience(case, parameters.segment_effects),
    )
    usual_rate = float(np.average(rates, weights=anchor.weights))
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
    intervals = tuple(_interval(point, case, conformal) for point in recommendation.curve)
    best = CURVE_OFFERS_MICROS.index(recommendation.offer_micros)
    evidence = gather_evidence(case.question.campaign_type, parameters)
    return OfferAnswer(
        case=case,
        recommendation=recommendation,
        interval=intervals[best],
        curve_intervals=intervals,
        evidence=evidence,
        model_version=model_version,
        warnings=(
            evidence.caveat,
            *_warn_of_constraints(recommendation),
            *_warn_of_comparison(case, recommendation),
            *_warn_of_history(case),
            *_warn_of_interval(case, conformal, intervals[best]),
        ),
    )


def _conformal_of(case: OfferCase, parameters: ServingParameters) -> Conformal:
    """Return what calibrates the intervals of a campaign that goes on, or of one that paused."""
    if case.seen_until is not None and parameters.paused_conformal is not None:
        return parameters.paused_conformal
    return parameters.conformal


def _audience(case: OfferCase, segment_effects: Mapping[int, float]) -> Audience | None:
    if case.audience is None:
        return None
    return case.audience.at_offers(case.anchor_offers_micros, segment_effects)


def _logit_variance(variance: float, rate: float) -> float:
    """Return the variance of a logit whose rate has `variance` (delta method)."""
    return variance / max(rate * (1.0 - rate), _LEAST_SLOPE) ** 2


def _interval(point: CurvePoint, case: OfferCase, conformal: Conformal) -> Interval | None:
    """Return the interval of a day's rate; wider, the farther the offer lies from those lately sent."""
    if INTERVAL_LEVEL not in conformal.quantiles or case.daily_views is None:
        return None
    rate = point.conversion_rate
    spread = math.hypot(point.logit_spread, case.level_spread)
    lower, upper = conformal.interval(
        rate, case.daily_views, INTERVAL_LEVEL, more_variance=(rate * (1.0 - rate) * spread) ** 2
    )
    return Interval(lower=lower, upper=upper) if upper - lower < WIDEST_INTERVAL else None


def _warn_of_constraints(recommendation: OfferRecommendation) -> Iterator[str]:
    binding = [check.constraint for check in recommendation.constraints if check.is_binding]
    for constraint in binding:
        yield (
            f"{constraint.kind.value} of {constraint.limit:g} ({constraint.source.value}) decides: without"
            f" constraints the offer would be"
            f" {recommendation.unconstrained_offer_micros / MICROS_PER_UNIT:g}."
        )


def _warn_of_comparison(case: OfferCase, recommendation: OfferRecommendation) -> Iterator[str]:
    question, comparison = case.question, recommendation.comparison
    if recommendation.is_at_edge:
        yield "The recommended offer is the last one that the data supports; a better one may lie beyond."
    if question.current_offer_micros is not None and comparison is None:
        yield "The data does not support the current offer, so nothing is compared with it."
    if comparison is not None and comparison.improvement is None:
        yield (
            f"The objective is {comparison.value_per_view:.4f} per view at the current offer, next to"
            f" nothing or a loss beside {recommendation.value_per_view:.4f} at the recommended one, so no"
            " percentage is given."
        )
    if question.objective is Objective.PROFIT and question.economics.gross_margin_rate is None:
        yield "No gross margin is known for the campaign, so all revenue is taken for margin."


def _warn_of_history(case: OfferCase) -> Iterator[str]:
    if case.seen_until is not None:
        yield (
            f"The campaign has no views in the last {HISTORY_DAYS} days; this is for the campaign as it was"
            f" until {case.seen_until}."
        )
    elif case.situation.historical_impressions == 0:
        yield f"The campaign has no impressions in the last {HISTORY_DAYS} days."


def _warn_of_interval(case: OfferCase, conformal: Conformal, interval: Interval | None) -> Iterator[str]:
    if interval is not None:
        if case.level_spread > 0.0:
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
