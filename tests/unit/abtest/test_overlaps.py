"""What two tests share."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from scipy import stats

from services.abtest.domain.overlaps import TestSpan, check_independence, find_overlap

START = datetime(2026, 3, 1, tzinfo=UTC)


def span(
    test_id: str,
    *,
    days: tuple[int, int | None] | None = (0, 10),
    campaigns: tuple[str, ...] = ("a", "b"),
    users: tuple[int, ...] = (500, 500),
) -> TestSpan:
    start = None if days is None else START + timedelta(days=days[0])
    end = None if days is None or days[1] is None else START + timedelta(days=days[1])
    return TestSpan(test_id=test_id, campaign_ids=campaigns, start=start, end=end, users=users)


def test_tests_that_never_met_and_share_nobody_do_not_overlap() -> None:
    assert find_overlap(span("t1", days=(0, 5)), span("t2", days=(5, 9)), {}) is None
    assert find_overlap(span("t1"), span("t2", days=None), {}) is None


def test_the_common_time_is_the_later_start_to_the_earlier_end() -> None:
    overlap = find_overlap(span("t1", days=(0, 5)), span("t2", days=(3, None), campaigns=("b", "c")), {})
    assert overlap is not None
    assert (overlap.start, overlap.end) == (START + timedelta(days=3), START + timedelta(days=5))
    assert overlap.shared_campaign_ids == ("b",)
    assert overlap.shared_users == 0
    assert overlap.warnings == ()


def test_two_running_tests_overlap_without_an_end() -> None:
    overlap = find_overlap(span("t1", days=(0, None)), span("t2", days=(3, None)), {})
    assert overlap is not None
    assert (overlap.start, overlap.end) == (START + timedelta(days=3), None)


def test_users_shared_one_after_the_other_are_an_overlap_too() -> None:
    cells = {(0, 0): 100, (0, 1): 110, (1, 0): 90, (1, 1): 100}
    overlap = find_overlap(span("t1", days=(0, 5)), span("t2", days=(7, 9), users=(400, 400)), cells)
    assert overlap is not None
    assert (overlap.start, overlap.end) == (None, None)
    assert overlap.shared_users == 400
    assert (overlap.share_of_first, overlap.share_of_second) == (0.4, 0.5)
    assert "400 users are in both tests" in overlap.warnings[0]
    assert "one conversion may count in both" in overlap.warnings[1]


def test_independence_agrees_with_scipy() -> None:
    table = np.array([[120, 80, 55], [90, 95, 60]])
    found = check_independence(
        {(row, column): int(table[row, column]) for row in range(2) for column in range(3)}, 2, 3
    )
    statistic, p_value, _, _ = stats.chi2_contingency(table, correction=False)
    assert found is not None
    assert found.p_value == pytest.approx(p_value, rel=1e-9)
    assert found.association == pytest.approx(np.sqrt(statistic / table.sum()), rel=1e-9)


def test_the_same_seed_in_both_tests_is_told() -> None:
    overlap = find_overlap(span("t1"), span("t2"), {(0, 0): 500, (1, 1): 500})
    assert overlap is not None
    assert overlap.independence is not None
    assert overlap.independence.association == pytest.approx(1.0)
    assert "hash_seed" in overlap.warnings[0]


def test_too_few_shared_users_say_nothing_of_independence() -> None:
    assert check_independence({}, 2, 2) is None
    assert check_independence({(0, 0): 9, (1, 1): 5}, 2, 2) is None


def test_a_test_without_users_has_no_share() -> None:
    overlap = find_overlap(span("t1", users=(0, 0)), span("t2"), {})
    assert overlap is not None
    assert overlap.share_of_first is None
    assert overlap.share_of_second == 0.0
