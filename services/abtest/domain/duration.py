"""How long a test takes on the traffic that campaigns have: until enough different users have come."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import special

from services.abtest.domain.model import GroupCounts
from services.abtest.domain.proportions import Interval, wilson_interval

NEVER_BEFORE = -1
"""In place of a day: the user had not come on any of the days looked back at."""
DAYS_PER_WEEK = 7
LONGEST_DAYS = 366.0
"""Nothing is extrapolated beyond: within a year traffic changes, and no test should run so long."""
_LOWER_SHARE, _UPPER_SHARE = 0.1, 0.9
_FEWEST_STARTS = 5
_LEVEL = 0.95

Counts = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class DurationQuestion:
    """A test to plan: users needed per group, the groups' shares, and the share of users enrolled."""

    target_sample_size: int
    weights: tuple[float, ...]
    coverage: float

    @property
    def required_sample_size_total(self) -> int:
        """Users of all groups with whom the smallest is expected to have its target."""
        return math.ceil(round(self.target_sample_size / min(self.weights), 6))

    @property
    def required_users(self) -> int:
        """Users who must come for that, enrolled or not."""
        return math.ceil(round(self.required_sample_size_total / self.coverage, 6))


@dataclass(frozen=True, kw_only=True)
class Traffic:
    """Users of some campaigns on `days` days in a row.

    `visits` counts, under (previous_day, day), the users of a day whose last day before was the previous one;
    days count from 0, and `NEVER_BEFORE` stands for none. `reached` is all different users and those of them
    who converted.
    """

    days: int
    visits: Mapping[tuple[int, int], int]
    reached: GroupCounts


@dataclass(frozen=True, kw_only=True)
class DurationEstimate:
    """How long a test would have taken, had it started on each of the days.

    Durations are in days; None where the traffic does not tell. The interval holds four fifths of the starts
    that were observed to their end; of an extrapolation, it is a prediction at 80 % confidence.
    """

    duration_days: float | None
    interval: Interval | None
    recommended_days: int | None
    observed_starts: int
    starts: int
    extrapolated: bool
    new_users_per_day: float
    conversion_rate_interval: Interval | None
    warnings: tuple[str, ...]


def estimate_duration(question: DurationQuestion, traffic: Traffic) -> DurationEstimate:
    """Return how long it takes until as many different users have come as the test needs.

    Users who come again count once, so the time is that of distinct users, not of visits. Each day looked
    back at serves as a start (the last six are too near the end); later starts end later, so those observed
    to their end are the first ones.
    """
    growth = count_new_users(traffic)
    starts = max(1, traffic.days - DAYS_PER_WEEK + 1)
    observed = _observed_durations(growth, question.required_users, starts)
    recent = growth[0, -DAYS_PER_WEEK:]
    if observed:
        duration: float | None = float(np.median(observed))
        interval = _spread_of(observed)
    else:
        duration, interval = _extrapolate(growth[0], question.required_users)
        if duration is not None and duration > LONGEST_DAYS:
            duration, interval = None, None
        elif interval is not None and interval.upper > LONGEST_DAYS:
            interval = None
    return DurationEstimate(
        duration_days=duration,
        interval=interval,
        recommended_days=_whole_weeks(duration, interval),
        observed_starts=len(observed),
        starts=starts,
        extrapolated=duration is not None and not observed,
        new_users_per_day=float(recent.mean()),
        conversion_rate_interval=wilson_interval(traffic.reached, _LEVEL) if traffic.reached.users else None,
        warnings=tuple(_warn(len(observed), traffic, duration)),
    )


def count_new_users(traffic: Traffic) -> Counts:
    """Return, by start and day, the users who come for the first time since the start; 0 before it."""
    by_previous = np.zeros((traffic.days + 1, traffic.days))
    for (previous_day, day), users in traffic.visits.items():
        by_previous[previous_day + 1, day] += users
    # Row s: the users of each day whose last visit was before day s.
    since = np.cumsum(by_previous, axis=0)[:-1]
    return np.asarray(np.triu(since))


def _observed_durations(growth: Counts, required: int, starts: int) -> list[float]:
    """Return the durations of the starts whose users sufficed, to the part of a day."""
    found = []
    for start in range(starts):
        users = np.cumsum(growth[start, start:])
        if users[-1] < required:
            break
        day = int(np.searchsorted(users, required))
        before = users[day - 1] if day else 0.0
        found.append(day + (required - before) / (users[day] - before))
    return found


def _spread_of(durations: Sequence[float]) -> Interval | None:
    if len(durations) < _FEWEST_STARTS:
        return None
    lower, upper = np.quantile(durations, (_LOWER_SHARE, _UPPER_SHARE))
    return Interval(lower=float(lower), upper=float(upper))


def _extrapolate(new_users: Counts, required: int) -> tuple[float | None, Interval | None]:
    """Return the duration from the first day on, if new users go on coming as lately.

    Lately is the last two weeks, or the later half of fewer than four: on the first days everybody is new.
    The interval is that of the mean of new users per day (Student's t).
    """
    missing = required - float(new_users.sum())
    recent = new_users[-min(2 * DAYS_PER_WEEK, len(new_users) // 2) :]
    mean = float(recent.mean())
    if mean <= 0.0:
        return None, None
    error = float(recent.std(ddof=1)) / math.sqrt(len(recent))
    radius = float(special.stdtrit(len(recent) - 1, _UPPER_SHARE)) * error
    slowest = mean - radius
    interval = None
    if slowest > 0.0:
        interval = Interval(
            lower=len(new_users) + missing / (mean + radius), upper=len(new_users) + missing / slowest
        )
    return len(new_users) + missing / mean, interval


def _whole_weeks(duration: float | None, interval: Interval | None) -> int | None:
    if duration is None:
        return None
    longest = duration if interval is None else interval.upper
    return DAYS_PER_WEEK * math.ceil(round(longest / DAYS_PER_WEEK, 9))


def _warn(observed: int, traffic: Traffic, duration: float | None) -> list[str]:
    warnings = []
    if not traffic.reached.users:
        return ["the campaigns had no users on these days: nothing can be said"]
    if duration is None:
        warnings.append(
            f"the campaigns' audience is too small: {traffic.reached.users} users came in {traffic.days} "
            "days, and at the rate of new users lately the test would not have enough within a year"
        )
    elif not observed:
        warnings.append(
            "the traffic of these days does not suffice: the duration is extrapolated at the rate of new "
            "users lately, and since users come again it may take longer"
        )
    elif observed < _FEWEST_STARTS:
        warnings.append(f"only {observed} starts had enough users before today: the spread is unknown")
    if traffic.reached.conversions < _FEWEST_STARTS:
        warnings.append("fewer than 5 users converted: conversion_rate is hardly known")
    return warnings
