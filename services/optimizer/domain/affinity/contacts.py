"""Days on which users and merchants met, and what they add up to at a day.

A user and a merchant meet by a visit (a purchase outside campaigns: the user's own accord), by a redemption
(a conversion in a campaign, which follows who was sent what), and by a passing (a geofence entry). However
many lines or events a day has, it is one visit. Older days weigh less, by half for every half-life; a rate
divides by the days that the user has been known, weighted alike, so that a new user's few days are not a low
rate.
"""

from dataclasses import dataclass
from enum import IntEnum
from typing import Final

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]

RECENT_HALF_LIFE: Final = 14.0
HABIT_HALF_LIFE: Final = 90.0
WINDOW_DAYS: Final = 365
"""What lies further back is forgotten."""


class Contact(IntEnum):
    """How a user and a merchant met."""

    VISIT = 0
    REDEMPTION = 1
    PASSING = 2


@dataclass(frozen=True, kw_only=True)
class Contacts:
    """Contacts as parallel arrays, one entry per user, merchant, kind and day.

    `user` and `merchant` are positions in the caller's lists, `day` a proleptic ordinal.
    """

    user: IntArray
    merchant: IntArray
    kind: IntArray
    day: IntArray

    def __len__(self) -> int:
        return len(self.day)

    def select(self, chosen: BoolArray) -> "Contacts":
        """Return the contacts where `chosen` holds."""
        return Contacts(
            user=self.user[chosen],
            merchant=self.merchant[chosen],
            kind=self.kind[chosen],
            day=self.day[chosen],
        )

    def count_redemptions_as_visits(self) -> "Contacts":
        """Return the contacts where no purchase outside campaigns is known: redemptions are visits."""
        kind = np.where(self.kind == Contact.REDEMPTION, Contact.VISIT, self.kind).astype(np.int64)
        return Contacts(user=self.user, merchant=self.merchant, kind=kind, day=self.day)


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """What is known of pairs of user and merchant on the eve of `as_of`, and of the users.

    `key` (pairs, ascending) is user x merchant_count + merchant. `recent` and `habit` are visits that fade
    with the two half-lives, `total` those of the whole window, `last_age` the days since the last one (NaN
    for none); `redemptions` and `passings` fade as habits do. By user: `tenure` in days since the first
    contact (0: none), and the sums of the visits.
    """

    as_of: int
    user_count: int
    merchant_count: int
    key: IntArray
    recent: FloatArray
    habit: FloatArray
    total: FloatArray
    last_age: FloatArray
    redemptions: FloatArray
    passings: FloatArray
    tenure: FloatArray
    user_recent: FloatArray
    user_habit: FloatArray

    @property
    def user(self) -> IntArray:
        """The user of each pair."""
        return self.key // self.merchant_count

    @property
    def merchant(self) -> IntArray:
        """The merchant of each pair."""
        return self.key % self.merchant_count


def gather(contacts: Contacts, as_of: int, *, user_count: int, merchant_count: int) -> Evidence:
    """Return what the contacts of the `WINDOW_DAYS` days before `as_of` add up to, and of no later one."""
    known = contacts.select((contacts.day < as_of) & (contacts.day >= as_of - WINDOW_DAYS))
    age = (as_of - known.day).astype(np.float64)
    key, place = np.unique(known.user * merchant_count + known.merchant, return_inverse=True)
    is_visit = known.kind == Contact.VISIT

    def add_up(weights: FloatArray, kind: Contact) -> FloatArray:
        of_kind = np.where(known.kind == kind, weights, 0.0)
        return total_by(place, of_kind, len(key))

    recent, habit = np.exp2(-age / RECENT_HALF_LIFE), np.exp2(-age / HABIT_HALF_LIFE)
    last_age = np.full(len(key), np.inf)
    np.minimum.at(last_age, place[is_visit], age[is_visit])
    tenure = np.zeros(user_count)
    np.maximum.at(tenure, known.user, age)
    pairs_recent, pairs_habit = add_up(recent, Contact.VISIT), add_up(habit, Contact.VISIT)
    users = key // merchant_count
    return Evidence(
        as_of=as_of,
        user_count=user_count,
        merchant_count=merchant_count,
        key=key,
        recent=pairs_recent,
        habit=pairs_habit,
        total=add_up(np.ones(len(age)), Contact.VISIT),
        last_age=np.where(np.isinf(last_age), np.nan, last_age),
        redemptions=add_up(habit, Contact.REDEMPTION),
        passings=add_up(habit, Contact.PASSING),
        tenure=tenure,
        user_recent=total_by(users, pairs_recent, user_count),
        user_habit=total_by(users, pairs_habit, user_count),
    )


def total_by(group: IntArray, values: FloatArray, count: int) -> FloatArray:
    """Return the sum of the values of each of `count` groups."""
    return np.bincount(group, weights=values, minlength=count).astype(np.float64)


def weighted_days(tenure: FloatArray, half_life: float) -> FloatArray:
    """Return the days from 1 to `tenure` ago, each weighted by its age: a geometric series."""
    ratio = 2.0 ** (-1.0 / half_life)
    return np.asarray(ratio * (1.0 - ratio**tenure) / (1.0 - ratio), dtype=np.float64)


def visited_within(contacts: Contacts, first_day: int, days: int, merchant_count: int) -> IntArray:
    """Return the keys (ascending) of the pairs with a visit in the `days` days from `first_day` on."""
    inside = (
        (contacts.day >= first_day) & (contacts.day < first_day + days) & (contacts.kind == Contact.VISIT)
    )
    return np.unique(contacts.user[inside] * merchant_count + contacts.merchant[inside])
