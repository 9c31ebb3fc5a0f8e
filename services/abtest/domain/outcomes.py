"""What an analysis starts from: users per group, and each metric's samples, by weight epoch and more."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import reduce
from typing import TypeVar

from services.abtest.domain.contrasts import Sample
from services.abtest.domain.metrics import Metric
from services.abtest.domain.model import EpochCounts, GroupCounts
from services.abtest.domain.samples import CovariateSample, MeanSample, RatioSample, Stratum

SampleT = TypeVar("SampleT", MeanSample, CovariateSample, RatioSample)


@dataclass(frozen=True, kw_only=True)
class MetricOutcome:
    """One metric's samples: a stratum per weight epoch with users, every group in it, the control first.

    `winsorize_cap` is the amount at which a winsorised mean is capped, in the metric's unit. Where the
    amounts cannot be compared, there are no strata and `no_data_reason` tells why.
    """

    metric: Metric
    strata: tuple[Stratum[Sample], ...]
    winsorize_cap: float | None = None
    no_data_reason: str | None = None

    def totals(self) -> tuple[Sample, ...]:
        """Return each group's sample over all strata; nothing without strata."""
        return merge_strata(self.strata)


@dataclass(frozen=True, kw_only=True)
class SegmentCell:
    """The users of one weight epoch who had exactly these segments at their assignment, and their samples.

    Cells share no user.
    """

    epoch: int
    weights: tuple[float, ...]
    segments: frozenset[str]
    users: tuple[int, ...]
    samples: tuple[Sample, ...]


@dataclass(frozen=True, kw_only=True)
class Outcomes:
    """All that one analysis is made of.

    `epochs` are users and converting users, whatever the metrics. `metrics` come in the design's order.
    `cohort`, for a fixed horizon, has the metrics among the `cohort_users` who were assigned until every
    group had its target, where others came later. `matured` tells that the windows of all counted users have
    passed. `cells`, by the primary metric, and `days` since exposure are None where nobody asked for them.
    `days` has a stratum per day and weight epoch, labelled by the day, every day with the same epochs.
    `incomplete_until` is the end of the days whose single events are gone, where some of them would count.
    """

    epochs: tuple[EpochCounts, ...]
    metrics: tuple[MetricOutcome, ...]
    cohort: tuple[MetricOutcome, ...] | None = None
    cohort_users: int | None = None
    matured: bool = True
    cells: tuple[SegmentCell, ...] | None = None
    days: tuple[Stratum[GroupCounts], ...] | None = None
    incomplete_until: datetime | None = None


def merge_strata(strata: Sequence[Stratum[Sample]]) -> tuple[Sample, ...]:
    """Return each group's sample over all strata; nothing without strata."""
    return tuple(merge_samples(samples) for samples in zip(*(each.groups for each in strata), strict=True))


def merge_samples(samples: Sequence[Sample]) -> Sample:
    """Return the sample of several together, which are of one metric and so of one kind."""
    match samples[0]:
        case GroupCounts():
            counts = [each for each in samples if isinstance(each, GroupCounts)]
            return GroupCounts(
                users=sum(each.users for each in counts),
                conversions=sum(each.conversions for each in counts),
            )
        case CovariateSample():
            return _sum(samples, CovariateSample)
        case RatioSample():
            return _sum(samples, RatioSample)
    return _sum(samples, MeanSample)


def _sum(samples: Iterable[Sample], kind: type[SampleT]) -> SampleT:
    return reduce(lambda one, other: one + other, (each for each in samples if isinstance(each, kind)))
