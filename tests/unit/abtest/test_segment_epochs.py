"""Segments under weights that changed: a drift of all rates is no difference between segments."""

import math

import pytest
from scipy import stats

from services.abtest.domain.model import GroupCounts
from services.abtest.domain.outcomes import SegmentCell
from services.abtest.domain.segments import break_down
from tests.abtest_factories import design


def cell(segment: str, *groups: tuple[int, int], number: int, weights: tuple[float, float]) -> SegmentCell:
    """Counts as (conversions, users) per group."""
    counts = tuple(GroupCounts(users=users, conversions=conversions) for conversions, users in groups)
    return SegmentCell(
        epoch=number,
        weights=weights,
        segments=frozenset({segment}),
        users=tuple(each.users for each in counts),
        samples=counts,
    )


def test_a_segment_whose_rates_drift_while_weights_move_has_no_effect_of_its_own() -> None:
    # Nothing differs between groups: at 90/10 both segments convert at 10 %, at 50/50 the new users at 20 %.
    breakdown = break_down(
        design(),
        [
            cell("new", (450, 4500), (50, 500), number=1, weights=(0.9, 0.1)),
            cell("old", (450, 4500), (50, 500), number=1, weights=(0.9, 0.1)),
            cell("new", (500, 2500), (500, 2500), number=2, weights=(0.5, 0.5)),
            cell("old", (250, 2500), (250, 2500), number=2, weights=(0.5, 0.5)),
        ],
    )
    assert breakdown.interaction_p_value == pytest.approx(1.0)
    assert not breakdown.warnings


def test_an_effect_on_one_segment_only_is_found_within_epochs() -> None:
    breakdown = break_down(
        design(),
        [
            cell("new", (450, 4500), (80, 500), number=1, weights=(0.9, 0.1)),
            cell("old", (450, 4500), (50, 500), number=1, weights=(0.9, 0.1)),
            cell("new", (500, 2500), (750, 2500), number=2, weights=(0.5, 0.5)),
            cell("old", (250, 2500), (250, 2500), number=2, weights=(0.5, 0.5)),
        ],
    )
    assert breakdown.interaction_p_value is not None
    assert breakdown.interaction_p_value < 1e-4
    assert len(breakdown.warnings) == 2  # "new" differs from the others, and they from it


def test_one_epoch_is_compared_as_before() -> None:
    new, old = ((100, 1000), (150, 1000)), ((100, 1000), (100, 1000))
    breakdown = break_down(
        design(),
        [
            cell("new", *new, number=1, weights=(0.5, 0.5)),
            cell("old", *old, number=1, weights=(0.5, 0.5)),
        ],
    )
    # log(150.5 / 100.5) against 0, each with variance 1 / (x + .5) - 1 / (n + .5) per group.
    variance = 1 / 150.5 + 3 / 100.5 - 4 / 1000.5
    z = math.log(150.5 / 100.5) / variance**0.5
    assert breakdown.interaction_p_value == pytest.approx(2 * 2 * stats.norm.sf(z), rel=1e-9)
