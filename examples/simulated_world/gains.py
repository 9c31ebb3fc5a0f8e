"""Measures what recommendations of timing claim to gain against what is true, over many small worlds.

    python -m examples.simulated_world.gains --first-seed 9001 --worlds 20

A few seconds per world on one core. Gains are of every campaign of a world, for the users it reached.
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from examples.simulated_world.hours_world import Equations, HoursWorld
from services.optimizer.domain.recommendations.recommendations import MINIMUM_CONFIDENCE
from services.optimizer.domain.recommendations.timing import (
    SMALLEST_GAIN,
    ReachedUsers,
    TimingChoice,
    choose_timing,
)
from services.optimizer.domain.send_time.calibration import calibrate_gains
from services.optimizer.domain.send_time.profile import fit_profile
from services.optimizer.domain.send_time.send_time import QuietHours, hour_values

QUIET: Final = QuietHours(start=22, end=7)
SMALL: Final = Equations(users=150, campaigns=5, deliveries=30)
USUAL: Final = Equations(users=400, campaigns=10, deliveries=40)
NO_HOURS: Final = Equations(users=150, campaigns=5, deliveries=30, floor=0.6, ceiling=0.6, of_hour=0.0)
LUCKY_DAYS: Final = replace(NO_HOURS, of_day=0.4)
_NOTHING: Final = 1e-9
KINDS: Final = {
    "400 users, 10 campaigns": USUAL,
    "150 users, 5 campaigns": SMALL,
    "1,500 users, 30 campaigns": Equations(users=1_500, campaigns=30, deliveries=60),
    "few purchases (5 a user)": Equations(users=400, campaigns=10, deliveries=40, acts=5.0),
    "hours move conversions alone": Equations(
        users=400, campaigns=10, deliveries=40, floor=0.6, ceiling=0.6, of_hour=1.5
    ),
    "one hour best for all": Equations(
        users=400, campaigns=10, deliveries=40, floor=0.6, ceiling=0.6, of_hour=0.0, of_all=0.8
    ),
    "hours make no difference": Equations(
        users=400, campaigns=10, deliveries=40, floor=0.6, ceiling=0.6, of_hour=0.0
    ),
    "the same, 150 users": NO_HOURS,
    "the same, days have luck": LUCKY_DAYS,
    "campaigns have hours of their own": replace(SMALL, of_campaign=0.35),
}
HOURS_MATTER: Final = {
    "none": NO_HOURS,
    "weak": replace(SMALL, floor=0.55, ceiling=0.65, of_hour=0.1),
    "medium": replace(SMALL, floor=0.5, ceiling=0.75, of_hour=0.25),
    "strong": SMALL,
}
LUCK: Final = {
    "plain": (0.0, 0.0, 0.0),
    "days": (0.4, 0.0, 0.0),
    "own": (0.0, 0.35, 0.0),
    "curve": (0.0, 0.0, 0.35),
}
SIZES: Final = {"tiny": (120, 4, 25), "few": (150, 5, 30), "many": (400, 10, 40)}
GRID: Final = {
    f"{size}, {strength}, {luck}": replace(
        equations,
        users=users,
        campaigns=campaigns,
        deliveries=deliveries,
        of_day=of_day,
        of_campaign=of_campaign,
        of_curve=of_curve,
    )
    for size, (users, campaigns, deliveries) in SIZES.items()
    for strength, equations in HOURS_MATTER.items()
    for luck, (of_day, of_campaign, of_curve) in LUCK.items()
}
"""Worlds in which what is recommended is told as it is, or should be."""


@dataclass(frozen=True, kw_only=True)
class JudgedGain:
    """A campaign's choice, with the gain that it truly has and that its values alone promise."""

    choice: TimingChoice
    truth: float
    promised: float

    @property
    def is_held(self) -> bool:
        """Whether the interval holds the truth."""
        return self.choice.interval.lower <= self.truth <= self.choice.interval.upper

    @property
    def is_recommended(self) -> bool:
        """Whether the gain is large and sure enough to be recommended."""
        return self.choice.effect >= SMALLEST_GAIN and self.choice.confidence >= MINIMUM_CONFIDENCE

    @property
    def is_false(self) -> bool:
        """Whether what is recommended gains nothing."""
        return self.is_recommended and self.truth < _NOTHING


def judge_gains(world: HoursWorld) -> list[JudgedGain]:
    """Choose for each campaign of a world that reached enough users, and look the truth up."""
    history, sendings, segments = world.history, world.sendings, world.segment_set_ids
    profile = fit_profile(history, sendings, segments)
    calibration = calibrate_gains(profile, history, sendings, segments)
    values = hour_values(profile, history, segments)
    found = []
    for campaign, rates in enumerate(world.rates):
        own = sendings.campaign == campaign
        users, place = np.unique(sendings.user[own], return_inverse=True)
        sent = np.zeros((len(users), values.shape[1]))
        np.add.at(sent, (place, sendings.hour[own]), 1.0)
        reached = ReachedUsers(hour_values=values[users], sent=sent, is_quiet=~QUIET.allowed)
        choice = None if calibration is None else choose_timing(reached, calibration)
        if choice is None:
            continue
        best = np.where(QUIET.allowed, values[users], -1.0).argmax(axis=1)
        hours = best if choice.hour is None else np.full_like(best, choice.hour)
        truth, promised = (
            float(sent.sum(axis=1) @ each[np.arange(len(users)), hours] / (sent * each).sum()) - 1.0
            for each in (rates[users], values[users])
        )
        found.append(JudgedGain(choice=choice, truth=truth, promised=promised))
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="python -m examples.simulated_world.gains", description=__doc__)
    parser.add_argument("--first-seed", type=int, default=9001)
    parser.add_argument("--worlds", type=int, default=20)
    parser.add_argument("--kind", choices=[*KINDS, *GRID], help="the only kind of world to look at")
    parsed = parser.parse_args(arguments)
    print(f"{'':32}gains  truth  promised  told  held  recommended  falsely  width", end="")
    print("  told and true of the recommended")
    for name, equations in (KINDS | GRID).items():
        if parsed.kind != name and (parsed.kind is not None or name in GRID):
            continue
        found = [
            gain
            for seed in range(parsed.first_seed, parsed.first_seed + parsed.worlds)
            for gain in judge_gains(HoursWorld.build(seed, equations))
        ]
        print(f"{name:32}{_line(found)}", flush=True)
    return 0


def _line(found: Sequence[JudgedGain]) -> str:
    recommended = [gain for gain in found if gain.is_recommended]
    width = np.mean([gain.choice.interval.upper - gain.choice.interval.lower for gain in found])
    return (
        f"{len(found):5}{np.mean([gain.truth for gain in found]):7.2f}"
        f"{np.mean([gain.promised for gain in found]):10.2f}"
        f"{np.mean([gain.choice.effect for gain in found]):6.2f}"
        f"{np.mean([gain.is_held for gain in found]):6.1%}"
        f"{len(recommended) / len(found):12.1%}"
        f"{np.mean([gain.is_false for gain in found]):10.1%}{width:7.2f}"
        f"{_mean([gain.choice.effect for gain in recommended])}{_mean([gain.truth for gain in recommended])}"
    )


def _mean(values: Sequence[float]) -> str:
    return f"{np.mean(values):7.2f}" if values else "      -"


if __name__ == "__main__":
    sys.exit(main())
