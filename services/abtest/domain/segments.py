"""Results by segment: what each segment's users did, and whether the effect differs between segments.

Segments are those that a user had at the assignment, so that nothing the test did can move users between
them.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from services.abtest.domain.comparisons import Comparison, GroupValue
from services.abtest.domain.contrasts import estimate_strata, strata_of_kind
from services.abtest.domain.estimates import Estimate
from services.abtest.domain.interactions import (
    WELCH_ANOVA,
    SegmentInteraction,
    SegmentSplit,
    compare_segments,
    estimate_log_rate_ratio_within,
)
from services.abtest.domain.metric_comparison import compare_metric
from services.abtest.domain.metrics import Metric
from services.abtest.domain.model import EpochCounts, GroupCounts, TestDesign
from services.abtest.domain.multiplicity import adjust_by_benjamini_hochberg, adjust_by_holm
from services.abtest.domain.outcomes import MetricOutcome, SegmentCell, merge_samples
from services.abtest.domain.poststratification import compare_strata
from services.abtest.domain.samples import Stratum

UNSEGMENTED = ""
"""The name under which users without a segment are shown."""


@dataclass(frozen=True, kw_only=True)
class SegmentResult:
    """What one segment showed by the primary metric; p-values are adjusted over segments and variants."""

    name: str
    groups: tuple[GroupValue, ...]
    comparisons: tuple[Comparison, ...]


@dataclass(frozen=True, kw_only=True)
class SegmentBreakdown:
    """The segments, the largest first.

    `interaction_p_value` is of the test that the effect is the same in all: the smallest of the segments'
    interactions, adjusted by Holm over segments and variants. None where too few users tell.
    """

    segments: tuple[SegmentResult, ...]
    interaction_p_value: float | None
    interaction_method: str
    warnings: tuple[str, ...] = ()


def break_down(design: TestDesign, cells: Sequence[SegmentCell]) -> SegmentBreakdown:
    """Return the results of every segment by the primary metric; a user of several is in each."""
    primary = design.metrics[0]
    names = segment_names(cells)
    results = [
        compare_metric(design, gather_segment(primary, [cell for cell in cells if is_in_segment(cell, name)]))
        for name in names
    ]
    tests = [comparison.test for result in results for comparison in result.comparisons]
    p_values = [None if test is None else test.p_value for test in tests]
    adjusted = iter(zip(adjust_by_holm(p_values), adjust_by_benjamini_hochberg(p_values), strict=True))
    interactions = list(_interactions(design, primary, cells, names))
    found = [each.adjusted_p_value for each in interactions if each.adjusted_p_value is not None]
    variants = len(design.groups) - 1
    return SegmentBreakdown(
        segments=tuple(
            SegmentResult(
                name=name,
                groups=result.groups,
                comparisons=tuple(
                    replace(comparison, adjusted_p_value=holm, false_discovery_p_value=rate)
                    for comparison, (holm, rate) in zip(result.comparisons, adjusted, strict=False)
                ),
            )
            for name, result in zip(names, results, strict=True)
        ),
        interaction_p_value=min(1.0, variants * min(found)) if found else None,
        interaction_method=WELCH_ANOVA if found else "",
        warnings=tuple(_warn_of_interactions(design, interactions, variants)),
    )


def segment_names(cells: Sequence[SegmentCell]) -> list[str]:
    """Return the segments by users, the largest first; that of users without one is empty."""
    users: dict[str, int] = {}
    for cell in cells:
        for name in cell.segments or {UNSEGMENTED}:
            users[name] = users.get(name, 0) + sum(cell.users)
    return sorted(users, key=lambda name: (-users[name], name))


def gather_segment(metric: Metric, cells: Sequence[SegmentCell]) -> MetricOutcome:
    """Return what the users of these cells did, a stratum per weight epoch."""
    epochs = sorted({cell.epoch for cell in cells})
    return MetricOutcome(
        metric=metric,
        strata=tuple(
            Stratum(
                label=str(epoch),
                groups=tuple(
                    merge_samples(samples)
                    for samples in zip(*(cell.samples for cell in cells if cell.epoch == epoch), strict=True)
                ),
            )
            for epoch in epochs
        ),
    )


def count_segment(cells: Sequence[SegmentCell], name: str) -> list[EpochCounts]:
    """Return the users of a segment by weight epoch."""
    inside = [cell for cell in cells if is_in_segment(cell, name)]
    return [
        EpochCounts(
            epoch=epoch,
            weights=next(cell.weights for cell in inside if cell.epoch == epoch),
            groups=tuple(
                GroupCounts(users=sum(users))
                for users in zip(*(cell.users for cell in inside if cell.epoch == epoch), strict=True)
            ),
        )
        for epoch in sorted({cell.epoch for cell in inside})
    ]


def is_in_segment(cell: SegmentCell, name: str) -> bool:
    """Return whether the cell's users have the segment; the empty name is of those without one."""
    return name in cell.segments if name else not cell.segments


def _interactions(
    design: TestDesign, metric: Metric, cells: Sequence[SegmentCell], names: Sequence[str]
) -> Iterator[SegmentInteraction]:
    halves = [
        (
            gather_segment(metric, [cell for cell in cells if is_in_segment(cell, name)]),
            gather_segment(metric, [cell for cell in cells if not is_in_segment(cell, name)]),
        )
        for name in names
    ]
    for index in range(1, len(design.groups)):
        splits = [
            SegmentSplit(
                segment=name,
                inside=_effect(design, inside, index),
                outside=_effect(design, outside, index),
            )
            for name, (inside, outside) in zip(names, halves, strict=True)
        ]
        yield from compare_segments(splits)


def _effect(design: TestDesign, outcome: MetricOutcome, index: int) -> Estimate | None:
    """Return a log rate ratio of a proportion, or a difference of anything else, within weight epochs."""
    if not outcome.strata:
        return None
    counts = strata_of_kind(outcome.strata, GroupCounts)
    if counts is not None:
        return estimate_log_rate_ratio_within(counts, index)
    estimates, method = estimate_strata(outcome.metric, outcome.strata)
    return compare_strata(
        estimates, index, confidence_level=design.confidence_level, method=method
    ).difference


def _warn_of_interactions(
    design: TestDesign, interactions: Sequence[SegmentInteraction], variants: int
) -> Iterator[str]:
    for name in dict.fromkeys(
        each.segment
        for each in interactions
        if each.adjusted_p_value is not None and each.adjusted_p_value * variants < design.significance_level
    ):
        yield (
            f"the effect on segment {name or '(none)'} differs from that on all other users: "
            "the lift over everybody is a mean of both"
        )
