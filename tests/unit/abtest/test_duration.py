"""Durations from campaigns' own traffic, against users counted one by one."""

from collections import Counter

import numpy as np
import pytest

from services.abtest.domain.duration import (
    NEVER_BEFORE,
    DurationQuestion,
    Traffic,
    count_new_users,
    estimate_duration,
)
from services.abtest.domain.model import GroupCounts

EVEN = (0.5, 0.5)


def traffic_of(visits: list[list[int]], *, converting: int = 100) -> Traffic:
    """The traffic of users who came on these days each; `visits[user]` are days in order."""
    days = 28
    counted: Counter[tuple[int, int]] = Counter()
    for came in visits:
        for previous, day in zip([NEVER_BEFORE, *came], came, strict=False):
            counted[previous, day] += 1
    reached = GroupCounts(users=len(visits), conversions=min(converting, len(visits)))
    return Traffic(days=days, visits=counted, reached=reached)


def steady(per_day: int, days: int = 28) -> Traffic:
    """New users every day, the same number, none of whom comes again."""
    return traffic_of([[day] for day in range(days) for _ in range(per_day)])


def question(target: int, *, weights: tuple[float, ...] = EVEN, coverage: float = 1.0) -> DurationQuestion:
    return DurationQuestion(target_sample_size=target, weights=weights, coverage=coverage)


def test_the_smallest_group_and_coverage_set_how_many_users_must_come() -> None:
    asked = question(1000, weights=(0.9, 0.1), coverage=0.5)
    assert asked.required_sample_size_total == 10_000
    assert asked.required_users == 20_000
    assert question(3841).required_sample_size_total == 7682


def test_steady_traffic_gives_its_plain_duration() -> None:
    estimate = estimate_duration(question(250), steady(100))
    assert estimate.duration_days == pytest.approx(5.0)
    assert estimate.interval is not None
    assert (estimate.interval.lower, estimate.interval.upper) == pytest.approx((5.0, 5.0))
    assert estimate.recommended_days == 7
    assert estimate.observed_starts == estimate.starts == 22
    assert not estimate.extrapolated
    assert estimate.new_users_per_day == 100
    assert estimate.warnings == ()


def test_users_who_come_again_count_once_since_each_start() -> None:
    generator = np.random.default_rng(4)
    visits = [sorted(set(generator.integers(0, 28, size=6).tolist())) for _ in range(400)]
    growth = count_new_users(traffic_of(visits))
    for start in range(28):
        seen = [
            len({user for user, came in enumerate(visits) if any(start <= each <= day for each in came)})
            for day in range(start, 28)
        ]
        assert np.cumsum(growth[start, start:]).tolist() == seen
        assert not growth[start, :start].any()


def test_a_faithful_audience_takes_longer_than_its_visits_suggest() -> None:
    """500 users come every day: the first day brings all of them, and nobody ever after."""
    faithful = traffic_of([list(range(28)) for _ in range(500)])
    estimate = estimate_duration(question(400), faithful)
    assert estimate.duration_days is None
    assert estimate.recommended_days is None
    assert not estimate.extrapolated
    assert "audience is too small" in estimate.warnings[0]
    assert estimate.new_users_per_day == 0


def test_a_duration_beyond_the_days_looked_back_at_is_extrapolated_and_says_so() -> None:
    generator = np.random.default_rng(2)
    new_users = generator.poisson(100, 28)
    estimate = estimate_duration(
        question(2500), traffic_of([[day] for day in range(28) for _ in range(new_users[day])])
    )
    assert estimate.extrapolated
    assert estimate.interval is not None
    assert estimate.duration_days is not None
    assert estimate.duration_days == pytest.approx(50, rel=0.1)
    assert estimate.interval.lower < estimate.duration_days < estimate.interval.upper
    assert estimate.recommended_days in (49, 56)
    assert "extrapolated" in estimate.warnings[0]


def test_a_weekly_rhythm_shows_in_the_spread_of_starts() -> None:
    """Two days of every seven bring nearly everybody."""
    visits = [[day] for day in range(28) for _ in range(500 if day % 7 in (5, 6) else 20)]
    estimate = estimate_duration(question(250), traffic_of(visits))
    assert estimate.interval is not None
    assert estimate.interval.upper - estimate.interval.lower > 3
    assert estimate.recommended_days == 7


def test_few_starts_give_no_spread() -> None:
    estimate = estimate_duration(question(1300), steady(100))
    assert estimate.observed_starts == 3
    assert estimate.interval is None
    assert estimate.duration_days == pytest.approx(26.0)
    assert estimate.recommended_days == 28
    assert "only 3 starts" in estimate.warnings[0]


def test_without_users_nothing_is_said() -> None:
    estimate = estimate_duration(question(10), traffic_of([]))
    assert estimate.duration_days is None
    assert estimate.conversion_rate_interval is None
    assert estimate.warnings == ("the campaigns had no users on these days: nothing can be said",)


def test_a_rare_conversion_is_told() -> None:
    few = Traffic(days=28, visits=steady(100).visits, reached=GroupCounts(users=2800, conversions=4))
    assert "fewer than 5 users converted" in estimate_duration(question(250), few).warnings[0]


def test_new_users_in_one_burst_leave_the_extrapolation_without_an_interval() -> None:
    burst = traffic_of([[20]] * 50)
    estimate = estimate_duration(question(300), burst)
    assert estimate.extrapolated
    assert estimate.interval is None
    assert estimate.duration_days is not None


def test_nothing_is_extrapolated_beyond_a_year() -> None:
    """One user in three weeks: a thousand would take centuries."""
    slow = traffic_of([[0]] * 500 + [[13], [26]])
    estimate = estimate_duration(question(1000), slow)
    assert (estimate.duration_days, estimate.interval, estimate.recommended_days) == (None, None, None)
    assert not estimate.extrapolated
    assert "502 users came in 28 days" in estimate.warnings[0]
