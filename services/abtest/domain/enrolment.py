"""Who may enrol in a test: its state, holdouts, targeting, and its place in an exclusion group.

Each question is answered by a hash of its own (the seed names what is asked), so that being held out or
excluded says nothing about the group a user would get.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final

from services.abtest.domain.hashing import BUCKETS, hash_bucket
from services.abtest.domain.model import Group, Status, WeightEpoch

LARGEST_HOLDOUT_SHARE: Final = 0.5
BucketSpan = tuple[int, int]
"""Buckets of a namespace: from the first, to before the second."""


class NotEnrolled(StrEnum):
    """Why a user has no group in a test."""

    NOT_STARTED = "not_started"
    PAUSED = "paused"
    ENDED = "ended"
    HOLDOUT = "holdout"
    TARGETING = "targeting"
    EXCLUSION = "exclusion"
    COVERAGE = "coverage"


_REASONS_BY_STATUS: Final = {
    Status.DRAFT: NotEnrolled.NOT_STARTED,
    Status.SCHEDULED: NotEnrolled.NOT_STARTED,
    Status.PAUSED: NotEnrolled.PAUSED,
    Status.ENDED: NotEnrolled.ENDED,
    Status.ARCHIVED: NotEnrolled.ENDED,
}


@dataclass(frozen=True, kw_only=True)
class EnrolmentRules:
    """Who a test is for, as it is asked for.

    `include_segments`: a user must have one of them; empty: everybody. `exclude_segments`: a user must have
    none. `exclusion_group` names a namespace of which the test takes `exclusion_share` (above 0, at most 1)
    that no other test of the group has; both or neither. `holdout_ids` are the holdouts that the test honours
    beside the global ones.
    """

    include_segments: tuple[str, ...] = ()
    exclude_segments: tuple[str, ...] = ()
    exclusion_group: str | None = None
    exclusion_share: float | None = None
    holdout_ids: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Holdout:
    """A share of all users who are never enrolled while it lasts: in no test, or in none that names it."""

    holdout_id: str
    share: float
    is_global: bool
    created_at: datetime
    ended_at: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class Enrolment:
    """What decides over a user who has no group yet.

    `ends_at` is when the test is to end by itself. `exclusion_spans` are the test's buckets in
    `exclusion_group`. `holdouts` are (holdout_id, share) of those that hold for it now.
    """

    test_id: str
    groups: tuple[Group, ...]
    seed: str
    epoch: WeightEpoch
    status: Status
    ends_at: datetime | None = None
    include_segments: tuple[str, ...] = ()
    exclude_segments: tuple[str, ...] = ()
    exclusion_group: str | None = None
    exclusion_spans: tuple[BucketSpan, ...] = ()
    holdouts: tuple[tuple[str, float], ...] = ()

    @property
    def needs_segments(self) -> bool:
        """Whether a user's segments matter."""
        return self.status is Status.RUNNING and bool(self.include_segments or self.exclude_segments)

    def reason_closed(self, now: datetime) -> NotEnrolled | None:
        """Return why the test enrols nobody now, None where it does."""
        if self.status is Status.RUNNING:
            is_over = self.ends_at is not None and self.ends_at <= now
            return NotEnrolled.ENDED if is_over else None
        return _REASONS_BY_STATUS[self.status]


def reason_to_refuse(
    enrolment: Enrolment, user_id: str, segments: Sequence[str], now: datetime
) -> NotEnrolled | None:
    """Return why a user may not enrol whatever the hash of the test itself says; None where nothing does.

    The first that holds of: the test's state, a holdout, targeting, the exclusion group.
    """
    closed = enrolment.reason_closed(now)
    if closed is not None:
        return closed
    if any(is_held_out(holdout_id, share, user_id) for holdout_id, share in enrolment.holdouts):
        return NotEnrolled.HOLDOUT
    if not is_targeted(enrolment.include_segments, enrolment.exclude_segments, segments):
        return NotEnrolled.TARGETING
    group = enrolment.exclusion_group
    if group is not None and not holds_bucket(enrolment.exclusion_spans, exclusion_bucket(group, user_id)):
        return NotEnrolled.EXCLUSION
    return None


def is_targeted(include: Iterable[str], exclude: Iterable[str], segments: Sequence[str]) -> bool:
    """Return whether a user with `segments` is one whom a test is for."""
    wanted = set(include)
    return (not wanted or not wanted.isdisjoint(segments)) and set(exclude).isdisjoint(segments)


def is_held_out(holdout_id: str, share: float, user_id: str) -> bool:
    """Return whether a user is of a holdout's share."""
    return hash_bucket(f"holdout/{holdout_id}/", user_id) < buckets_of(share)


def exclusion_bucket(exclusion_group: str, user_id: str) -> int:
    """Return a user's bucket in an exclusion group's namespace.

    Source: GrowthBook's experiment filters: hash version 2 under the namespace's own seed, against the ranges
    that each experiment has of it.
    """
    return hash_bucket(f"exclusion/{exclusion_group}/", user_id)


def holds_bucket(spans: Iterable[BucketSpan], bucket: int) -> bool:
    """Return whether `bucket` is in one of `spans`."""
    return any(first <= bucket < end for first, end in spans)


def buckets_of(share: float) -> int:
    """Return how many of the 10,000 buckets come nearest to a positive share; at least one."""
    return max(1, round(share * BUCKETS))


def free_spans(taken: Iterable[BucketSpan]) -> list[BucketSpan]:
    """Return the spans of a namespace that `taken` leaves, in order.

    >>> free_spans([(0, 2500), (5000, 10000)])
    [(2500, 5000)]
    """
    free: list[BucketSpan] = []
    reached = 0
    for first, end in [*sorted(taken), (BUCKETS, BUCKETS)]:
        if first > reached:
            free.append((reached, first))
        reached = max(reached, end)
    return free


def count_buckets(spans: Iterable[BucketSpan]) -> int:
    """Return how many buckets disjoint spans have."""
    return sum(end - first for first, end in spans)


def allocate_spans(taken: Iterable[BucketSpan], share: float) -> tuple[BucketSpan, ...] | None:
    """Return spans for `share` of a namespace beside those `taken`, or None where too little is free.

    The smallest gap that holds it whole is taken; where none does, gaps are filled from the largest down, so
    that a namespace falls into few pieces.

    >>> allocate_spans([(0, 2500), (7500, 10000)], 0.4)
    ((2500, 6500),)
    """
    wanted = buckets_of(share)
    free = free_spans(taken)
    if wanted > count_buckets(free):
        return None
    holding = [span for span in free if span[1] - span[0] >= wanted]
    if holding:
        first, _ = min(holding, key=lambda span: (span[1] - span[0], span[0]))
        return ((first, first + wanted),)
    chosen: list[BucketSpan] = []
    for first, end in sorted(free, key=lambda span: (span[0] - span[1], span[0])):
        if not wanted:
            break
        size = min(wanted, end - first)
        chosen.append((first, first + size))
        wanted -= size
    return tuple(sorted(chosen))
