"""Measures what is said of planned campaigns over many simulated worlds, offline, against what came of them.

    python -m examples.simulated_world.plans --first-seed 6001 --worlds 10

Half a minute per world on one core. Sixty campaigns of each world are kept from the training. Each is then
predicted as a plan at every offer that it sent to 50 viewers or more, with as many impressions, and
OptimizeOffer is asked for it as for a campaign that nobody has viewed. Compared are the totals that it had at
that offer, the true rate of its whole audience, and the rates of its days.
"""

import math
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from datetime import date, timedelta
from functools import cached_property
from typing import Final

import numpy as np

from examples.simulated_world.columns import MICROS, Kind
from examples.simulated_world.evaluate.offers import place_of
from examples.simulated_world.events import generate_days
from examples.simulated_world.many_worlds import read_worlds
from examples.simulated_world.offline import add_up
from examples.simulated_world.truth import Truth
from examples.simulated_world.world import World
from services.common.errors import FailedPreconditionError
from services.optimizer.domain.campaigns import RevenueSpread, RevenueTotals, TypicalHistory
from services.optimizer.domain.features import (
    HISTORY_DAYS,
    BoolArray,
    DailyTable,
    FloatArray,
    IntArray,
    Situation,
)
from services.optimizer.domain.models.serving_parameters import ServingParameters
from services.optimizer.domain.objectives import Economics, Objective
from services.optimizer.domain.offers.answer import Interval, rate_at
from services.optimizer.domain.offers.case import OfferCase, days_to_come
from services.optimizer.domain.offers.prediction import Estimate, Plan, Prediction, Surroundings, predict_plan
from services.optimizer.domain.offers.recommendation import Question
from services.optimizer.domain.offers.unseen_campaigns import like_others
from services.optimizer.domain.response.revenue_spread import CampaignRevenue, CampaignTotals, survey_revenue
from services.optimizer.domain.training_window import window_before
from services.optimizer.training.pipeline import train

KEPT_BACK: Final = 60
FEWEST_VIEWS: Final = 50


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What was said of a plan, and what came of it; revenue in currency units, less what was refunded.

    `true_rate` is that of the campaign's whole audience at the plan's offer; `daily_rates` are those of the
    days on which the offer was viewed, `day_interval` what OptimizeOffer says of such days.
    """

    prediction: Prediction
    views: int
    conversions: int
    revenue: float
    true_rate: float
    day_interval: Interval | None
    daily_rates: FloatArray


@dataclass(frozen=True, kw_only=True)
class Orders:
    """Conversions and net revenue (micros) of a world by campaign, day and offer, as parallel arrays."""

    campaign: IntArray
    day: IntArray
    offer_micros: IntArray
    conversions: IntArray
    revenue_micros: IntArray

    def select(self, chosen: BoolArray) -> "Orders":
        """Return the entries where `chosen` holds."""
        return Orders(**{field.name: getattr(self, field.name)[chosen] for field in fields(self)})


def read_orders(world: World) -> Orders:
    """Return what a world's conversions brought; a refund is taken from the day on which it was bought."""
    parts = []
    for events in generate_days(world):
        chosen = events.take((events.campaign >= 0) & np.isin(events.kind, (Kind.CONVERTED, Kind.REFUNDED)))
        is_bought = chosen.kind == Kind.CONVERTED
        parts.append(
            np.column_stack(
                [
                    *(chosen.campaign, chosen.day, chosen.offer_micros, is_bought),
                    np.where(is_bought, chosen.revenue_micros, -chosen.revenue_micros),
                ]
            )
        )
    rows = np.concatenate(parts).astype(np.int64)
    keys, place = np.unique(rows[:, :3], axis=0, return_inverse=True)
    bought, revenue = (
        np.rint(np.bincount(place.reshape(-1), weights=rows[:, column])).astype(np.int64) for column in (3, 4)
    )
    return Orders(
        campaign=keys[:, 0],
        day=keys[:, 1],
        offer_micros=keys[:, 2],
        conversions=bought,
        revenue_micros=revenue,
    )


@dataclass(frozen=True, kw_only=True)
class Plans:
    """A world in which some campaigns are only planned, and what is known of the others."""

    world: World
    truth: Truth
    known: DailyTable
    kept_back: DailyTable
    orders: Orders
    model: ServingParameters
    end_day: date

    @classmethod
    def of(cls, seed: int, end_day: date) -> "Plans":
        """Draw a world, keep campaigns back, and train on the others."""
        world = World.build(seed=seed, end_date=end_day - timedelta(days=1))
        table = add_up(world).table
        chosen = np.random.default_rng(seed).choice(len(world.campaigns.names), KEPT_BACK, replace=False)
        planned = np.isin(table.campaign, chosen)
        known, window = table.select(~planned), window_before(end_day)
        inside = table.day >= window.first_day.toordinal()
        model = train(known, window, live=None, on_progress=lambda *_: None)
        return cls(
            world=world,
            truth=Truth.of(world),
            known=known,
            kept_back=table.select(planned & inside),
            orders=read_orders(world),
            model=model.parameters,
            end_day=end_day,
        )

    def outcomes(self) -> list[Outcome]:
        """Return the outcome of every plan that the data can speak of."""
        table, found = self.kept_back, []
        for campaign in np.unique(table.campaign):
            for offer in np.unique(table.offer_micros[table.campaign == campaign]):
                sent = table.select((table.campaign == campaign) & (table.offer_micros == offer))
                if int(sent.views.sum()) >= FEWEST_VIEWS:
                    found += self._outcome(sent, int(campaign), int(offer))
        return found

    def _outcome(self, sent: DailyTable, campaign: int, offer: int) -> list[Outcome]:
        plan = Plan(
            campaign_type=int(sent.campaign_type[0]),
            merchant_id=int(sent.merchant_id[0]),
            offer_micros=offer,
            impressions=int(sent.impressions.sum()),
        )
        typical = self._typical(plan.campaign_type)
        around = Surroundings(daily_views=typical.daily_views, revenue=self.revenue_of(plan.merchant_id))
        try:
            prediction = predict_plan(plan, around, self.model, 1)
        except FailedPreconditionError:
            return []
        case = like_others(self._case(plan, typical), typical, self.model)
        orders = (self.orders.campaign == campaign) & (self.orders.offer_micros == offer)
        seen = sent.select(sent.views > 0)
        return [
            Outcome(
                prediction=prediction,
                views=int(sent.views.sum()),
                conversions=int(sent.conversions.sum()),
                revenue=float(self.orders.revenue_micros[orders].sum()) / MICROS,
                true_rate=float(self.truth.conversion_curve[campaign, place_of(offer / MICROS)]),
                day_interval=rate_at(case, offer, np.empty(0), self.model).interval,
                daily_rates=seen.conversion_rate,
            )
        ]

    def _case(self, plan: Plan, typical: TypicalHistory) -> OfferCase:
        return OfferCase(
            question=Question(
                campaign_type=plan.campaign_type,
                current_offer_micros=None,
                objective=Objective.CONVERSION_RATE,
                economics=Economics(mean_revenue=None, gross_margin_rate=None),
            ),
            situation=Situation(
                day=self.end_day,
                campaign_type=plan.campaign_type,
                merchant_id=plan.merchant_id,
                historical_impressions=round(typical.impressions),
                historical_conversions=round(typical.conversions),
            ),
            anchor_offers_micros=(plan.offer_micros,),
            anchor_weights=(1.0,),
            known_rate=None,
            daily_views=typical.daily_views,
            days=days_to_come(self.end_day, ()),
        )

    def _typical(self, campaign_type: int) -> TypicalHistory:
        """Return what the average campaign of a type does, as `fetch_typical_history`."""
        known = self.known
        recent = known.select(
            (known.campaign_type == campaign_type) & (known.day >= self.end_day.toordinal() - HISTORY_DAYS)
        )
        campaigns = max(len(np.unique(recent.campaign)), 1)
        days = int(np.sum(recent.views > 0))
        return TypicalHistory(
            impressions=float(recent.impressions.sum()) / campaigns,
            views=float(recent.views.sum()) / campaigns,
            conversions=float(recent.conversions.sum()) / campaigns,
            daily_views=float(recent.views.sum()) / days if days else None,
        )

    @cached_property
    def known_orders(self) -> Orders:
        """What conversions of the known campaigns brought."""
        return self.orders.select(np.isin(self.orders.campaign, np.unique(self.known.campaign)))

    @cached_property
    def campaign_totals(self) -> list[CampaignTotals]:
        """The same by campaign."""
        orders, merchants = self.known_orders, self.world.campaigns.merchant + 1
        return [
            CampaignTotals(
                merchant_id=int(merchants[campaign]),
                conversions=int(orders.conversions[orders.campaign == campaign].sum()),
                revenue_micros=int(orders.revenue_micros[orders.campaign == campaign].sum()),
            )
            for campaign in np.unique(orders.campaign)
        ]

    def revenue_of(self, merchant_id: int) -> CampaignRevenue | None:
        """Return what conversions of a merchant's known campaigns bring, as the service reads it."""
        merchants = self.world.campaigns.merchant[self.known_orders.campaign] + 1
        own = self.known_orders.select(merchants == merchant_id)
        conversions = np.bincount(own.day, weights=own.conversions)
        revenue = np.bincount(own.day, weights=own.revenue_micros)
        spread = RevenueSpread(
            days=int(np.sum(conversions > 0)),
            conversions_conversions=float(np.sum(conversions**2)),
            conversions_revenue=float(np.sum(conversions * revenue)),
            revenue_revenue=float(np.sum(revenue**2)),
        )
        together = RevenueTotals(
            conversions=int(conversions.sum()), revenue_micros=int(revenue.sum()), spread=spread
        )
        error = together.economics(None).revenue_relative_error
        return survey_revenue(
            merchant_id, self.campaign_totals, order_variation=error * math.sqrt(together.conversions)
        )


@dataclass(frozen=True, kw_only=True)
class Held:
    """How many outcomes a 90 % interval held, of how many; `below` and `above` are the shares outside it.

    `bias` is the sum of what was expected over the sum of what came, less 1.
    """

    held: float
    below: float
    above: float
    count: int
    bias: float

    def __str__(self) -> str:
        return (
            f"{self.held:6.1%} held of {self.count:5}, {self.below:5.1%} below, {self.above:5.1%} above,"
            f" expected {1 + self.bias:.3f} of what came"
        )


def hold(
    outcomes: Sequence[Outcome],
    said: Callable[[Outcome], Estimate | None],
    came: Callable[[Outcome], float],
) -> Held:
    """Return how many outcomes their intervals held; those of which nothing was said are left out."""
    pairs = [(estimate, came(outcome)) for outcome in outcomes if (estimate := said(outcome)) is not None]
    value = np.array([each for _, each in pairs])
    lower, upper, expected = np.array([(each.lower, each.upper, each.value) for each, _ in pairs]).T
    return Held(
        held=float(np.mean((value >= lower) & (value <= upper))),
        below=float(np.mean(value < lower)),
        above=float(np.mean(value > upper)),
        count=len(pairs),
        bias=float(expected.sum() / value.sum() - 1.0),
    )


def hold_days(outcomes: Sequence[Outcome]) -> float:
    """Return the share of days whose rate the interval of OptimizeOffer for such a plan held."""
    held = [
        (outcome.daily_rates >= interval.lower) & (outcome.daily_rates <= interval.upper)
        for outcome in outcomes
        if (interval := outcome.day_interval) is not None
    ]
    return float(np.concatenate(held).mean())


def coverages(outcomes: Sequence[Outcome]) -> dict[str, Held]:
    """Return how many outcomes the intervals of PredictCampaign held, by what they are of."""
    return {
        "views": hold(outcomes, lambda each: each.prediction.views, lambda each: each.views),
        "conversions": hold(
            outcomes, lambda each: each.prediction.conversions, lambda each: each.conversions
        ),
        "revenue": hold(outcomes, lambda each: each.prediction.revenue, lambda each: each.revenue),
        "rate, true": hold(outcomes, lambda each: each.prediction.rate, lambda each: each.true_rate),
    }


def main(arguments: list[str] | None = None) -> int:
    """Measure the worlds and print the table."""
    worlds = read_worlds(
        arguments,
        prog="python -m examples.simulated_world.plans",
        description="Measure what is said of planned campaigns over many simulated worlds, offline.",
        first_seed=6001,
        worlds=10,
    )
    together: list[Outcome] = []
    for seed, end_day in worlds:
        outcomes = Plans.of(seed, end_day).outcomes()
        held = ", ".join(f"{name} {each.held:.1%}" for name, each in coverages(outcomes).items())
        print(f"{seed}: {held}, days {hold_days(outcomes):.1%}", flush=True)
        together += outcomes
    print(f"\n{len(worlds)} worlds, {len(together)} plans")
    for name, each in coverages(together).items():
        print(f"  {name:<12} {each}")
    print(f"  {'days':<12} {hold_days(together):6.1%} held, by OptimizeOffer's interval for such a plan")
    return 0


if __name__ == "__main__":
    sys.exit(main())
