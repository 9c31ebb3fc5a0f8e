"""Measures how often intervals of off-policy values hold the true value, over many drawn logs.

    python -m examples.policy_intervals --draws 2000 --seed 90001

Intervals of every estimate, and by Student's t as it was before (degrees of freedom of
the weights' effective users), with on which side it fails. A few seconds per thousand logs of 600.
"""

import argparse
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy.special import stdtrit

from examples.policy_intervals.logs import WORLDS, PolicyWorld
from services.optimizer.domain.policies.off_policy import PolicyEstimate, PolicyValue, evaluate_policy

Ends = tuple[float, float]
LEVEL: Final = 0.9


@dataclass(frozen=True, kw_only=True)
class Coverage:
    """The share of intervals that hold the truth, those below it, those above it, and their mean width."""

    held: float
    below: float
    above: float
    width: float


def measure(ends: list[Ends], truth: float) -> Coverage:
    """Return how intervals lie to the truth."""
    lower, upper = np.array(ends).T
    below, above = float(np.mean(upper < truth)), float(np.mean(lower > truth))
    return Coverage(held=1.0 - below - above, below=below, above=above, width=float(np.mean(upper - lower)))


def evaluate_draws(world: PolicyWorld, *, draws: int, seed: int) -> list[PolicyValue]:
    """Return what is told of logs of a world."""
    rng = np.random.default_rng(seed)
    return [evaluate_policy(world.draw(rng)) for _ in range(draws)]


def ends_of(estimate: PolicyEstimate) -> Ends:
    """Return an interval that is there."""
    assert estimate.lower is not None
    assert estimate.upper is not None
    return estimate.lower, estimate.upper


def student_ends(value: PolicyValue) -> Ends:
    """Return the doubly robust interval by Student's t and the effective users, as it was."""
    estimate = value.doubly_robust
    degrees = max(value.effective_users - 1.0, 1.0)
    half = float(stdtrit(degrees, (1.0 + LEVEL) / 2.0)) * (estimate.standard_error or np.nan)
    return estimate.value - half, estimate.value + half


METHODS: Final[Mapping[str, Callable[[PolicyValue], Ends]]] = {
    "doubly robust, Student's t (before)": student_ends,
    "doubly robust": lambda value: ends_of(value.doubly_robust),
    "snips": lambda value: ends_of(value.snips),
    "ips": lambda value: ends_of(value.ips),
    "improvement": lambda value: ends_of(value.improvement),
}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        prog="python -m examples.policy_intervals",
        description=__doc__,
        formatter_class=argparse.RawTextHelpFormatter,
    )
    parser.add_argument("--draws", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=90_001)
    asked = parser.parse_args()
    print(
        f"{asked.draws} logs of each world; 90 % intervals, standard error at most"
        f" {50 / np.sqrt(asked.draws):.1f} points"
    )
    for name, world in WORLDS.items():
        values = evaluate_draws(world, draws=asked.draws, seed=asked.seed)
        effective = np.mean([value.effective_users for value in values])
        print(f"\n{name}: true value {world.value:.2f}, effective users {effective:.0f}")
        for method, ends in METHODS.items():
            truth = world.value - (world.logged_value if method == "improvement" else 0.0)
            found = measure([ends(value) for value in values], truth)
            print(
                f"  {method:<36} holds {found.held:6.1%}, below {found.below:5.1%}, above {found.above:5.1%},"
                f" width {found.width:.2f}"
            )


if __name__ == "__main__":
    main()
