"""Measures which campaigns are shown to users over many simulated worlds, offline.

    python -m examples.simulated_world.shown --first-seed 7001 --worlds 4

Three quarters of a minute per world on one core. Rates are those of the optimizer's own training, affinities
and how they move conversions those of its affinity job; the orders are `evaluate`'s.
"""

import sys
from datetime import date, timedelta

import numpy as np

from examples.simulated_world.columns import MICROS
from examples.simulated_world.contacts import read_world
from examples.simulated_world.evaluate.choices import (
    Choice,
    conversion_chances,
    reachable,
    score_orders,
)
from examples.simulated_world.many_worlds import read_worlds
from examples.simulated_world.offline import add_up, case_of, train_before
from examples.simulated_world.population import DAYS
from examples.simulated_world.response import FloatArray
from examples.simulated_world.world import World
from services.optimizer.domain.affinity.response import AffinityResponse
from services.optimizer.domain.offers.answer import rate_at
from services.optimizer.training.forest import ExportedForest


def campaign_rates(world: World, end_day: date) -> FloatArray:
    """Return the rate of every campaign at its current offer, NaN for one that is over."""
    outcomes = add_up(world)
    model = train_before(outcomes, end_day)
    known, forest = outcomes.before(end_day), ExportedForest(model.model)
    rates = np.full(len(world.campaigns.names), np.nan)
    for campaign in np.flatnonzero(world.campaigns.end_day > DAYS):
        case = case_of(world, known, model, campaign=int(campaign), end_day=end_day)
        predicted = forest.predict(case.forest_features(model.parameters))
        offer = round(world.campaigns.current_offer(int(campaign)) * MICROS)
        rates[campaign] = rate_at(case, offer, predicted, model.parameters).rate
    return rates


def measure(seed: int, end_day: date) -> tuple[AffinityResponse, dict[str, tuple[Choice, ...]]]:
    """Draw a world and return how affinity moves conversions, and what orders of campaigns reach."""
    market = read_world(seed, end_day - timedelta(days=1))
    world, fitted = market.world, market.fit()
    rates, told = campaign_rates(world, end_day), fitted.model.response
    affinity = market.scores(fitted)[:, world.campaigns.merchant]
    users = range(market.user_count)
    within = reachable(world, users, np.flatnonzero(~np.isnan(rates)).tolist())
    orders = {
        "recommended": told.rates(rates, affinity),
        "conversion rate": np.where(within, rates, np.nan),
        "affinity": np.where(np.isnan(rates), np.nan, affinity),
        "affinity x rate": affinity * rates,
    }
    return told, score_orders(orders, conversion_chances(world, users), within)


def main(arguments: list[str] | None = None) -> int:
    """Measure the worlds and print the table."""
    worlds = read_worlds(
        arguments,
        prog="python -m examples.simulated_world.shown",
        description="Measure which campaigns are shown over many simulated worlds, offline.",
        first_seed=7001,
        worlds=4,
    )
    gains: dict[str, list[list[float]]] = {}
    for seed, end_day in worlds:
        told, scored = measure(seed, end_day)
        print(
            f"{seed}: exponent {told.exponent:.3f} +- {told.standard_error:.3f}"
            f" from {told.views} views, affinities from {told.least_score:.3f} on"
        )
        for name, choices in scored.items():
            print(f"  {name:<16} {', '.join(str(choice) for choice in choices)}", flush=True)
            gains.setdefault(name, []).append([choice.gain for choice in choices])
    print(f"\n{len(worlds)} worlds: share of what is possible, of the first and of the first three")
    for name, values in gains.items():
        print(f"  {name:<16} {', '.join(f'{gain:.1%}' for gain in np.mean(values, axis=0))}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
