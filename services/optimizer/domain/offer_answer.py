"""From a campaign's situation to the answer that a caller gets: the steps around the model server's call."""

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
from services.optimizer.domain.objectives import Objective
from services.optimizer.domain.recommendation import OfferRecommendation, Question, decide_offer
from services.optimizer.domain.response import CURVE_OFFERS_MICROS, Anchor
from services.optimizer.domain.serving_parameters import ServingParameters
from services.optimizer.domain.support import Support

INTERVAL_LEVEL: Final = 0.9
NOT_RANDOM: Final = (
    "The effect of the offer is learned from offers that changed within campaigns; these changes were not"
    " random. An A/B test of the recommended offer settles it."
)


@dataclass(frozen=True, kw_only=True)
class OfferCase:
    """Everything known of a campaign before the model server is asked.

    `anchor_offers_micros` (not empty) are the offers at which the forest sets the level of the curve, by
    `anchor_weights`. `known_rate` is the rate that the caller saw at the only anchor offer, in the forest's
    place. `daily_views` is the size of the day that intervals are for.
    """

    question: Question
    situation: Situation
    anchor_offers_micros: tuple[int, ...]
    anchor_weights: tuple[float, ...]
    known_rate: float | None
    daily_views: float

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
    """A recommendation with its intervals (None where the model kept none) and what to beware of."""

    case: OfferCase
    recommendation: OfferRecommendation
    interval: Interval | None
    curve_intervals: tuple[Interval | None, ...]
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
    anchor = Anchor(
        offers=np.array(case.anchor_offers_micros) / MICROS_PER_UNIT,
        rates=predicted[count:] if case.known_rate is None else np.array([case.known_rate]),
        weights=np.array(case.anchor_weights),
    )
    recommendation = decide_offer(
        case.question,
        response=parameters.response,
        support=parameters.support,
        anchor=anchor,
        forest=predicted[:count],
    )
    intervals = tuple(
        _interval(point.conversion_rate, case.daily_views, parameters) for point in recommendation.curve
    )
    best = CURVE_OFFERS_MICROS.index(recommendation.offer_micros)
    return OfferAnswer(
        case=case,
        recommendation=recommendation,
        interval=intervals[best],
        curve_intervals=intervals,
        model_version=model_version,
        warnings=tuple(_warn(case, recommendation, has_interval=intervals[best] is not None)),
    )


def _interval(rate: float, views: float, parameters: ServingParameters) -> Interval | None:
    if INTERVAL_LEVEL not in parameters.conformal.quantiles:
        return None
    lower, upper = parameters.conformal.interval(rate, views, INTERVAL_LEVEL)
    return Interval(lower=lower, upper=upper)


def _warn(case: OfferCase, recommendation: OfferRecommendation, *, has_interval: bool) -> list[str]:
    warnings = [NOT_RANDOM]
    if recommendation.is_at_edge:
        warnings.append(
            "The recommended offer is the last one that the data supports; a better one may lie beyond."
        )
    if case.question.current_offer_micros is not None and recommendation.current_conversion_rate is None:
        warnings.append("The data does not support the current offer, so nothing is compared with it.")
    if case.situation.historical_impressions == 0:
        warnings.append(f"The campaign has no impressions in the last {HISTORY_DAYS} days.")
    question = case.question
    if question.objective is Objective.PROFIT and question.economics.gross_margin_rate is None:
        warnings.append("No gross margin is known for the campaign, so all revenue is taken for margin.")
    if not has_interval:
        warnings.append("Too few days were held out in training for an interval.")
    return warnings
