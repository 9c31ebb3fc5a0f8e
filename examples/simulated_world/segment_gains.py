"""Measures what segments are told to gain against what is true, and how often intervals hold it.

    python -m examples.simulated_world.segment_gains --first-seed 81001 --worlds 200

Some ten worlds a second on one core. An error is of the log ratio; shares have a standard error over worlds.
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from examples.simulated_world.response import FloatArray
from examples.simulated_world.segments_world import SegmentEquations, SegmentWorld
from services.optimizer.domain.offers.answer import Interval

KINDS: Final = {
    "other users in every campaign": SegmentEquations(),
    "other users, tastes 0.7": SegmentEquations(of_taste=0.7),
    "other users, even sizes": SegmentEquations(is_uneven=False),
    "other users, 12 segments": SegmentEquations(groups=11),
    "600 users meet 20 campaigns": SegmentEquations(recurring=600),
    "600 users meet 20 campaigns, tastes 0.7": SegmentEquations(recurring=600, of_taste=0.7),
    "and 12 segments": SegmentEquations(recurring=600, of_taste=0.7, groups=11),
    "2,000 users, a fifth meets each": SegmentEquations(recurring=2_000, of_taste=0.7),
    "600 users, a view in three campaigns": SegmentEquations(recurring=600, of_taste=0.7, views=0.3),
    "one campaign": SegmentEquations(campaigns=1),
    "one in forty converts": SegmentEquations(campaigns=8, reached=1_500, level=-4.0),
    "offers do not lean": SegmentEquations(lean=0.0),
    "offers lean much": SegmentEquations(lean=2.0, of_segment=0.5),
}


@dataclass(frozen=True, kw_only=True)
class JudgedSegments:
    """Of worlds: whether intervals of the ratio, the expected and the own rate hold the truth; logs' errors.

    One entry per segment of a world; `world` numbers these.
    """

    ratio_held: FloatArray
    expected_held: FloatArray
    rate_held: FloatArray
    error: FloatArray
    world: FloatArray

    def share(self, held: FloatArray) -> tuple[float, float]:
        """The share held, and its standard error with worlds as units."""
        means = np.array([held[self.world == world].mean() for world in np.unique(self.world)])
        return float(held.mean()), float(means.std(ddof=1) / np.sqrt(len(means)))


def judge_segments(equations: SegmentEquations, seeds: Sequence[int]) -> JudgedSegments:
    """Return what the service says of worlds, beside the truth."""
    rows = []
    for seed in seeds:
        world = SegmentWorld.build(np.random.default_rng(seed), equations)
        own, everybody = world.true_rates()
        for segment, rate in zip(_places(world), world.rate(), strict=True):
            if rate.ratio is None or rate.ratio_interval is None:
                continue
            truth = own[segment] / everybody[segment]
            rows.append(
                (
                    _holds(rate.ratio_interval, truth),
                    _holds(rate.expected_rate_interval, everybody[segment]),
                    _holds(rate.conversion_rate_interval, own[segment]),
                    np.log(rate.ratio / truth),
                    seed,
                )
            )
    ratio, expected, own_rate, error, of_world = np.array(rows, dtype=np.float64).T
    return JudgedSegments(
        ratio_held=ratio, expected_held=expected, rate_held=own_rate, error=error, world=of_world
    )


def _places(world: SegmentWorld) -> list[int]:
    """Segments in the order in which they are answered: by name."""
    return sorted(range(world.equations.groups + 1), key=lambda segment: f"s{segment}")


def _holds(interval: Interval | None, truth: float) -> bool:
    return interval is not None and interval.lower <= truth <= interval.upper


def main(arguments: Sequence[str]) -> None:
    """Print a line for each kind of world."""
    parser = argparse.ArgumentParser(
        prog="python -m examples.simulated_world.segment_gains",
        description="gains of segments against the truth",
    )
    parser.add_argument("--first-seed", type=int, default=81_001)
    parser.add_argument("--worlds", type=int, default=100)
    given = parser.parse_args(arguments)
    seeds = range(given.first_seed, given.first_seed + given.worlds)
    for name, equations in KINDS.items():
        judged = judge_segments(equations, seeds)
        shares = [judged.share(held) for held in (judged.ratio_held, judged.expected_held, judged.rate_held)]
        held = ", ".join(f"{share:.1%} ± {error:.1%}" for share, error in shares)
        print(
            f"{name:40} error {judged.error.mean():+.4f}; ratio, expected and own rate held {held}",
            flush=True,
        )


if __name__ == "__main__":
    main(sys.argv[1:])
