"""Offers of campaigns that nobody has viewed: at the level of others, and as unsure as others differ."""

from dataclasses import replace

import numpy as np

from services.optimizer.domain.campaigns import TypicalHistory
from services.optimizer.domain.features import MICROS_PER_UNIT
from services.optimizer.domain.offer_answer import OfferCase
from services.optimizer.domain.serving_parameters import ServingParameters


def like_others(case: OfferCase, typical: TypicalHistory, parameters: ServingParameters) -> OfferCase:
    """Return the case at the level of campaigns of its type and merchant, on days as large as theirs.

    Without such campaigns it stays as it is and has no interval. The forest's level is not taken: on
    campaigns kept from the training it missed by more than this one (README.md, Measured).
    """
    situation = case.situation
    level = parameters.between.new_level(situation.campaign_type, situation.merchant_id)
    if level is None:
        return replace(case, daily_views=None)
    offer = case.anchor_offers_micros[len(case.anchor_offers_micros) // 2]
    effect = parameters.response[situation.campaign_type].effect(np.array([offer / MICROS_PER_UNIT]))
    return replace(
        case,
        anchor_offers_micros=(offer,),
        anchor_weights=(1.0,),
        known_rate=level.expected_rate(float(effect[0])),
        daily_views=typical.daily_views,
        level_spread=level.normal_deviation,
    )
