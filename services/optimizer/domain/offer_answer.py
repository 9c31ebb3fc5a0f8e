"""From a campaign's situation to the answer that a caller gets: the steps around the model server's call."""

from collections.abc import Iterator
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
from services.optimizer.domain.recommendation import CurvePoint, OfferRecommendation, Question, decide_offer
from services.optimizer.domain.response import CURVE_OFFERS_MICROS, Anchor
from services.optimizer.domain.serving_parameters import ServingParameters
from services.optimizer.domain.support import Support
from services.optimizer.domain.training_window import WINDOW_DAYS

INTERVAL_LEVEL: Final = 0.9
WIDEST_INTERVAL: Final = 0.9
"""An interval that leaves out a tenth of [0, 1] or less says nothing, and is not given."""
NOT_RANDOM: Final = (
    "The effect of the offer is learned from offers that changed within campaigns; these changes were not"
    " random. An A/B test of the recommended offer settles it."
)


@dataclass(frozen=True, kw_only=True)
class OfferCase:
    """Everything known of a campaign before the model server is asked.

    `anchor_offers_micros` (not empty) are the offers at which the forest sets the level of the curve, by
    `anchor_weights`. `known_rate` is the rate that the caller saw at the only anchor offer, in the forest's
    place. `daily_views` is the size of the day that intervals are for, None where nobody knows how the
    campaign stands. `seen_until` is the last day somebody viewed a campaign that nobody viewed in the
    history days, and `situation` and the anchor are then those of the days up to it.
    """

    question: Question
    situation: Situation
    anchor_offers_micros: tuple[int, ...]
    anchor_weights: tuple[float, ...]
    known_rate: float | None
    daily_views: float | None
    seen_until: date | None = None

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
        _interval(point, case.daily_views, parameters.conformal) for point in recommendation.curve
    )
    best = CURVE_OFFERS_MICROS.index(recommendation.offer_micros)
    return OfferAnswer(
        case=case,
        recommendation=recommendation,
        interval=intervals[best],
        curve_intervals=intervals,
        model_version=model_version,
        warnings=(
            NOT_RANDOM,
            *_warn_of_comparison(case, recommendation),
            *_warn_of_history(case),
            *_warn_of_interval(case, parameters.conformal, intervals[best]),
        ),
    )


def _interval(point: CurvePoint, views: float | None, conformal: Conformal) -> Interval | None:
    """Return the interval of a day's rate; wider, the farther the offer lies from those lately sent."""
    if INTERVAL_LEVEL not in conformal.quantiles or views is None:
        return None
    rate = point.conversion_rate
    lower, upper = conformal.interval(
        rate, views, INTERVAL_LEVEL, more_variance=(rate * (1.0 - rate) * point.logit_spread) ** 2
    )
    return Interval(lower=lower, upper=upper) if upper - lower < WIDEST_INTERVAL else None


def _warn_of_comparison(case: OfferCase, recommendation: OfferRecommendation) -> Iterator[str]:
    question, value = case.question, recommendation.current_value_per_view
    if recommendation.is_at_edge:
        yield "The recommended offer is the last one that the data supports; a better one may lie beyond."
    if question.current_offer_micros is not None and value is None:
        yield "The data does not support the current offer, so nothing is compared with it."
    if value is not None and recommendation.expected_improvement_percent is None:
        yield (
            f"The objective is {value:.4f} per view at the current offer, next to nothing or a loss beside"
            f" {recommendation.value_per_view:.4f} at the recommended one, so no percentage is given."
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
