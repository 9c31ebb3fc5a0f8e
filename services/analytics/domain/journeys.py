"""From a user's touches and conversions to paths: what led to each conversion, and what led to nothing.

A touch counts for a conversion of the same user in the same currency if it lies at most the lookback window
before it. It may count for several. A conversion whose campaign has no touch of its own in the window is
*direct*: it stands at the end of its path as a touch of that campaign. A plain purchase has no campaign; it
has a path only where there was a touch. In each month, a user's touches that no conversion follows within the
window are one journey that led to nothing; `markov` needs them.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from services.analytics.domain.attribution import Integers
from services.analytics.domain.markov import START

Flags = NDArray[np.bool_]
NO_CAMPAIGN = 0


@dataclass(frozen=True, kw_only=True)
class Moments:
    """Touches and conversions of users, in order: by user, then by time, touches before conversions.

    `users` are any numbers that tell users apart, `groups` the group each user is in, `campaigns` from 1
    (0: none), `days` any number of the day, `micros` the time in microseconds, `revenue` net of refunds, in
    micros (0 for touches).
    """

    users: Integers
    groups: Integers
    campaigns: Integers
    is_conversion: Flags
    days: Integers
    micros: Integers
    revenue: Integers

    def __len__(self) -> int:
        return int(self.users.size)

    def take(self, chosen: Integers | Flags) -> "Moments":
        """Return some of them."""
        return Moments(**{name: values[chosen] for name, values in vars(self).items()})


@dataclass(frozen=True, kw_only=True)
class Paths:
    """Conversions with the touches that led to each, one path after the other.

    `conversions` are the conversions; `lengths` how many touches each has, at least one; `campaigns` and
    `ages` (microseconds before the conversion) belong to the touches. `is_direct`: see above.
    """

    conversions: Moments
    is_direct: Flags
    lengths: Integers
    campaigns: Integers
    ages: Integers


def find_paths(moments: Moments, lookback_micros: int, first_day: int, last_day: int) -> Paths:
    """Return the paths of the conversions of some days, both included."""
    touches = np.flatnonzero(~moments.is_conversion)
    chosen = np.flatnonzero(moments.is_conversion & (moments.days >= first_day) & (moments.days <= last_day))
    ends = np.searchsorted(touches, chosen)
    starts = np.minimum(_first_touches(moments, touches, chosen, lookback_micros), ends)
    lengths = ends - starts
    conversions = moments.take(chosen)
    flat = np.repeat(starts, lengths) + _count_up(lengths)
    path = np.repeat(np.arange(chosen.size), lengths)
    is_own = moments.campaigns[touches[flat]] == conversions.campaigns[path]
    owned = np.bincount(path[is_own], minlength=chosen.size) > 0
    is_direct = ~owned & (conversions.campaigns != NO_CAMPAIGN)
    return _close_paths(
        conversions,
        touched=moments.take(touches[flat]),
        lengths=lengths,
        is_direct=is_direct,
    )


def _first_touches(moments: Moments, touches: Integers, chosen: Integers, lookback: int) -> Integers:
    """Return for each conversion the place among `touches` of the first that its window holds."""
    _, user = np.unique(moments.users, return_inverse=True)
    base = moments.micros.min() if len(moments) else 0
    span = (int(moments.micros.max() - base) if len(moments) else 0) + lookback + 2
    keys = user.astype(np.int64) * span + (moments.micros - base)
    floor = user.astype(np.int64) * span + np.maximum(moments.micros - base - lookback, 0)
    first: Integers = np.searchsorted(keys[touches], floor[chosen], side="left")
    return first


def _close_paths(conversions: Moments, *, touched: Moments, lengths: Integers, is_direct: Flags) -> Paths:
    """Add the touch of a direct conversion to the end of its path; leave out what has no path."""
    total = lengths + is_direct
    kept = np.flatnonzero(total > 0)
    path = np.repeat(np.arange(lengths.size), total)
    is_added = is_direct[path] & (_count_up(total) == total[path] - 1)
    campaigns = conversions.campaigns[path]
    ages = np.zeros(path.size, dtype=np.int64)
    campaigns[~is_added] = touched.campaigns
    ages[~is_added] = conversions.micros[path[~is_added]] - touched.micros
    return Paths(
        conversions=conversions.take(kept),
        is_direct=is_direct[kept],
        lengths=total[kept],
        campaigns=campaigns,
        ages=ages,
    )


def find_vain_touches(moments: Moments, lookback_micros: int, first_day: int, last_day: int) -> Moments:
    """Return the touches of some days that no conversion of the user follows within the window."""
    conversions = np.flatnonzero(moments.is_conversion)
    touches = np.flatnonzero(
        ~moments.is_conversion & (moments.days >= first_day) & (moments.days <= last_day)
    )
    after = np.searchsorted(conversions, touches)
    is_followed = after < conversions.size
    following = conversions[after[is_followed]]
    before = touches[is_followed]
    is_followed[is_followed] = (moments.users[following] == moments.users[before]) & (
        moments.micros[following] - moments.micros[before] <= lookback_micros
    )
    return moments.take(touches[~is_followed])


def list_steps(
    campaigns: Integers, lengths: Integers, groups: Integers, end: int
) -> tuple[Integers, Integers, Integers]:
    """Return every step of some journeys as (group, origin, target): from start, over campaigns, to `end`.

    Steps from a campaign to itself are left out. `groups` has one entry per journey.
    """
    group = np.repeat(groups, lengths)
    place, last = _count_up(lengths), np.repeat(lengths, lengths) - 1
    origins = np.where(place == 0, START, np.roll(campaigns, 1))
    is_step = origins != campaigns
    is_last = place == last
    return (
        np.concatenate([group[is_step], group[is_last]]),
        np.concatenate([origins[is_step], campaigns[is_last]]),
        np.concatenate([campaigns[is_step], np.full(int(is_last.sum()), end, dtype=np.int64)]),
    )


def count_runs(values: Integers) -> Integers:
    """Return the lengths of the runs of equal values."""
    if not values.size:
        return values
    begins = np.flatnonzero(np.diff(values, prepend=values[0] - 1))
    return np.diff(begins, append=values.size)


def _count_up(lengths: Integers) -> Integers:
    """Return 0, 1, ... for each length, one after the other."""
    return np.arange(int(lengths.sum())) - np.repeat(np.cumsum(lengths) - lengths, lengths)
