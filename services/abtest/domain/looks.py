"""The looks that a test with planned looks has taken: when one is due, and what all of them prove.

A fixed horizon is a test of one look. A look is kept, so that asking again neither spends anything nor
changes what was found.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from scipy import special

from services.abtest.domain.group_sequential import boundaries
from services.abtest.domain.model import DecisionMethod, TestDesign
from services.abtest.domain.proportions import HypothesisTest, Interval

_ROUNDING = 1e-9
_LN10 = math.log(10.0)


@dataclass(frozen=True, kw_only=True)
class LookEntry:
    """What one look saw of a variant by one metric.

    `variant` is the group's index, the control being 0. `z` is how many standard errors the variant lies
    above control, and `margin_z` above the value at the metric's non-inferiority margin; None where too
    little was known, or there is no margin. `information` is the variance of the score, `method` the test
    that is right at a single look. `lift_lower` and `lift_upper` end the repeated confidence interval; None
    where there is no such end.
    """

    metric: str
    variant: int
    z: float | None
    margin_z: float | None
    information: float
    method: str
    relative_lift: float | None
    lift_lower: float | None
    lift_upper: float | None

    @property
    def lift_interval(self) -> Interval | None:
        """The interval of the relative lift that holds at all looks together; None without a lower end."""
        if self.lift_lower is None:
            return None
        return Interval(lower=self.lift_lower, upper=math.inf if self.lift_upper is None else self.lift_upper)


@dataclass(frozen=True, kw_only=True)
class Look:
    """A look that was taken: its number, from 1, and the share of its target that the smallest group had."""

    number: int
    progress: float
    entries: tuple[LookEntry, ...]

    def find(self, metric: str, variant: int) -> LookEntry | None:
        """Return what was seen of a variant by a metric."""
        found = (entry for entry in self.entries if (entry.metric, entry.variant) == (metric, variant))
        return next(found, None)


def smallest_progress(design: TestDesign, users: Sequence[int]) -> float:
    """Return the users of the smallest group over the target, at most 1."""
    return min(1.0, min(users) / design.target_sample_size)


def is_look_due(design: TestDesign, *, looks: Sequence[Look], progress: float, matured: bool) -> bool:
    """Return whether a look is to be taken now.

    A group-sequential test looks once in each of `planned_looks` equal steps to its target: what was seen
    between looks cannot bring one forward, not even by ending the test. The last look, and a fixed horizon's
    only one, waits until every counted user's time to convert has passed: a test that ends before does
    without, or who looks on while conversions come in could end it at the first p-value that suits.
    """
    last = looks[-1].progress if looks else 0.0
    if progress >= 1.0:
        return last < 1.0 and matured
    if design.decision_method is not DecisionMethod.GROUP_SEQUENTIAL:
        return False
    steps = design.planned_looks
    return math.floor(progress * steps + _ROUNDING) > math.floor(last * steps + _ROUNDING)


def signed_score(test: HypothesisTest, *, is_above: bool) -> float:
    """Return the standard normal score that has a test's two-sided p-value, with the sign of the effect."""
    score = -float(special.ndtri_exp(min(0.0, test.log10_p_value * _LN10) - math.log(2.0)))
    return score if is_above else -score


def look_boundaries(
    looks: Sequence[Look], metric: str, variant: int, significance_level: float
) -> list[tuple[LookEntry, float]]:
    """Return each look that could judge the variant by the metric, with the |z| at which it rejects."""
    seen = [(look.progress, look.find(metric, variant)) for look in looks]
    usable = [(progress, entry) for progress, entry in seen if entry is not None and entry.z is not None]
    bounds = boundaries(
        [progress for progress, _ in usable],
        [entry.information for _, entry in usable],
        significance_level,
    )
    return [(entry, bound) for (_, entry), bound in zip(usable, bounds, strict=True)]


def look_to_json(look: Look) -> dict[str, Any]:
    """Return a look as JSON has it."""
    return asdict(look)


def look_from_json(document: Mapping[str, Any]) -> Look:
    """Return the look that `look_to_json` wrote."""
    entries = tuple(LookEntry(**entry) for entry in document["entries"])
    return Look(number=document["number"], progress=document["progress"], entries=entries)
