from collections import Counter
from datetime import UTC, datetime

import pytest

from services.abtest.domain.assignment import NotEnrolled, place_user
from services.abtest.domain.model import ABTest, Status, WeightEpoch
from tests.abtest_factories import design


def a_test(
    *, weights: tuple[float, float] = (0.5, 0.5), coverage: float = 1.0, status: Status = Status.RUNNING
) -> ABTest:
    return ABTest(
        test_id="t",
        design=design(),
        status=status,
        epoch=WeightEpoch(number=1, weights=weights, coverage=coverage),
        created_at=datetime(2026, 1, 1, tzinfo=UTC),
        ended_at=None,
    )


@pytest.mark.parametrize(("weights", "coverage"), [((0.5, 0.5), 1.0), ((0.9, 0.1), 1.0), ((0.2, 0.8), 0.3)])
def test_groups_get_their_shares(weights: tuple[float, float], coverage: float) -> None:
    test = a_test(weights=weights, coverage=coverage)
    placed = Counter(place_user(test, f"user-{number}").group_index for number in range(20_000))
    enrolled = placed[0] + placed[1]
    # Within 4 standard errors of what is promised.
    assert enrolled / 20_000 == pytest.approx(
        coverage, abs=4 * (coverage * (1 - coverage) / 20_000) ** 0.5 + 1e-9
    )
    assert placed[0] / enrolled == pytest.approx(
        weights[0], abs=4 * (weights[0] * weights[1] / enrolled) ** 0.5
    )


def test_the_propensity_is_the_groups_weight_among_the_enrolled() -> None:
    placement = place_user(a_test(weights=(0.9, 0.1), coverage=0.999), "a")
    assert placement.group_index == 0
    assert placement.propensity == 0.9


def test_an_ended_test_places_nobody() -> None:
    placement = place_user(a_test(status=Status.ENDED), "a")
    assert (placement.group_index, placement.reason) == (None, NotEnrolled.ENDED)


def test_a_user_beyond_the_coverage_is_placed_nowhere() -> None:
    placement = place_user(a_test(coverage=0.01), "a")
    assert (placement.group_index, placement.reason) == (None, NotEnrolled.COVERAGE)
