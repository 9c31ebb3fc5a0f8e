"""What a test measures: metrics of the assigned users, from the events on their group's campaign."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from enum import IntEnum


class MetricRole(IntEnum):
    """What a metric is there for; the numbers are the stored ones and never change.

    The primary metric decides. A secondary one is shown. A guardrail may not get worse by its margin.
    """

    PRIMARY = 1
    SECONDARY = 2
    GUARDRAIL = 3

    @property
    def label(self) -> str:
        """The role's name on the wire."""
        return self.name.lower()


class MetricKind(IntEnum):
    """How users' events become one number per group; the numbers are the stored ones and never change.

    A proportion is the share of users with at least one such event, a mean the amount per user, and a ratio
    the numerator's amount over the denominator's, both summed over users.
    """

    PROPORTION = 1
    MEAN = 2
    RATIO = 3


class MeasureSource(IntEnum):
    """What is added up of a user's events; the numbers are the stored ones and never change.

    Revenue is that of every event, less refunds, in currency units; the others count events of one type.
    """

    DELIVERED = 1
    VIEWED = 2
    CLICKED = 3
    CONVERTED = 4
    CUSTOM = 10
    REVENUE = 100


@dataclass(frozen=True, kw_only=True)
class Measure:
    """An amount per user. `custom_event_name` is set for custom events and for them only."""

    source: MeasureSource
    custom_event_name: str | None = None


CONVERSIONS = Measure(source=MeasureSource.CONVERTED)
REVENUE = Measure(source=MeasureSource.REVENUE)


@dataclass(frozen=True, kw_only=True)
class Metric:
    """One metric of a test, fixed at its creation.

    Only events on the group's campaign after the user's assignment count; with a `window`, only those at most
    so long after it. A refund counts where its original does, whenever it comes.

    `denominator` is set for a ratio and for it only. `winsorize_quantile` (a mean's only) caps each user's
    amount at that quantile of the users with an amount above zero. `covariate_days` (a mean's only) is how
    many days of a user's activity before the assignment reduce the variance (CUPED); None: none.
    `non_inferiority_margin` (a guardrail's only) is the relative loss that is still borne, above 0.
    """

    name: str
    role: MetricRole
    kind: MetricKind
    numerator: Measure
    denominator: Measure | None = None
    window: timedelta | None = None
    winsorize_quantile: float | None = None
    covariate_days: int | None = None
    non_inferiority_margin: float | None = None
    higher_is_better: bool = True


CONVERSION_RATE = Metric(
    name="conversion_rate",
    role=MetricRole.PRIMARY,
    kind=MetricKind.PROPORTION,
    numerator=CONVERSIONS,
)
"""The metric of a test that names none: the share of users with at least one conversion."""


def longest_window(metrics: Iterable[Metric]) -> timedelta:
    """Return how long the events of a user may count at most; nothing where no metric has a window."""
    return max((metric.window or timedelta() for metric in metrics), default=timedelta())
