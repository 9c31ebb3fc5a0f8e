"""How often a channel that is no better is recommended, and one that is better found.

    python -m examples.simulated_world.channel_worlds --seed 77 --worlds 1000

Some 10 ms per world. Campaigns have 100 to 100,000 impressions (even logs), and log-normal rates with a mean
of 0.05 on every channel, or of a multiple of it on all others than the current one, and a spread of its own.
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from services.optimizer.domain.recommendations.channels import ChannelChoice, ChannelSums, choose_channel
from services.optimizer.domain.recommendations.recommendations import MINIMUM_CONFIDENCE

RATE: Final = 0.05
SMALLEST, LARGEST = 100, 100_000


@dataclass(frozen=True, kw_only=True)
class Case:
    """Campaigns of each channel and the deviation of their log rates, the current channel's first."""

    campaigns: tuple[int, ...]
    spreads: tuple[float, ...]

    def __str__(self) -> str:
        return " against ".join(
            f"{count} of {spread}" for count, spread in zip(self.campaigns, self.spreads, strict=True)
        )


CASES: Final = (
    Case(campaigns=(3, 3), spreads=(0.4, 0.4)),
    Case(campaigns=(3, 8), spreads=(0.4, 0.4)),
    Case(campaigns=(8, 8), spreads=(0.4, 0.4)),
    Case(campaigns=(8, 8, 8, 8), spreads=(0.4, 0.4, 0.4, 0.4)),
    Case(campaigns=(3, 3), spreads=(1.0, 0.2)),
    Case(campaigns=(3, 8), spreads=(1.0, 0.2)),
    Case(campaigns=(3, 8), spreads=(0.5, 0.1)),
    Case(campaigns=(8, 8), spreads=(1.0, 0.2)),
    Case(campaigns=(8, 3), spreads=(0.2, 1.0)),
    Case(campaigns=(3, 30), spreads=(1.0, 1.0)),
    Case(campaigns=(30, 4), spreads=(1.0, 1.0)),
)


def judge(case: Case, lift: float, rng: np.random.Generator) -> tuple[bool, bool]:
    """Whether another channel is recommended in a world, and whether the interval holds what is true of it.

    A world in which nothing can be compared recommends nothing, and is held.
    """
    choice = _choose(case, lift, rng)
    if choice is None:
        return False, True
    held = choice.interval.lower <= lift - 1.0 <= choice.interval.upper
    return choice.confidence >= MINIMUM_CONFIDENCE, held


def _choose(case: Case, lift: float, rng: np.random.Generator) -> ChannelChoice | None:
    sums = []
    for channel, (count, spread) in enumerate(zip(case.campaigns, case.spreads, strict=True), start=1):
        mean = RATE if channel == 1 else RATE * lift
        sizes = np.exp(rng.uniform(np.log(SMALLEST), np.log(LARGEST), count)).astype(int)
        rates = np.minimum(mean * np.exp(rng.normal(-(spread**2) / 2.0, spread, count)), 1.0)
        for place, (size, conversions) in enumerate(zip(sizes, rng.binomial(sizes, rates), strict=True)):
            sums.append(
                ChannelSums(
                    campaign_id=f"{channel}-{place}",
                    channel=channel,
                    impressions=int(size),
                    conversions=int(conversions),
                    cost_micros=0,
                )
            )
    return choose_channel(sums, 1)


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(
        prog="python -m examples.simulated_world.channel_worlds", description=__doc__
    )
    parser.add_argument("--seed", type=int, default=9001)
    parser.add_argument("--worlds", type=int, default=200)
    parsed = parser.parse_args(arguments)
    print(f"{'campaigns and spreads':48}falsely  held  found at twice the rate  held")
    for number, case in enumerate(CASES):
        rng = np.random.default_rng([parsed.seed, number])
        alike, better = (
            np.mean([judge(case, lift, rng) for _ in range(parsed.worlds)], axis=0) for lift in (1.0, 2.0)
        )
        print(f"{case!s:48}{alike[0]:7.1%}{alike[1]:6.1%}{better[0]:25.1%}{better[1]:6.1%}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
