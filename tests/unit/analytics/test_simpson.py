"""What makes two groups comparable within strata, and what does not."""

import pytest

from services.analytics.domain.simpson import (
    MAXIMUM_GROUPS,
    StratifiedGroup,
    describe_reversal,
    find_reversals,
)

A = {"x": (300, 1000), "y": (10, 100)}
B = {"x": (36, 100), "y": (160, 1000)}
"""A is above B in total (0.28 to 0.18) and below it in both strata."""


def compare(a: dict[str, tuple[int, int]], b: dict[str, tuple[int, int]]) -> bool:
    first, second = StratifiedGroup(name="a", cells=a), StratifiedGroup(name="", cells=b)
    return bool(find_reversals([first, second], stratified_by="channel", metric="ctr"))


def test_a_reversal_is_told_in_either_order() -> None:
    first, second = StratifiedGroup(name="a", cells=A), StratifiedGroup(name="", cells=B)
    (one,) = find_reversals([first, second], stratified_by="channel", metric="ctr")
    (other,) = find_reversals([second, first], stratified_by="channel", metric="ctr")
    assert one == other
    assert "a is above (no segment) in ctr" in describe_reversal(one)


def test_what_is_not_comparable_does_not_warn() -> None:
    assert compare(A, B)
    assert not compare(A, A), "the same twice"
    assert not compare({}, {}), "nothing at all"
    assert not compare(A, {"x": (0, 0)}), "nothing on one side"
    assert not compare(A, {"x": (36, 100)}), "one stratum in common"
    assert not compare(A | {"z": (9, 9000)}, B), "most of one group lies where the other has nothing"
    assert not compare(A | {"": (500, 0)}, B), "most conversions name no channel, and its views do"
    assert not compare({"x": (300, 1000), "y": (10, 100)}, {"x": (10, 100), "y": (20, 1000)}), "one direction"


def test_rates_over_one_and_empty_strata_are_borne() -> None:
    assert not compare({"x": (5, 2), "y": (3, 2)}, {"x": (4, 2), "y": (0, 0), "z": (0, 5)})
    assert compare({"x": (2400, 1000), "y": (110, 100)}, {"x": (250, 100), "y": (1300, 1000)})


def test_the_largest_groups_are_compared_and_the_adjustment_counts_every_pair() -> None:
    small = [
        StratifiedGroup(name=f"s{n}", cells={"x": (1, 4), "y": (1, 4)}) for n in range(MAXIMUM_GROUPS + 5)
    ]
    groups = [*small, StratifiedGroup(name="a", cells=A), StratifiedGroup(name="b", cells=B)]
    (found,) = find_reversals(groups, stratified_by="channel", metric="ctr")
    (alone,) = find_reversals(groups[-2:], stratified_by="channel", metric="ctr")
    assert (found.first, found.second) == ("a", "b")
    pairs = MAXIMUM_GROUPS * (MAXIMUM_GROUPS - 1) // 2
    assert found.adjusted_p_value == pytest.approx(pairs * alone.adjusted_p_value)
    (thrice,) = find_reversals(groups[-2:], stratified_by="channel", metric="ctr", stratifications=3)
    assert thrice.adjusted_p_value == pytest.approx(3 * alone.adjusted_p_value)
