"""Measures how often intervals of what changes earned hold the truth, over many drawn changes.

    python -m examples.outcome_intervals --draws 2000 --seed 80001

Of profit per view since, its change, and the relative change; and how often a promise of the true gain (to
within a tenth of it) is called kept. A few seconds per thousand changes.
"""

import argparse
from collections.abc import Callable, Mapping
from typing import Final

import numpy as np

from examples.outcome_intervals.worlds import WORLDS, ChangeWorld
from services.optimizer.domain.offers.answer import Interval
from services.optimizer.domain.recommendations.promises import Agreement, Comparison, Promise
from services.optimizer.domain.recommendations.worth import BeforeAfter, Figure, measure_worth

Pick = Callable[[BeforeAfter], Figure | None]
PARTS: Final[Mapping[str, Pick]] = {
    "observed": lambda profit: profit.observed,
    "change": lambda profit: profit.change,
    "effect": lambda profit: profit.effect,
}


def measure_draws(world: ChangeWorld, *, draws: int, seed: int) -> list[BeforeAfter]:
    """Return what is told of the profit of changes."""
    rng = np.random.default_rng(seed)
    margins = world.gross_margin_rate, world.gross_margin_rate
    worths = (measure_worth(world.draw(rng), margins=margins, currency_code="USD") for _ in range(draws))
    return [worth.profit for worth in worths if worth.profit is not None]


def truths_of(world: ChangeWorld) -> dict[str, float]:
    """Return the true figures."""
    before, after = world.profits
    return {"observed": after, "change": after - before, "effect": after / before - 1.0}


def share_held(figures: list[Figure | None], truth: float) -> tuple[float, float]:
    """Return the share of intervals that hold the truth, and the share of figures that have one."""
    intervals = [each.interval for each in figures if each is not None and each.interval is not None]
    held = [interval.lower <= truth <= interval.upper for interval in intervals]
    return float(np.mean(held)) if held else np.nan, len(intervals) / len(figures)


def share_agreeing(told: list[BeforeAfter], promised: float) -> float:
    """Return the share of promises of a gain, sure to within a tenth of it, that observations agree with."""
    sure = Interval(lower=promised - 0.1 * abs(promised), upper=promised + 0.1 * abs(promised))
    agreements = [
        Promise(
            metric="profit_per_view",
            expected=Figure(value=promised, interval=sure),
            observed=profit.effect,
            comparison=Comparison.BEFORE_AFTER,
        ).agreement
        for profit in told
    ]
    return float(np.mean([each is Agreement.AGREES for each in agreements if each is not None]))


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        prog="python -m examples.outcome_intervals",
        description=__doc__,
        formatter_class=argparse.RawTextHelpFormatter,
    )
    parser.add_argument("--draws", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=80_001)
    asked = parser.parse_args()
    print(
        f"{asked.draws} changes of each world; shares of 90 % intervals that hold the truth, standard error"
        f" at most {50 / np.sqrt(asked.draws):.1f} points"
    )
    for name, world in WORLDS.items():
        told = measure_draws(world, draws=asked.draws, seed=asked.seed)
        truths = truths_of(world)
        shares = {
            part: share_held([pick(profit) for profit in told], truths[part]) for part, pick in PARTS.items()
        }
        line = ", ".join(f"{part} {held:.1%} (of {given:.0%})" for part, (held, given) in shares.items())
        kept, twice = (share_agreeing(told, gain) for gain in (truths["effect"], truths["effect"] + 0.5))
        print(f"  {name:<36} {line}; promise kept {kept:.1%}, promise of 50 points more {twice:.1%}")


if __name__ == "__main__":
    main()
