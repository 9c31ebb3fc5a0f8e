"""When to send a campaign: the hours of the users it reaches against the hours it is sent at today.

For each user the job of send times keeps what a delivery brings by local hour, as a posterior mean: shrunk to
segment and population, so that its maximum is not a lucky hour's. Users weigh alike: each user's values are
taken relative to their sum. The confidence is over users (ratio of means, Cochran 1977, eq. 6.13); what all
users share, the profile that their values come from, is taken as known. So a gain has no interval: over users
alone it would hold the truth 8 to 26 times in a hundred in simulated worlds, whose gains of 1.0 are told as
0.85. And a gain counts from `SMALLEST_GAIN` on: where hours make no difference, profiles tell up to 0.03.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy.special import ndtr

from services.optimizer.domain.features import BoolArray, FloatArray
from services.optimizer.domain.segments import MOST_PROBABILITY

HOURS: Final = 24
REACHED_DAYS: Final = 28
"""Whole days before today whose deliveries say whom a campaign reaches, and when."""
MINIMUM_USERS: Final = 30
OWN_HOUR_MARGIN: Final = 0.05
"""What each user's own hour must gain beyond one hour for all, to be worth the trouble."""
SMALLEST_GAIN: Final = 0.1
"""What another hour must gain, to be worth the trouble and above what a fitted profile tells of nothing."""
TIMING_METHOD: Final = "paired_users_bonferroni"


@dataclass(frozen=True, kw_only=True)
class ReachedUsers:
    """The users a campaign lately reached.

    `hour_values` (n, 24) by the user's local hour; `current` (n) is the mean of the user's values over the
    hours of the campaign's deliveries; `is_quiet` (24) are hours at which nobody is sent anything.
    """

    hour_values: FloatArray
    current: FloatArray
    is_quiet: BoolArray

    @property
    def known(self) -> BoolArray:
        """The users (n) who have values, also at the hours they were sent at."""
        return np.asarray((self.hour_values.sum(axis=1) > 0.0) & (self.current > 0.0))


@dataclass(frozen=True, kw_only=True)
class TimingChoice:
    """The hour to send at (None: each user's own best one), and the relative gain in what a delivery brings.

    `best_single_hour` is the best one for all; `own_hour_effect` is what each user's own hour gains.
    """

    hour: int | None
    best_single_hour: int
    effect: float
    confidence: float
    own_hour_effect: float
    users: int


def reached_users(rows: Sequence[tuple[Sequence[float], int, int, float]]) -> ReachedUsers:
    """Return users (at least one) given as values by hour, first and end of quiet hours, and current value.

    An hour that is quiet for any of them is quiet; quiet hours may run over midnight, and are none where they
    begin and end alike.
    """
    values, starts, ends, current = zip(*rows, strict=True)
    hours, is_quiet = np.arange(HOURS), np.zeros(HOURS, dtype=np.bool_)
    for start, end in set(zip(starts, ends, strict=True)):
        is_quiet |= (hours - start) % HOURS < (end - start) % HOURS
    return ReachedUsers(
        hour_values=np.array(values, dtype=np.float64),
        current=np.array(current, dtype=np.float64),
        is_quiet=is_quiet,
    )


def choose_timing(reached: ReachedUsers) -> TimingChoice | None:
    """Return the better of one hour for all and each user's own; None with too few users.

    One hour is chosen of many, so its probability is Bonferroni's over the hours allowed.
    """
    totals = reached.hour_values.sum(axis=1)
    known = reached.known
    if int(known.sum()) < MINIMUM_USERS or bool(reached.is_quiet.all()):
        return None
    values = reached.hour_values[known] / totals[known, np.newaxis]
    current = reached.current[known] / totals[known]
    allowed = np.where(reached.is_quiet, -np.inf, values.mean(axis=0))
    hour = int(np.argmax(allowed))
    own = np.where(reached.is_quiet, 0.0, values).max(axis=1)
    single_effect, own_effect = (
        float(chosen.mean() / current.mean()) - 1.0 for chosen in (values[:, hour], own)
    )
    takes_own = own_effect > single_effect + OWN_HOUR_MARGIN
    chosen, choices = (own, 1) if takes_own else (values[:, hour], int((~reached.is_quiet).sum()))
    effect = own_effect if takes_own else single_effect
    return TimingChoice(
        hour=None if takes_own else hour,
        best_single_hour=hour,
        effect=effect,
        confidence=_probability_of_gain(chosen, current, choices),
        own_hour_effect=own_effect,
        users=len(current),
    )


def _probability_of_gain(chosen: FloatArray, current: FloatArray, choices: int) -> float:
    """Return the probability that mean(chosen) / mean(current) is above 1."""
    ratio = float(chosen.mean() / current.mean())
    deviations = chosen - ratio * current
    count = len(current)
    error = math.sqrt(float(deviations @ deviations) / (count - 1) / count) / float(current.mean())
    doubt = choices * float(ndtr(-(ratio - 1.0) / error)) if error > 0.0 else float(ratio <= 1.0)
    return min(max(1.0 - doubt, 1.0 - MOST_PROBABILITY), MOST_PROBABILITY)
