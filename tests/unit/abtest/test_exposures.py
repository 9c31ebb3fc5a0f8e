"""Exposures: which are kept, and whether the groups are exposed alike."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from scipy import stats

from services.abtest.domain.exposures import (
    CLOCK_TOLERANCE,
    Exposure,
    SourceExposures,
    earliest_exposures,
    judge_exposure,
)
from services.abtest.domain.model import Assignment, Group

NOW = datetime(2026, 5, 1, tzinfo=UTC)
SECOND = timedelta(seconds=1)
ASSIGNMENT = Assignment(
    test_id="t",
    user_id="u",
    group_index=1,
    group=Group(name="variant", campaign_id="c"),
    epoch=1,
    propensity=0.5,
    assigned_at=NOW - timedelta(days=1),
)
EXPOSURE = Exposure(test_id="t", user_id="u", source="app", group=None, exposed_at=NOW)


@pytest.mark.parametrize(
    "exposure",
    [
        EXPOSURE,
        replace(EXPOSURE, group="variant"),
        replace(EXPOSURE, exposed_at=NOW + CLOCK_TOLERANCE),
        replace(EXPOSURE, exposed_at=ASSIGNMENT.assigned_at - CLOCK_TOLERANCE),
    ],
)
def test_what_a_source_saw_is_kept(exposure: Exposure) -> None:
    assert judge_exposure(0, exposure, ASSIGNMENT, is_known=True, now=NOW) is None


@pytest.mark.parametrize(
    ("exposure", "assignment", "is_known", "field", "reason"),
    [
        (EXPOSURE, None, False, "test_id", "TEST_UNKNOWN"),
        (EXPOSURE, None, True, "user_id", "NOT_ASSIGNED"),
        (replace(EXPOSURE, group="control"), ASSIGNMENT, True, "group", "EXPOSURE_GROUP_MISMATCH"),
        (
            replace(EXPOSURE, exposed_at=NOW + CLOCK_TOLERANCE + SECOND),
            ASSIGNMENT,
            True,
            "exposure_time",
            "TIME_OUT_OF_RANGE",
        ),
        (
            replace(EXPOSURE, exposed_at=ASSIGNMENT.assigned_at - CLOCK_TOLERANCE - SECOND),
            ASSIGNMENT,
            True,
            "exposure_time",
            "TIME_OUT_OF_RANGE",
        ),
    ],
)
def test_what_cannot_be_is_rejected(
    exposure: Exposure, assignment: Assignment | None, is_known: bool, field: str, reason: str
) -> None:
    rejection = judge_exposure(7, exposure, assignment, is_known=is_known, now=NOW)
    assert rejection is not None
    assert (rejection.index, rejection.field, rejection.reason) == (7, field, reason)


def test_the_earliest_of_a_user_and_source_counts() -> None:
    late, early = EXPOSURE, replace(EXPOSURE, exposed_at=NOW - SECOND)
    other = replace(EXPOSURE, source="mail", exposed_at=NOW + SECOND)
    assert earliest_exposures([other, late, early, late]) == [early, other]


# Expected: scipy.stats.chi2_contingency without correction on groups x (exposed, not exposed).
@pytest.mark.parametrize(
    ("users", "assigned"), [((700, 640), (1000, 1000)), ((10, 30, 25), (40, 60, 50)), ((9, 91), (10, 100))]
)
def test_exposure_rates_are_compared_by_chi_squared(
    users: tuple[int, ...], assigned: tuple[int, ...]
) -> None:
    table = [[seen, total - seen] for seen, total in zip(users, assigned, strict=True)]
    expected = stats.chi2_contingency(table, correction=False).pvalue
    found = SourceExposures(source="app", users=users, assigned=assigned)
    assert found.sample_ratio_p_value == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(
    ("users", "assigned"), [((0, 0), (10, 10)), ((10, 10), (10, 10)), ((5, 0), (10, 0)), ((0, 0), (0, 0))]
)
def test_nothing_is_compared_where_nothing_differs(users: tuple[int, ...], assigned: tuple[int, ...]) -> None:
    assert SourceExposures(source="app", users=users, assigned=assigned).sample_ratio_p_value is None


def test_a_rate_without_users_is_unset() -> None:
    assert SourceExposures(source="app", users=(5, 0), assigned=(10, 0)).exposure_rates == (0.5, None)
