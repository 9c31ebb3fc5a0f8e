"""Sample-ratio checks of an analysis: over everybody, in each weight epoch, in each segment."""

from collections.abc import Sequence
from dataclasses import dataclass

from services.abtest.domain.model import EpochCounts
from services.abtest.domain.outcomes import SegmentCell
from services.abtest.domain.sample_ratio import SampleRatioCheck, check_sample_ratio
from services.abtest.domain.segments import count_segment, segment_names

OVERALL, WEIGHT_EPOCH, SEGMENT = "overall", "weight_epoch", "segment"


@dataclass(frozen=True, kw_only=True)
class ScopedSampleRatio:
    """The checks of the users in one scope, with how many each group has and should have.

    `scope` is `overall`, `weight_epoch` or `segment`; `name` is empty overall, and for users without a
    segment.
    """

    scope: str
    name: str
    users: tuple[int, ...]
    expected_users: tuple[float, ...]
    check: SampleRatioCheck

    @property
    def title(self) -> str:
        """The scope in words."""
        if self.scope == WEIGHT_EPOCH:
            return f"weight epoch {self.name}"
        return f"segment {self.name or '(none)'}" if self.scope == SEGMENT else "all"


def check_scopes(
    epochs: Sequence[EpochCounts], cells: Sequence[SegmentCell]
) -> tuple[ScopedSampleRatio, ...]:
    """Return the checks: overall first, then of each epoch, and of each segment, where there are several."""
    scopes = [(OVERALL, "", list(epochs))]
    if len(epochs) > 1:
        scopes += [(WEIGHT_EPOCH, str(epoch.epoch), [epoch]) for epoch in epochs]
    names = segment_names(cells)
    if len(names) > 1:
        scopes += [(SEGMENT, name, count_segment(cells, name)) for name in names]
    checks = (_check_scope(*scope) for scope in scopes)
    return tuple(check for check in checks if check is not None)


def _check_scope(scope: str, name: str, epochs: Sequence[EpochCounts]) -> ScopedSampleRatio | None:
    check = check_sample_ratio(epochs)
    if check is None:
        return None
    groups = range(len(epochs[0].groups))
    totals = [sum(counts.users for counts in epoch.groups) for epoch in epochs]
    return ScopedSampleRatio(
        scope=scope,
        name=name,
        users=tuple(sum(epoch.groups[index].users for epoch in epochs) for index in groups),
        expected_users=tuple(
            sum(total * epoch.weights[index] for epoch, total in zip(epochs, totals, strict=True))
            for index in groups
        ),
        check=check,
    )
