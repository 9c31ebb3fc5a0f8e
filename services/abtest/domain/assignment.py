"""Who gets which group: GrowthBook's bucketing with weights and coverage."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise

from services.abtest.domain.hashing import BUCKETS, hash_bucket
from services.abtest.domain.model import ABTest

BucketRange = tuple[float, float]


class NotEnrolled(StrEnum):
    """Why a user has no group in a test."""

    COVERAGE = "coverage"
    ENDED = "ended"


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


def place_user(test: ABTest, user_id: str) -> Placement:
    """Decide the group of a user who has none yet, by the test's current epoch."""
    if not test.is_active:
        return Placement(reason=NotEnrolled.ENDED)
    epoch = test.epoch
    position = hash_bucket(test.design.seed, user_id) / BUCKETS
    group = choose_group(position, bucket_ranges(epoch.weights, epoch.coverage))
    if group is None:
        return Placement(reason=NotEnrolled.COVERAGE)
    return Placement(group_index=group, propensity=epoch.weights[group])
