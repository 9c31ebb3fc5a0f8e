"""Measures what recommendations of timing claim to gain against what is true, over whole simulated worlds.

    python -m examples.simulated_world.timing_gains --worlds 8

As `evaluate` does, but through the optimizer's domain alone: no service, no database. The profile and its
calibration are learned from 2,000 of the 5,000 users, as by the job, and every campaign that still runs is
judged. Half a minute to two of a core per world; gains of smaller worlds of many kinds are `gains`.
"""

import sys
from collections.abc import Sequence
from datetime import timedelta
from typing import Final

import numpy as np

from examples.simulated_world.counted import CountedWorld
from examples.simulated_world.evaluate.timing import (
    ALLOWED,
    NO_HOUR,
    OWN_HOUR,
    LateDeliveries,
    truly_best_hours,
)
from examples.simulated_world.gains import JudgedGain
from examples.simulated_world.many_worlds import read_worlds
from examples.simulated_world.population import DAYS, HOURS, IntArray
from services.optimizer.domain.recommendations.timing import ReachedUsers, choose_timing
from services.optimizer.domain.send_time.calibration import calibrate_gains
from services.optimizer.domain.send_time.profile import fit_profile
from services.optimizer.domain.send_time.send_time import hour_values

FIRST_SEED: Final = 910_001
WORLDS: Final = 8
SAMPLE: Final = 2_000


def judge_timing(
    counted: CountedWorld, late: LateDeliveries, users: IntArray, sample: IntArray
) -> dict[int, JudgedGain]:
    """Choose for each campaign that still runs, by what is known of `users`; return choices by campaign.

    `counted` is of these users alone, in their order; `sample` are the places among them that the profile is
    learned from.
    """
    told = counted.only(sample)
    profile = fit_profile(told.history, told.sendings, told.segment_set_ids)
    calibration = calibrate_gains(profile, told.history, told.sendings, told.segment_set_ids)
    values = np.zeros((len(counted.world.users.city), HOURS))
    values[users] = hour_values(profile, counted.history, counted.segment_set_ids)
    own_hours = np.full(len(values), NO_HOUR)
    own_hours[users] = np.where(ALLOWED, values[users], -1.0).argmax(axis=1)
    found = {}
    for campaign, deliveries in late.sent.items():
        if calibration is None or counted.world.campaigns.end_day[campaign] < DAYS:
            continue
        reached, place = np.unique(deliveries.user, return_inverse=True)
        sent = np.zeros((len(reached), HOURS))
        np.add.at(sent, (place, counted.world.local_hours(deliveries)), 1.0)
        of_reached = ReachedUsers(hour_values=values[reached], sent=sent, is_quiet=~ALLOWED)
        choice = choose_timing(of_reached, calibration)
        if choice is None:
            continue
        hours = own_hours[reached] if choice.hour is None else np.full(len(reached), choice.hour)
        then = sent.sum(axis=1) @ values[reached, hours]
        found[campaign] = JudgedGain(
            choice=choice,
            truth=late.gain(campaign, OWN_HOUR if choice.hour is None else str(choice.hour), own_hours),
            promised=float(then / (sent * values[reached]).sum()) - 1.0,
        )
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Print a line per world, and what they are on average."""
    worlds = read_worlds(
        arguments,
        prog="python -m examples.simulated_world.timing_gains",
        description=__doc__ or "",
        first_seed=FIRST_SEED,
        worlds=WORLDS,
    )
    print("seed    campaigns  recommended  promised  measured   told    true   held  log error   best hours")
    lines = []
    for seed, end_day in worlds:
        counted = CountedWorld.build(seed, end_day - timedelta(days=1))
        late = LateDeliveries.of(counted.world)
        users = np.arange(len(counted.world.users.city))
        sample = np.linspace(0, len(users) - 1, SAMPLE).astype(np.intp)
        judged = judge_timing(counted, late, users, sample)
        best = truly_best_hours(counted.world)
        possible = [late.gain(campaign, OWN_HOUR, best) for campaign in judged]
        lines.append(_figures(list(judged.values()), possible))
        print(f"{seed:6}{_line(lines[-1])}", flush=True)
    if len(lines) > 1:
        print(f"mean  {_line(np.mean(lines, axis=0).tolist())}")
        errors = np.std(lines, axis=0, ddof=1) / np.sqrt(len(lines))
        print(f"error {_line(errors.tolist())}")
    return 0


def _figures(judged: Sequence[JudgedGain], possible: Sequence[float]) -> list[float]:
    """Return a world's figures: counts, gains in the middle, the share held and the mean error of the log."""
    told, truth = (
        np.array(column)
        for column in zip(*((gain.choice.effect, gain.truth) for gain in judged), strict=True)
    )
    return [
        float(len(judged)),
        float(np.mean([gain.is_recommended for gain in judged])),
        float(np.median([gain.promised for gain in judged])),
        float(np.median([gain.choice.measured_effect for gain in judged])),
        float(np.median(told)),
        float(np.median(truth)),
        float(np.mean([gain.is_held for gain in judged])),
        float(np.mean(np.log1p(told) - np.log1p(truth))),
        float(np.median(possible)),
    ]


def _line(figures: Sequence[float]) -> str:
    campaigns, recommended, promised, measured, told, truth, held, error, possible = figures
    return (
        f"{campaigns:11.0f}{recommended:13.1%}{promised:10.1%}{measured:10.1%}{told:7.1%}{truth:8.1%}"
        f"{held:7.1%}{error:+11.3f}{possible:13.1%}"
    )


if __name__ == "__main__":
    sys.exit(main())
