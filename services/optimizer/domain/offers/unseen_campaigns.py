"""Offers of campaigns that nobody has viewed: at the level of others, and as unsure as others differ."""

import math
from dataclasses import replace

from services.common.errors import FailedPreconditionError
from services.optimizer.domain.campaigns import TypicalHistory
from services.optimizer.domain.features import MICROS_PER_UNIT
from services.optimizer.domain.models.serving_parameters import ServingParameters
from services.optimizer.domain.offers.case import OfferCase, sent_anchor


def like_others(case: OfferCase, typical: TypicalHistory, parameters: ServingParameters) -> OfferCase:
    """Return the case at the level of campaigns of its type and merchant, on days as large as theirs.

    The offer that it is compared with does not move its level. Without such campaigns it stays as it is and
    has no interval. The forest's level is not taken: on campaigns kept from the training it missed by more
    than this one (README.md, Measured).
    """
    situation = case.situation
    level = parameters.between.new_level(situation.campaign_type, situation.merchant_id)
    if level is None:
        return replace(case, daily_views=None)
    offers, weights = sent_anchor(
        (), fallback_micros=None, campaign_type=situation.campaign_type, support=parameters.support
    )
    return replace(
        case,
        anchor_offers_micros=offers,
        anchor_weights=weights,
        level=level,
        daily_views=typical.daily_views,
        level_spread=level.normal_deviation,
    )


def as_seen(case: OfferCase, parameters: ServingParameters) -> OfferCase:
    """Return the case of a planned campaign whose planner saw a rate, as uncertain as the views behind it.

    Where nobody knows how many those are, the level may then be off by as much as campaigns of the type
    differ. The variance of a logit seen in n views is 1 / (n rate (1 - rate)).

    Raises:
        FailedPreconditionError: the data cannot speak of the offer that it was seen at (OFFER_UNSUPPORTED).
    """
    rate, views, situation = case.known_rate, case.known_rate_views, case.situation
    if rate is None:
        raise LookupError("the case has no rate that was seen")
    _require_support(case, parameters)
    if views is not None:
        return replace(case, level_spread=1.0 / math.sqrt(views * rate * (1.0 - rate)))
    level = parameters.between.new_level(situation.campaign_type, situation.merchant_id)
    if level is None:
        return replace(case, daily_views=None)
    return replace(case, level_spread=level.normal_deviation)


def _require_support(case: OfferCase, parameters: ServingParameters) -> None:
    """Refuse a level seen at an offer from which the response would have to be extrapolated.

    Of a type that tried nothing no offer is answered anyway.
    """
    support = parameters.support.get(case.situation.campaign_type)
    if support is None or support.covers(case.anchor_offers_micros).all():
        return
    seen_at, tried = case.anchor_offers_micros[0] / MICROS_PER_UNIT, support.describe()
    raise FailedPreconditionError(
        f"current_conversion_rate was seen at current_offer, {seen_at:g},"
        f" and campaigns of this type have sent {tried}, nothing near it: what it says of other offers is not"
        " known; leave out current_conversion_rate",
        reason="OFFER_UNSUPPORTED",
        metadata={"field": "current_offer", "tried_offers": tried},
    )
