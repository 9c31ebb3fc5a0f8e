"""What is true of a simulated world, for evaluators: no service is asked."""

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from examples.simulated_world import response
from examples.simulated_world.events import USUAL_HOUR_SHARE
from examples.simulated_world.population import FIRST_WAKING_HOUR, LAST_WAKING_HOUR
from examples.simulated_world.response import FloatArray
from examples.simulated_world.world import World

_LOGIT_BINS = 400


@dataclass(frozen=True, kw_only=True)
class Truth:
    """The optima that an optimizer should find.

    `conversion_curve` (campaigns, 41) is the conversion rate given a view at `response.CURVE_OFFERS`, over
    the campaign's whole reachable audience (no lean), its delivery hours and the days of the week;
    `profit_curve` is profit per view, `conversion x (gross margin rate x mean revenue - offer)`;
    `best_offer_for_profit` and `best_offer_for_conversion` (campaigns) are where they are highest;
    `best_hours` (users, 24) lists local hours from best to worst; `preferred_merchants` (users, merchants)
    lists merchant ids from most to least visited, `visit_probability` what each merchant id's share is
    (column = merchant id - 1).
    """

    conversion_curve: FloatArray
    profit_curve: FloatArray
    best_offer_for_profit: FloatArray
    best_offer_for_conversion: FloatArray
    best_hours: NDArray[np.intp]
    preferred_merchants: NDArray[np.intp]
    visit_probability: FloatArray

    @classmethod
    def of(cls, world: World) -> Self:
        """Compute the truth of a world from its equations."""
        campaigns, users = world.campaigns, world.users
        conversion = np.stack([_conversion_curve(world, index) for index in range(len(campaigns.names))])
        value = campaigns.gross_margin_rate * campaigns.mean_revenue
        profit = conversion * (value[:, np.newaxis] - response.CURVE_OFFERS)
        return cls(
            conversion_curve=conversion,
            profit_curve=profit,
            best_offer_for_profit=response.CURVE_OFFERS[profit.argmax(axis=1)],
            best_offer_for_conversion=response.CURVE_OFFERS[conversion.argmax(axis=1)],
            best_hours=np.argsort(-users.hour_profile, axis=1, kind="stable"),
            preferred_merchants=np.argsort(-users.preferences, axis=1, kind="stable") + 1,
            visit_probability=users.preferences,
        )


def _conversion_curve(world: World, campaign: int) -> FloatArray:
    """Mean conversion probability of a viewer of the campaign at each offer of the curve.

    The mean runs over users, delivery hours (weighted by the chance of a view) and days of the week. What
    does not depend on the offer is gathered into a histogram of logits first.
    """
    campaigns, users = world.campaigns, world.users
    merchant = campaigns.merchant[campaign]
    pool = np.flatnonzero(users.city == world.merchants.city[merchant])
    hours = np.arange(FIRST_WAKING_HOUR, LAST_WAKING_HOUR + 1)
    hour_share = (1 - USUAL_HOUR_SHARE) / len(hours) + USUAL_HOUR_SHARE * (
        hours == campaigns.usual_hour[campaign]
    )
    profile = users.hour_profile[pool][:, hours]
    logit = (
        campaigns.intercept[campaign]
        + response.hour_effect(profile)
        + (users.effect[pool] + response.preference_effect(users.preferences[pool, merchant]))[:, np.newaxis]
    )
    weight = hour_share * response.view_probability(profile)
    share, edges = np.histogram(logit, bins=_LOGIT_BINS, weights=weight)
    middle = (edges[:-1] + edges[1:]) / 2
    base = middle[:, np.newaxis] + response.WEEKDAY_EFFECT
    lift = response.offer_effect(response.CURVE_OFFERS, campaigns.campaign_type[campaign])
    rates = response.logistic(base[:, :, np.newaxis] + lift).mean(axis=1)
    return np.asarray(share @ rates / share.sum(), dtype=np.float64)
