"""How far a test is, and whether it has what it was planned for."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from services.abtest.domain.decision import target_is_reached
from services.abtest.domain.metrics import longest_window
from services.abtest.domain.model import ABTest, DecisionMethod

_BEFORE_TARGET = {
    DecisionMethod.ANYTIME: "an analysis may find enough evidence before",
    DecisionMethod.FIXED_HORIZON: "a fixed horizon gives no verdict before",
    DecisionMethod.GROUP_SEQUENTIAL: "one of its planned looks may find enough evidence before",
}


@dataclass(frozen=True, kw_only=True)
class TestProgress:
    """How far a test is: `users` per group, and whether it has what it was planned for."""

    __test__ = False  # no test case, whatever its name says to pytest

    test: ABTest
    users: tuple[int, ...]
    can_end: bool
    can_end_reason: str

    @property
    def progress(self) -> float:
        """Users of the smallest group over the target, at most 1."""
        return min(1.0, min(self.users) / self.test.design.target_sample_size)


def measure_progress(test: ABTest, users: Sequence[int]) -> TestProgress:
    """Return how far a test with `users` per group is."""
    can_end, reason = _can_end(test, users)
    return TestProgress(test=test, users=tuple(users), can_end=can_end, can_end_reason=reason)


def _caution(test: ABTest) -> str:
    """Return what an end costs as long as windows of counted users are open."""
    window = longest_window(test.design.metrics)
    if test.design.decision_method is DecisionMethod.ANYTIME or not window:
        return ""
    hours = window // timedelta(hours=1)
    return f"; it takes its last look once the last counted user has had {hours} hours, not if it ends before"


def _can_end(test: ABTest, users: Sequence[int]) -> tuple[bool, str]:
    if test.started_at is None:
        return False, f"the test is {test.status.label} and has not started"
    if test.ended_at is not None:
        return True, "the test has ended"
    target = test.design.target_sample_size
    if target_is_reached(test.design, users):
        return True, f"every group has its target of {target} users{_caution(test)}"
    behind = ", ".join(
        f"{group.name} has {count} of {target} users"
        for group, count in zip(test.design.groups, users, strict=True)
        if count < target
    )
    return False, f"{behind}; {_BEFORE_TARGET[test.design.decision_method]}"
