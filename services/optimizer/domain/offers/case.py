"""Everything known of a campaign before the model server is asked for its offer."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Final

from services.optimizer.domain.campaigns import (
    UNKNOWN_TERMS,
    MerchantTerms,
    PlannedCampaign,
    SentOffer,
    TypicalHistory,
)
from services.optimizer.domain.features import Float32Array, FloatArray, Situation, situation_features
from services.optimizer.domain.models.serving_parameters import ServingParameters
from services.optimizer.domain.offers.recommendation import Question
from services.optimizer.domain.response.between_campaigns import Spread
from services.optimizer.domain.response.offer_cells import CampaignAudience
from services.optimizer.domain.response.response import CURVE_OFFERS_MICROS, logistic, logit
from services.optimizer.domain.response.support import Support

_WEEK: Final = 7


@dataclass(frozen=True, kw_only=True)
class OfferCase:
    """Everything known of a campaign before the model server is asked.

    `anchor_offers_micros` (not empty) are the offers at which the forest sets the level of the curve, by
    `anchor_weights`. `known_rate` is the rate that the caller saw at the only anchor offer, in the forest's
    place; `level` says where the levels of campaigns like one that nobody viewed lie, in the place of both.
    `daily_views` is the size of the day that intervals are for, None where nobody knows how the
    campaign stands. `seen_until` is the last day somebody viewed a campaign that nobody viewed in the history
    days, and `situation` and the anchor are then those of the days up to it. `audience` is who viewed the
    campaign before the last training, None where nobody knows; `views_a_day` the mean over all days, also
    those without any; `are_views_of_type` tells that they are the mean of the type's campaigns, and
    `are_views_stated` that the caller said them. `known_rate_views` are those behind `known_rate`.
    `days` are those to come that the answer is for: the forest's rates are averaged over them (none: the
    situation's own day). `level_spread` is the standard deviation of the curve's level (of the logit) beyond
    what intervals were calibrated on. `terms` are the merchant's; where `is_margin_of_merchant`, the gross
    margin is theirs. `ended_on` is the day a campaign ended that is over, None for others.
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
    level: Spread | None = None
    level_spread: float = 0.0
    known_rate_views: int | None = None
    terms: MerchantTerms = UNKNOWN_TERMS
    is_margin_of_merchant: bool = False
    are_views_of_type: bool = False
    are_views_stated: bool = False
    currency_code: str = ""
    days: tuple[date, ...] = ()
    ended_on: date | None = None

    def features(self, parameters: ServingParameters) -> Float32Array:
        """Return the rows (days x (41 + anchors), 7) to be predicted, in one call."""
        offers = (*CURVE_OFFERS_MICROS, *self.anchor_offers_micros)
        return situation_features(self.situation, offers, parameters.encoding, self.days)

    @property
    def forest_offers_micros(self) -> tuple[int, ...]:
        """The offers at which the forest sets the level; none where something else does."""
        return self.anchor_offers_micros if self.level is None and self.known_rate is None else ()

    def forest_features(self, parameters: ServingParameters) -> Float32Array:
        """Return the rows (days x forest offers, 7) that the level alone needs predicted."""
        return situation_features(self.situation, self.forest_offers_micros, parameters.encoding, self.days)

    @property
    def forest_rows(self) -> int:
        """How many rows `forest_features` has."""
        return max(len(self.days), 1) * len(self.forest_offers_micros)

    def over_days(self, predicted: FloatArray) -> FloatArray:
        """Return the mean over the days (of the logit) of rates predicted for rows of one day each."""
        if len(self.days) <= 1:
            return predicted
        return logistic(logit(predicted.reshape(len(self.days), -1)).mean(axis=0))


def days_to_come(today: date, weekdays: Collection[int]) -> tuple[date, ...]:
    """Return the days of the week from `today` on that fall on `weekdays` (Monday 0).

    All seven where no weekday is known. An offer is made for the days to come: what is special about the one
    on which it is asked for should not decide it.
    """
    week = tuple(today + timedelta(days=ahead) for ahead in range(_WEEK))
    return tuple(day for day in week if day.weekday() in weekdays) or week


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
