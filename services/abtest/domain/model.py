"""What a test is: its groups, its design, the weight epochs it has gone through."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum

from services.abtest.domain.metrics import CONVERSION_RATE, Metric

CONTROL = "control"
VARIANT = "variant"
DEFAULT_PLANNED_LOOKS = 10


class Status(IntEnum):
    """Where a test stands; the numbers are the stored ones and never change."""

    RUNNING = 1
    ENDED = 2
    DRAFT = 3
    SCHEDULED = 4
    PAUSED = 5
    ARCHIVED = 6

    @property
    def label(self) -> str:
        """The status's name on the wire."""
        return self.name.lower()


class DecisionMethod(IntEnum):
    """How a test's verdict is reached, fixed at creation; the numbers are the stored ones."""

    ANYTIME = 1
    FIXED_HORIZON = 2
    GROUP_SEQUENTIAL = 3

    @property
    def label(self) -> str:
        """The method's name on the wire."""
        return self.name.lower()


@dataclass(frozen=True, kw_only=True)
class Group:
    """One arm of a test: its name, and the campaign its users are shown."""

    name: str
    campaign_id: str


@dataclass(frozen=True, kw_only=True)
class WeightEpoch:
    """A time within a test during which weights and coverage did not change.

    `number` counts from 1. `weights` are the groups' shares of the enrolled users, in the groups' order,
    summing to 1; `coverage` is the share of all users who are enrolled, 0 to 1.
    """

    number: int
    weights: tuple[float, ...]
    coverage: float


@dataclass(frozen=True, kw_only=True)
class TestDesign:
    """What a test is to find out, and how.

    Groups, decision method, metrics, looks and seed are fixed at creation; what else is here may change until
    the test starts, its name, hypothesis and planned duration at any time.

    `target_sample_size` is users per group. `minimum_detectable_effect` is relative to the control's
    conversion rate (0.2 is from 10 % to 12 %), or None where the caller planned none. `planned_looks` is in
    how many steps a group-sequential test goes to its target. `metrics` has the primary one first.
    """

    __test__ = False  # no test case, whatever its name says to pytest

    test_name: str
    groups: tuple[Group, ...]
    target_sample_size: int
    confidence_level: float
    decision_method: DecisionMethod
    minimum_detectable_effect: float | None
    seed: str
    planned_looks: int = DEFAULT_PLANNED_LOOKS
    metrics: tuple[Metric, ...] = (CONVERSION_RATE,)
    hypothesis: str = ""
    planned_duration_days: int | None = None

    @property
    def primary_metric(self) -> Metric:
        """What decides."""
        return self.metrics[0]

    @property
    def significance_level(self) -> float:
        """1 - confidence_level."""
        return 1.0 - self.confidence_level


@dataclass(frozen=True, kw_only=True)
class ABTest:
    """A test as it stands: `epoch` is the current one.

    `starts_at` and `ends_at` are when it is to start and end by itself, None where it is not; `started_at`
    and `ended_at` when it did.
    """

    test_id: str
    design: TestDesign
    status: Status
    epoch: WeightEpoch
    created_at: datetime
    ended_at: datetime | None
    starts_at: datetime | None = None
    started_at: datetime | None = None
    ends_at: datetime | None = None

    @property
    def is_active(self) -> bool:
        """Whether the test still enrols users, unless its time is over."""
        return self.status is Status.RUNNING


@dataclass(frozen=True, kw_only=True)
class Assignment:
    """A user's group in a test, as it was decided once.

    `propensity` is the probability with which an enrolled user got this group in that epoch.
    """

    test_id: str
    user_id: str
    group_index: int
    group: Group
    epoch: int
    propensity: float
    assigned_at: datetime


@dataclass(frozen=True, kw_only=True)
class GroupCounts:
    """Users of a group, and how many of them converted."""

    users: int
    conversions: int = 0

    @property
    def conversion_rate(self) -> float | None:
        """Converting users over users; None without users."""
        return self.conversions / self.users if self.users else None

    def __add__(self, other: "GroupCounts") -> "GroupCounts":
        """Return the counts of both together."""
        return GroupCounts(users=self.users + other.users, conversions=self.conversions + other.conversions)


@dataclass(frozen=True, kw_only=True)
class EpochCounts:
    """The counts of each group among the users assigned in one epoch, with the weights they came by."""

    epoch: int
    weights: tuple[float, ...]
    groups: tuple[GroupCounts, ...]


def total_by_group(epochs: Sequence[EpochCounts], groups: int) -> tuple[GroupCounts, ...]:
    """Return each group's counts over all epochs; zeros where nobody was assigned yet."""
    totals = [GroupCounts(users=0)] * groups
    for epoch in epochs:
        totals = [total + counts for total, counts in zip(totals, epoch.groups, strict=True)]
    return tuple(totals)
