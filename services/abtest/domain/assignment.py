"""Who gets which group: GrowthBook's bucketing with weights and coverage."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from itertools import pairwise
from typing import Final

import numpy as np

from services.abtest.domain.enrolment import Enrolment, NotEnrolled, reason_to_refuse
from services.abtest.domain.hashing import BUCKETS, hash_bucket
from services.common.errors import invalid_field

BucketRange = tuple[float, float]
_NOBODY: Final = 255
LARGEST_GROUPS: Final = _NOBODY
"""More groups than this have no room in a placement's byte."""
_POSITIONS: Final = np.arange(BUCKETS) / BUCKETS


@dataclass(frozen=True, kw_only=True)
class Placement:
    """The group a new user is to get, with the probability it had; or why none."""

    group_index: int | None = None
    propensity: float | None = None
    reason: NotEnrolled | None = None


def bucket_ranges(weights: Sequence[float], coverage: float) -> list[BucketRange]:
    """Return each group's half-open range of [0, 1): its weight's share, of which the first `coverage`.

    A change of coverage moves only where ranges end, so nobody moves from one group to another.

    Source: GrowthBook SDK build-your-own guide, getBucketRange, in its own floating-point order.

    >>> bucket_ranges([0.5, 0.5], 0.5)
    [(0.0, 0.25), (0.5, 0.75)]
    """
    starts = [0.0]
    for weight in weights:
        starts.append(starts[-1] + weight)
    return [
        (start, start + coverage * weight)
        for (start, _), weight in zip(pairwise(starts), weights, strict=True)
    ]


def choose_group(position: float, ranges: Sequence[BucketRange]) -> int | None:
    """Return the index of the range that holds `position`, or None where none does.

    Source: GrowthBook SDK build-your-own guide, chooseVariation.
    """
    for index, (start, end) in enumerate(ranges):
        if start <= position < end:
            return index
    return None


@lru_cache(maxsize=1024)
def _groups_by_bucket(weights: tuple[float, ...], coverage: float) -> bytes:
    """Return what `choose_group` says of every bucket, a byte each; `_NOBODY` for none."""
    table = np.full(BUCKETS, _NOBODY, dtype=np.uint8)
    ranges = bucket_ranges(weights, coverage)
    for index in range(len(ranges) - 1, -1, -1):  # where ranges overlap by a rounding, the first one has it
        first, last = np.searchsorted(_POSITIONS, ranges[index])
        table[first:last] = index
    return table.tobytes()


@lru_cache(maxsize=1024)
def bucket_shares(weights: tuple[float, ...], coverage: float) -> tuple[float, ...]:
    """Return each group's share of the buckets that are enrolled: what users really get, summing to 1.

    10,000 buckets cannot hold every weight and coverage: at weights of 0.995 and 0.005 with a coverage of
    0.01, 100 buckets go to the first group and 1 to the second, not 199 to 1. Every SDK of GrowthBook places
    users so, and so do we; but propensities, and what the groups' sizes are tested against, are these shares,
    so that the rounding neither biases a weighted estimate nor raises a sample-ratio alarm.

    Returns:
        Zeros where a group has no bucket; all zeros where nobody is enrolled.

    >>> [round(share * 101) for share in bucket_shares((0.995, 0.005), 0.01)]
    [100, 1]
    """
    table = _groups_by_bucket(weights, coverage)
    counts = [table.count(index) for index in range(len(weights))]
    enrolled = max(1, sum(counts))
    return tuple(count / enrolled for count in counts)


def enrolled_share(weights: tuple[float, ...], coverage: float) -> float:
    """Return the share of all buckets that weights and coverage enrol: `coverage` as it really is."""
    return 1.0 - _groups_by_bucket(weights, coverage).count(_NOBODY) / BUCKETS


def check_reachable(weights: tuple[float, ...], coverage: float, *, field: str) -> None:
    """Refuse weights that, at this coverage, leave a group without any of the 10,000 buckets.

    Raises:
        InvalidArgumentError: reason WEIGHTS_UNREACHABLE, naming the groups by their index in `field`.
    """
    empty = [str(index) for index, share in enumerate(bucket_shares(weights, coverage)) if not share]
    if empty:
        raise invalid_field(
            field,
            f"leaves no bucket of {BUCKETS} to the groups at index {', '.join(empty)} at this coverage;"
            " raise their weights or the coverage",
            "WEIGHTS_UNREACHABLE",
        )


def place_user(enrolment: Enrolment, user_id: str, segments: Sequence[str], now: datetime) -> Placement:
    """Decide the group of a user who has none yet, by the test's current epoch.

    Args:
        enrolment: who may enrol.
        user_id: the user.
        segments: the user's segments by now; read only where the test is targeted.
        now: the time.
    """
    reason = reason_to_refuse(enrolment, user_id, segments, now)
    if reason is not None:
        return Placement(reason=reason)
    epoch = enrolment.epoch
    bucket = hash_bucket(enrolment.seed, user_id)
    group = _groups_by_bucket(epoch.weights, epoch.coverage)[bucket]
    if group == _NOBODY:
        return Placement(reason=NotEnrolled.COVERAGE)
    return Placement(group_index=group, propensity=bucket_shares(epoch.weights, epoch.coverage)[group])
