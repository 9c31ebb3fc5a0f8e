"""Exposures: that a user saw what the group sees, as a source (an app, a mail sender) tells it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from scipy import special

from services.abtest.domain.model import Assignment
from services.abtest.domain.proportions import SMALLEST_P_VALUE

CLOCK_TOLERANCE: Final = timedelta(minutes=5)
"""How far a source's clock may be from ours."""


@dataclass(frozen=True, kw_only=True)
class Exposure:
    """That a user was shown something in a test; `group` is what was shown, None where that is untold."""

    test_id: str
    user_id: str
    source: str
    group: str | None
    exposed_at: datetime


@dataclass(frozen=True, kw_only=True)
class ExposureRejection:
    """Why one exposure of a batch is not kept: its index, the field at fault, and what would be right."""

    index: int
    field: str
    reason: str
    message: str


@dataclass(frozen=True, kw_only=True)
class SourceExposures:
    """Exposed users of each group by one source, in the groups' order; `assigned` are the groups' users.

    `sample_ratio_p_value` tests that the same share of every group's users was exposed: a group that is shown
    less, or tells less, cannot be compared by who was exposed. None while no user or every user is exposed.
    """

    source: str
    users: tuple[int, ...]
    assigned: tuple[int, ...]

    @property
    def exposure_rates(self) -> tuple[float | None, ...]:
        """Exposed over assigned users of each group; None without users."""
        return tuple(
            exposed / assigned if assigned else None
            for exposed, assigned in zip(self.users, self.assigned, strict=True)
        )

    @property
    def sample_ratio_p_value(self) -> float | None:
        """Pearson's chi-squared test of equal exposure rates over the groups that have users.

        Source: K. Pearson (1900), homogeneity of groups x (exposed, not exposed).
        """
        pairs = [
            (exposed, assigned)
            for exposed, assigned in zip(self.users, self.assigned, strict=True)
            if assigned
        ]
        exposed, assigned = sum(pair[0] for pair in pairs), sum(pair[1] for pair in pairs)
        if len(pairs) < 2 or not 0 < exposed < assigned:  # noqa: PLR2004 (a comparison has two)
            return None
        rate = exposed / assigned
        statistic = sum((seen - users * rate) ** 2 / (users * rate * (1.0 - rate)) for seen, users in pairs)
        return max(SMALLEST_P_VALUE, float(special.chdtrc(len(pairs) - 1, statistic)))


def judge_exposure(
    index: int, exposure: Exposure, assignment: Assignment | None, *, is_known: bool, now: datetime
) -> ExposureRejection | None:
    """Return why an exposure is not kept, None where it is.

    Args:
        index: its place in the batch.
        exposure: what the source says.
        assignment: the user's in that test.
        is_known: whether there is such a test.
        now: the time.
    """

    def rejected(field: str, reason: str, message: str) -> ExposureRejection:
        return ExposureRejection(index=index, field=field, reason=reason, message=message)

    if not is_known:
        return rejected("test_id", "TEST_UNKNOWN", f"no test {exposure.test_id!r}")
    if assignment is None:
        return rejected("user_id", "NOT_ASSIGNED", "the user has no group in this test; assign one before")
    if exposure.group is not None and exposure.group != assignment.group.name:
        return rejected(
            "group", "EXPOSURE_GROUP_MISMATCH", f"the user was assigned to {assignment.group.name!r}"
        )
    if exposure.exposed_at > now + CLOCK_TOLERANCE:
        return rejected("exposure_time", "TIME_OUT_OF_RANGE", "lies in the future")
    if exposure.exposed_at < assignment.assigned_at - CLOCK_TOLERANCE:
        assigned = assignment.assigned_at.isoformat()
        return rejected("exposure_time", "TIME_OUT_OF_RANGE", f"lies before the assignment, {assigned}")
    return None


def earliest_exposures(exposures: Sequence[Exposure]) -> list[Exposure]:
    """Return the earliest exposure of each user, test and source, ordered by them.

    >>> earliest_exposures([])
    []
    """
    kept: dict[tuple[str, str, str], Exposure] = {}
    for exposure in sorted(exposures, key=lambda each: each.exposed_at):
        kept.setdefault((exposure.user_id, exposure.test_id, exposure.source), exposure)
    return [kept[key] for key in sorted(kept)]
