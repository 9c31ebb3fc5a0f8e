"""Who may enrol: targeting, holdouts, and parts of an exclusion group, each by a hash of its own."""

from collections import Counter
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from services.abtest.domain.assignment import place_user
from services.abtest.domain.enrolment import (
    BucketSpan,
    Enrolment,
    NotEnrolled,
    allocate_spans,
    buckets_of,
    count_buckets,
    exclusion_bucket,
    free_spans,
    holds_bucket,
    is_held_out,
    is_targeted,
)
from services.abtest.domain.hashing import BUCKETS, hash_bucket
from services.abtest.domain.model import Status, WeightEpoch
from tests.abtest_factories import design

NOW = datetime(2026, 5, 1, tzinfo=UTC)
USERS = [f"user-{number}" for number in range(20_000)]


def enrolment(
    *,
    seed: str = "seed",
    status: Status = Status.RUNNING,
    ends_at: datetime | None = None,
    include_segments: tuple[str, ...] = (),
    exclude_segments: tuple[str, ...] = (),
    exclusion_spans: tuple[BucketSpan, ...] | None = None,
    holdouts: tuple[tuple[str, float], ...] = (),
) -> Enrolment:
    return Enrolment(
        test_id="t",
        groups=design().groups,
        seed=seed,
        epoch=WeightEpoch(number=1, weights=(0.5, 0.5), coverage=1.0),
        status=status,
        ends_at=ends_at,
        include_segments=include_segments,
        exclude_segments=exclude_segments,
        exclusion_group=None if exclusion_spans is None else "g",
        exclusion_spans=exclusion_spans or (),
        holdouts=holdouts,
    )


@pytest.mark.parametrize(
    ("include", "exclude", "segments", "expected"),
    [
        ((), (), (), True),
        (("gold",), (), ("gold", "new"), True),
        (("gold", "silver"), (), ("silver",), True),
        (("gold",), (), ("silver",), False),
        (("gold",), (), (), False),
        ((), ("new",), (), True),
        ((), ("new",), ("gold", "new"), False),
        (("gold",), ("new",), ("gold",), True),
        (("gold",), ("new",), ("gold", "new"), False),
    ],
)
def test_targeting_wants_any_included_and_no_excluded_segment(
    include: tuple[str, ...], exclude: tuple[str, ...], segments: tuple[str, ...], expected: bool
) -> None:
    assert is_targeted(include, exclude, segments) is expected


def test_the_first_reason_that_holds_is_told() -> None:
    held = next(user for user in USERS if is_held_out("h", 0.5, user))
    free = next(user for user in USERS if not is_held_out("h", 0.5, user))

    def reason(user: str, segments: tuple[str, ...], status: Status = Status.RUNNING) -> str | None:
        test = enrolment(
            status=status, include_segments=("gold",), exclusion_spans=((0, 0),), holdouts=(("h", 0.5),)
        )
        return place_user(test, user, segments, NOW).reason

    assert reason(held, (), Status.PAUSED) == "paused"
    assert reason(held, ()) == "holdout"
    assert reason(free, ()) == "targeting"
    assert reason(free, ("gold",)) == "exclusion"


@pytest.mark.parametrize("share", [0.05, 0.5])
def test_a_holdout_holds_its_share(share: float) -> None:
    held = sum(is_held_out("autumn", share, user) for user in USERS)
    assert stats.binomtest(held, len(USERS), share).pvalue > 0.001


def test_hashes_of_group_holdout_and_exclusion_do_not_depend_on_one_another() -> None:
    """Chi-squared tests of independence over 20,000 users, at 0.1 %."""
    group = [hash_bucket("test-1", user) < BUCKETS // 2 for user in USERS]
    asked = {
        "another test's group": [hash_bucket("test-2", user) < BUCKETS // 2 for user in USERS],
        "a holdout": [is_held_out("h", 0.2, user) for user in USERS],
        "a holdout of the test's name": [is_held_out("test-1", 0.2, user) for user in USERS],
        "an exclusion group": [exclusion_bucket("g", user) < 3000 for user in USERS],
        "an exclusion group of the test's name": [exclusion_bucket("test-1", user) < 3000 for user in USERS],
    }
    for name, answers in asked.items():
        counts = Counter(zip(group, answers, strict=True))
        table = [[counts[(of_group, answer)] for answer in (True, False)] for of_group in (True, False)]
        assert stats.chi2_contingency(table, correction=False).pvalue > 0.001, name


def test_tests_of_one_exclusion_group_share_no_user() -> None:
    first = allocate_spans([], 0.3)
    assert first is not None
    second = allocate_spans(first, 0.7)
    assert second is not None
    assert allocate_spans([*first, *second], 0.0001) is None
    tests = [enrolment(seed="a", exclusion_spans=first), enrolment(seed="b", exclusion_spans=second)]
    placed = [
        {user for user in USERS if place_user(test, user, (), NOW).group_index is not None} for test in tests
    ]
    assert not placed[0] & placed[1]
    assert len(placed[0]) + len(placed[1]) == len(USERS)
    assert stats.binomtest(len(placed[0]), len(USERS), 0.3).pvalue > 0.001


@pytest.mark.parametrize(
    ("taken", "share", "expected"),
    [
        ([], 1.0, ((0, 10_000),)),
        ([], 0.00001, ((0, 1),)),
        ([(0, 2500)], 0.25, ((2500, 5000),)),
        # The smallest gap that holds it whole, not the first.
        ([(4000, 5000), (7000, 10_000)], 0.2, ((5000, 7000),)),
        # No gap holds it: the largest is filled, then the next.
        ([(1000, 2000), (6000, 7000)], 0.8, ((0, 1000), (2000, 6000), (7000, 10_000))),
        ([(1000, 2000), (6000, 7000)], 0.5, ((2000, 6000), (7000, 8000))),
        ([(0, 5000)], 0.5001, None),
    ],
)
def test_parts_are_taken_in_few_pieces(
    taken: list[BucketSpan], share: float, expected: tuple[BucketSpan, ...] | None
) -> None:
    assert allocate_spans(taken, share) == expected


@given(
    cuts=st.lists(st.integers(0, BUCKETS), max_size=8, unique=True).map(sorted), share=st.floats(0.0001, 1.0)
)
def test_what_is_allocated_was_free_and_is_enough(cuts: list[int], share: float) -> None:
    taken = [span for index, span in enumerate(pairwise(cuts)) if index % 2 == 0]
    free = free_spans(taken)
    assert count_buckets(free) + count_buckets(taken) == BUCKETS
    allocated = allocate_spans(taken, share)
    if allocated is None:
        assert buckets_of(share) > count_buckets(free)
        return
    assert count_buckets(allocated) == buckets_of(share)
    for first, end in allocated:
        assert any(start <= first < end <= stop for start, stop in free)
    assert all(before[1] <= after[0] for before, after in pairwise(allocated))
    assert holds_bucket(allocated, allocated[0][0])
    assert not holds_bucket(allocated, allocated[-1][1])


def test_rules_do_not_touch_who_is_in_which_group() -> None:
    plain = enrolment()
    ruled = enrolment(exclusion_spans=((0, 5000),), holdouts=(("h", 0.3),), exclude_segments=("new",))
    for user in USERS[:2000]:
        placement = place_user(ruled, user, (), NOW)
        if placement.group_index is not None:
            assert placement == place_user(plain, user, (), NOW)
        else:
            assert placement.reason in {NotEnrolled.HOLDOUT, NotEnrolled.EXCLUSION}


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (Status.DRAFT, NotEnrolled.NOT_STARTED),
        (Status.SCHEDULED, NotEnrolled.NOT_STARTED),
        (Status.PAUSED, NotEnrolled.PAUSED),
        (Status.ENDED, NotEnrolled.ENDED),
        (Status.ARCHIVED, NotEnrolled.ENDED),
        (Status.RUNNING, None),
    ],
)
def test_only_a_running_test_enrols(status: Status, reason: NotEnrolled | None) -> None:
    assert enrolment(status=status).reason_closed(NOW) is reason


def test_a_test_whose_time_is_over_enrols_nobody_though_nothing_has_ended_it_yet() -> None:
    running = enrolment(ends_at=NOW)
    assert running.reason_closed(NOW - timedelta(microseconds=1)) is None
    assert running.reason_closed(NOW) is NotEnrolled.ENDED
