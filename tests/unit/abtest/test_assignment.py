"""Placing users: shares, coverage, and what 10,000 buckets make of them."""

from collections import Counter
from datetime import UTC, datetime
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.abtest.domain.assignment import (
    bucket_ranges,
    bucket_shares,
    check_reachable,
    choose_group,
    enrolled_share,
    place_user,
)
from services.abtest.domain.enrolment import Enrolment, NotEnrolled
from services.abtest.domain.hashing import BUCKETS
from services.abtest.domain.model import EpochCounts, GroupCounts, Status, WeightEpoch
from services.abtest.domain.sample_ratio import check_sample_ratio
from services.common.errors import InvalidArgumentError
from tests.abtest_factories import design

NOW = datetime(2026, 5, 1, tzinfo=UTC)


def a_test(
    *, weights: tuple[float, ...] = (0.5, 0.5), coverage: float = 1.0, status: Status = Status.RUNNING
) -> Enrolment:
    return Enrolment(
        test_id="t",
        groups=design().groups,
        seed="seed",
        epoch=WeightEpoch(number=1, weights=weights, coverage=coverage),
        status=status,
    )


@pytest.mark.parametrize(("weights", "coverage"), [((0.5, 0.5), 1.0), ((0.9, 0.1), 1.0), ((0.2, 0.8), 0.3)])
def test_groups_get_their_shares(weights: tuple[float, float], coverage: float) -> None:
    test = a_test(weights=weights, coverage=coverage)
    placed = Counter(place_user(test, f"user-{number}", (), NOW).group_index for number in range(20_000))
    enrolled = placed[0] + placed[1]
    # Within 4 standard errors of what is promised.
    assert enrolled / 20_000 == pytest.approx(
        coverage, abs=4 * (coverage * (1 - coverage) / 20_000) ** 0.5 + 1e-9
    )
    assert placed[0] / enrolled == pytest.approx(
        weights[0], abs=4 * (weights[0] * weights[1] / enrolled) ** 0.5
    )


def test_the_propensity_is_the_groups_weight_among_the_enrolled() -> None:
    placement = place_user(a_test(weights=(0.9, 0.1), coverage=0.999), "a", (), NOW)
    assert placement.group_index == 0
    assert placement.propensity == pytest.approx(0.9, abs=1e-4)


def test_an_ended_test_places_nobody() -> None:
    placement = place_user(a_test(status=Status.ENDED), "a", (), NOW)
    assert (placement.group_index, placement.reason) == (None, NotEnrolled.ENDED)


def test_a_user_beyond_the_coverage_is_placed_nowhere() -> None:
    placement = place_user(a_test(coverage=0.01), "a", (), NOW)
    assert (placement.group_index, placement.reason) == (None, NotEnrolled.COVERAGE)


def counted_by_choice(weights: tuple[float, ...], coverage: float) -> list[int]:
    """Buckets of each group by asking GrowthBook's choice for every one of them."""
    ranges = bucket_ranges(weights, coverage)
    chosen = Counter(choose_group(bucket / BUCKETS, ranges) for bucket in range(BUCKETS))
    return [chosen[index] for index in range(len(weights))]


@pytest.mark.parametrize(
    ("weights", "coverage"),
    [
        ((0.5, 0.5), 1.0),
        ((1 / 3, 1 / 3, 1 / 3), 1.0),
        ((0.1, 0.2, 0.7), 1.0),
        ((0.995, 0.005), 0.01),
        ((0.33, 0.33, 0.34), 0.123456),
        ((0.9999, 0.0001), 0.5),
        ((1 / 7,) * 7, 0.9999),
    ],
)
def test_shares_are_those_of_the_buckets_that_the_choice_gives(
    weights: tuple[float, ...], coverage: float
) -> None:
    counts = counted_by_choice(weights, coverage)
    assert bucket_shares(weights, coverage) == tuple(count / sum(counts) for count in counts)
    assert enrolled_share(weights, coverage) == pytest.approx(sum(counts) / BUCKETS)


@given(
    cuts=st.lists(st.floats(0.001, 0.999), min_size=1, max_size=5, unique=True).map(sorted),
    coverage=st.floats(0.0001, 1.0),
    bucket=st.integers(0, BUCKETS - 1),
)
def test_a_user_is_placed_as_the_published_choice_places_the_bucket(
    cuts: list[float], coverage: float, bucket: int
) -> None:
    weights = tuple(after - before for before, after in pairwise([0.0, *cuts, 1.0]))
    chosen = choose_group(bucket / BUCKETS, bucket_ranges(weights, coverage))
    counts = [share * enrolled_share(weights, coverage) for share in bucket_shares(weights, coverage)]
    if chosen is not None:
        assert counts[chosen] > 0
    # A range of width w holds the buckets of w to within one; doubles may cost the next one.
    for count, weight in zip(counts, weights, strict=True):
        assert count == pytest.approx(weight * coverage, abs=2 / BUCKETS)


def test_sizes_that_buckets_force_are_no_mismatch() -> None:
    weights, coverage = (0.995, 0.005), 0.01
    users = [40_000, 400]  # as 100 buckets and 1 give them
    groups = tuple(GroupCounts(users=count) for count in users)
    nominal = check_sample_ratio([EpochCounts(epoch=1, weights=weights, groups=groups)])
    shares = bucket_shares(weights, coverage)
    placed = check_sample_ratio([EpochCounts(epoch=1, weights=shares, groups=groups)])
    assert nominal is not None
    assert nominal.alarms
    assert placed is not None
    assert placed.fixed_p_value == pytest.approx(1.0, abs=0.1)
    assert not placed.alarms


@pytest.mark.parametrize(
    ("weights", "coverage", "empty"),
    [((0.33335, 0.00005, 0.6666), 1.0, "1"), ((0.99995, 0.00005), 0.5, "1")],
)
def test_weights_that_leave_a_group_without_buckets_are_refused(
    weights: tuple[float, ...], coverage: float, empty: str
) -> None:
    with pytest.raises(InvalidArgumentError, match=f"index {empty} at this coverage") as caught:
        check_reachable(weights, coverage, field="traffic_weights")
    assert [violation.field for violation in caught.value.violations] == ["traffic_weights"]


def test_weights_that_buckets_can_hold_are_taken() -> None:
    check_reachable((0.5, 0.5), 0.0001, field="traffic_weights")
    check_reachable((0.9999, 0.0001), 1.0, field="traffic_weights")
