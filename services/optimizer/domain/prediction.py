"""What a planned campaign would do: its conversion rate, views, conversions and revenue, with intervals.

The expected rate is the forest's for a campaign with the history of its type's average one, over the days
of the coming week, moved along the fitted response to the planned offer. What the campaign itself will be
like is not known: intervals come from draws of its level and of its views per impression from what
campaigns of the type differ in (`between_campaigns`), of the response's own uncertainty, and of the chance
of views, conversions and orders.
"""

from dataclasses import dataclass
from datetime import date, timedelta
from typing import Final

import numpy as np
from scipy.special import ndtri

from services.common.errors import FailedPreconditionError
from services.optimizer.domain.between_campaigns import FEWEST_CAMPAIGNS, TypeSpread
from services.optimizer.domain.campaigns import TypicalHistory
from services.optimizer.domain.features import (
    MICROS_PER_UNIT,
    Float32Array,
    FloatArray,
    IntArray,
    Situation,
    situation_features,
)
from services.optimizer.domain.offer_evidence import gather_evidence
from services.optimizer.domain.offer_odds import logit_spreads
from services.optimizer.domain.response import Anchor, anchored_rates, logistic, logit
from services.optimizer.domain.revenue_spread import CampaignRevenue
from services.optimizer.domain.serving_parameters import ServingParameters

INTERVAL_LEVEL: Final = 0.9
DRAWS: Final = 4000
NO_REVENUE: Final = (
    "No revenue is predicted: what a conversion of the merchant's campaigns brings, or how campaigns differ"
    " in it, is not known."
)
_WEEK: Final = 7
_SEED: Final = 20_260_801
"""Every question is answered from the same draws, so that asked again it has the same answer."""
_STEPS: Final = 40


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A campaign that is only planned; `impressions` None for its rates alone."""

    campaign_type: int
    merchant_id: int
    offer_micros: int
    impressions: int | None


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """An expected value and its 90 % interval."""

    value: float
    lower: float
    upper: float


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """What a plan would do; views, conversions and revenue are None without impressions.

    Revenue (currency units) is None also where what conversions bring is not known. `campaigns` are those
    of the type whose differences the intervals come from.
    """

    rate: Estimate
    views: Estimate | None
    conversions: Estimate | None
    revenue: Estimate | None
    campaigns: int
    model_version: int
    warnings: tuple[str, ...]


def plan_features(
    plan: Plan, typical: TypicalHistory, first_day: date, parameters: ServingParameters
) -> Float32Array:
    """Return the rows (days of a week x tried offers, 7) to be predicted, in one call.

    Raises:
        FailedPreconditionError: the data cannot speak of the offer (OFFER_UNSUPPORTED).
    """
    tried = _require_support(plan, parameters)
    return np.concatenate(
        [
            situation_features(
                Situation(
                    day=first_day + timedelta(days=ahead),
                    campaign_type=plan.campaign_type,
                    merchant_id=plan.merchant_id,
                    historical_impressions=round(typical.impressions),
                    historical_conversions=round(typical.conversions),
                ),
                tried,
                parameters.encoding,
            )
            for ahead in range(_WEEK)
        ]
    )


def predict_plan(
    plan: Plan,
    predicted: FloatArray,
    parameters: ServingParameters,
    revenue: CampaignRevenue | None,
    model_version: int,
) -> Prediction:
    """Return the prediction, given the forest's rates for `plan_features` and what a conversion brings."""
    offers = np.array(parameters.support[plan.campaign_type].tried_micros) / MICROS_PER_UNIT
    anchor = Anchor(
        offers=offers,
        rates=predicted.reshape(_WEEK, len(offers)).mean(axis=0),
        weights=np.ones(len(offers)),
    )
    response = parameters.response[plan.campaign_type]
    planned = np.array([plan.offer_micros / MICROS_PER_UNIT])
    expected = float(anchored_rates(response, planned, anchor)[0])
    spread = parameters.between[plan.campaign_type]
    rng = np.random.default_rng(_SEED)
    shape = float(logit_spreads(response, planned, anchor)[0]) * ndtri(rng.random(DRAWS))
    rates = _rates_around(expected, spread.draw_levels(rng.random(DRAWS)) + shape)
    views, conversions, earned = _draw_sums(plan, rates, spread, revenue, rng)
    return Prediction(
        rate=_estimate(expected, rates),
        views=views,
        conversions=conversions,
        revenue=earned,
        campaigns=spread.campaigns,
        model_version=model_version,
        warnings=(gather_evidence(plan.campaign_type, parameters).caveat, *_warn(plan, revenue)),
    )


def _require_support(plan: Plan, parameters: ServingParameters) -> tuple[int, ...]:
    """Return the offers that the type tried."""
    kind = plan.campaign_type
    support = parameters.support.get(kind)
    if support is None or kind not in parameters.response or kind not in parameters.between:
        raise FailedPreconditionError(
            "no prediction without data: campaigns of this type did not vary their offers in the training"
            f" data, or fewer than {FEWEST_CAMPAIGNS} campaigns were viewed; vary offers (an A/B test does)"
            " and train again",
            reason="OFFER_UNSUPPORTED",
        )
    if not support.covers((plan.offer_micros,))[0]:
        tried = ", ".join(f"{offer / MICROS_PER_UNIT:g}" for offer in support.tried_micros)
        raise FailedPreconditionError(
            f"no prediction without data: campaigns of this type have sent {tried}, nothing near this offer",
            reason="OFFER_UNSUPPORTED",
            metadata={"tried_offers": tried},
        )
    return support.tried_micros


def _rates_around(expected: float, deviations: FloatArray) -> FloatArray:
    """Return logistic(centre + deviations) with the centre at which their mean is `expected`."""
    centre = float(logit(np.array([expected]))[0])
    rates = logistic(centre + deviations)
    for _ in range(_STEPS):
        centre += (expected - float(rates.mean())) / float(np.mean(rates * (1.0 - rates)))
        rates = logistic(centre + deviations)
    return rates


def _draw_sums(
    plan: Plan,
    rates: FloatArray,
    spread: TypeSpread,
    revenue: CampaignRevenue | None,
    rng: np.random.Generator,
) -> tuple[Estimate | None, Estimate | None, Estimate | None]:
    """Return views, conversions and revenue of the impressions planned."""
    if plan.impressions is None:
        return None, None, None
    view_rates = spread.draw_view_rates(rng.random(DRAWS))
    views = rng.binomial(plan.impressions, view_rates)
    conversions = rng.binomial(views, rates)
    expected_views = plan.impressions * float(view_rates.mean())
    expected_conversions = expected_views * float(rates.mean())
    earned = None
    if revenue is not None:
        draws = revenue.draw(conversions, rng.random(DRAWS), rng.random(DRAWS))
        earned = _estimate(expected_conversions * revenue.mean, draws)
    return _estimate(expected_views, views), _estimate(expected_conversions, conversions), earned


def _estimate(value: float, draws: FloatArray | IntArray) -> Estimate:
    tail = (1.0 - INTERVAL_LEVEL) / 2.0
    lower, upper = np.quantile(draws, [tail, 1.0 - tail])
    return Estimate(value=value, lower=min(float(lower), value), upper=max(float(upper), value))


def _warn(plan: Plan, revenue: CampaignRevenue | None) -> list[str]:
    if plan.impressions is None or revenue is not None:
        return []
    return [NO_REVENUE]
