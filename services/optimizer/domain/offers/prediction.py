"""What a planned campaign would do: its conversion rate, views, conversions and revenue, with intervals.

The level of a campaign that is only planned is that of campaigns of its type, with what the merchant's
campaigns have in common (`between_campaigns`); the fitted response moves it to the planned offer. The
forest is not asked: it predicts well where a campaign has been, and a planned one has been nowhere; on
campaigns kept from the training it missed their levels by more (README.md, Measured). Intervals come from
draws of the level and of the views per impression, of the response's own uncertainty, and of the chance of
days, views, conversions and orders.
"""

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy.special import ndtri

from services.common.errors import FailedPreconditionError
from services.optimizer.domain.features import MICROS_PER_UNIT, FloatArray, IntArray
from services.optimizer.domain.models.serving_parameters import ServingParameters
from services.optimizer.domain.offers.evidence import gather_evidence
from services.optimizer.domain.response.between_campaigns import FEWEST_CAMPAIGNS, BetweenCampaigns, Spread
from services.optimizer.domain.response.offer_odds import logit_spreads
from services.optimizer.domain.response.response import Anchor, logistic
from services.optimizer.domain.response.revenue_spread import CampaignRevenue

INTERVAL_LEVEL: Final = 0.9
DRAWS: Final = 4000
NO_REVENUE: Final = (
    "No revenue is predicted: what a conversion of the merchant's campaigns brings, or how campaigns differ"
    " in it, is not known."
)
_SEED: Final = 20_260_801
"""Every question is answered from the same draws, so that asked again it has the same answer."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A campaign that is only planned; `impressions` None for its rates alone."""

    campaign_type: int
    merchant_id: int
    offer_micros: int
    impressions: int | None


@dataclass(frozen=True, kw_only=True)
class Surroundings:
    """What is known beside the model; None where nobody knows.

    `daily_views` are those of an offer of the type's campaigns on a day that has any; `revenue` is what the
    merchant's conversions bring, in `currency_code` (empty: nobody knows).
    """

    daily_views: float | None
    revenue: CampaignRevenue | None
    currency_code: str = ""


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """An expected value and its 90 % interval."""

    value: float
    lower: float
    upper: float


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """What a plan would do; views, conversions and revenue are None without impressions.

    Revenue (in units of `currency_code`) is None also where what conversions bring is not known. `campaigns`
    are those of the type whose differences the intervals come from.
    """

    rate: Estimate
    views: Estimate | None
    conversions: Estimate | None
    revenue: Estimate | None
    currency_code: str
    campaigns: int
    model_version: int
    warnings: tuple[str, ...]


def predict_plan(plan: Plan, around: Surroundings, model: ServingParameters, version: int) -> Prediction:
    """Return the prediction of a version of the model.

    Raises:
        FailedPreconditionError: the data cannot speak of the offer (OFFER_UNSUPPORTED).
    """
    level = _require_support(plan, model)
    response = model.response[plan.campaign_type]
    planned = np.array([plan.offer_micros / MICROS_PER_UNIT])
    rng = np.random.default_rng(_SEED)
    shape = _shape_deviation(plan, planned, model) * ndtri(rng.random(DRAWS))
    logits = response.effect(planned)[0] + level.draw(rng.random(DRAWS)) + shape
    rate = level.expected_rate(float(response.effect(planned)[0]))
    views, conversions, earned = _draw_sums(plan, logits, around, model.between, rng, rate=rate)
    return Prediction(
        rate=_estimate(rate, logistic(logits)),
        views=views,
        conversions=conversions,
        revenue=earned,
        currency_code="" if earned is None else around.currency_code,
        campaigns=model.between.types[plan.campaign_type].campaigns,
        model_version=version,
        warnings=(gather_evidence(plan.campaign_type, model).caveat, *_warn(plan, around.revenue)),
    )


def _shape_deviation(plan: Plan, planned: FloatArray, model: ServingParameters) -> float:
    """Return how uncertain the logit at the offer is beside its mean over the offers that the type tried."""
    tried = np.array(model.support[plan.campaign_type].tried_micros) / MICROS_PER_UNIT
    anchor = Anchor(offers=tried, rates=np.full(len(tried), 0.5), weights=np.ones(len(tried)))
    return float(logit_spreads(model.response[plan.campaign_type], planned, anchor)[0])


def _require_support(plan: Plan, model: ServingParameters) -> Spread:
    """Return where the plan's level lies, if the data can speak of its offer."""
    support = model.support.get(plan.campaign_type)
    level = model.between.new_level(plan.campaign_type, plan.merchant_id)
    if support is None or plan.campaign_type not in model.response or level is None:
        raise FailedPreconditionError(
            "no prediction without data: campaigns of this type did not vary their offers in the training"
            f" data, or fewer than {FEWEST_CAMPAIGNS} campaigns were viewed; vary offers (an A/B test does)"
            " and train again",
            reason="OFFER_UNSUPPORTED",
        )
    if not support.covers((plan.offer_micros,))[0]:
        tried = support.describe()
        raise FailedPreconditionError(
            f"no prediction without data: campaigns of this type have sent {tried}, nothing near this offer",
            reason="OFFER_UNSUPPORTED",
            metadata={"tried_offers": tried},
        )
    return level


def _draw_sums(
    plan: Plan,
    logits: FloatArray,
    around: Surroundings,
    between: BetweenCampaigns,
    rng: np.random.Generator,
    *,
    rate: float,
) -> tuple[Estimate | None, Estimate | None, Estimate | None]:
    """Return views, conversions and revenue of the impressions planned, at the expected `rate`.

    So many views take some days, as large as the type's days are; the fewer, the less their own luck evens
    out.
    """
    if plan.impressions is None:
        return None, None, None
    view_rates = logistic(between.new_view_rate(plan.campaign_type).draw(rng.random(DRAWS)))
    expected_views = plan.impressions * float(view_rates.mean())
    days = max(expected_views / (around.daily_views or expected_views), 1.0)
    luck = between.day_deviation / math.sqrt(days) * ndtri(rng.random(DRAWS))
    views = rng.binomial(plan.impressions, view_rates)
    conversions = rng.binomial(views, logistic(logits + luck))
    expected_conversions = expected_views * rate
    earned = None
    if around.revenue is not None:
        draws = around.revenue.draw(conversions, rng.random(DRAWS), rng.random(DRAWS))
        earned = _estimate(expected_conversions * around.revenue.mean, draws)
    return _estimate(expected_views, views), _estimate(expected_conversions, conversions), earned


def _estimate(value: float, draws: FloatArray | IntArray) -> Estimate:
    tail = (1.0 - INTERVAL_LEVEL) / 2.0
    lower, upper = np.quantile(draws, [tail, 1.0 - tail])
    return Estimate(value=value, lower=min(float(lower), value), upper=max(float(upper), value))


def _warn(plan: Plan, revenue: CampaignRevenue | None) -> list[str]:
    if plan.impressions is None or revenue is not None:
        return []
    return [NO_REVENUE]
