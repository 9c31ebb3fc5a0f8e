"""What a test's decision method proves of each variant by each metric, at whatever level it is asked."""

import math
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from scipy import special

from services.abtest.domain.contrasts import Contrast, MetricContrast, Sample, contrast_metric
from services.abtest.domain.looks import Look, LookEntry, look_boundaries, signed_score
from services.abtest.domain.metrics import Metric
from services.abtest.domain.model import DecisionMethod, TestDesign
from services.abtest.domain.proportions import SMALLEST_P_VALUE, Interval
from services.abtest.domain.reasons import describe_interval, describe_too_little, describe_waiting
from services.abtest.domain.samples import Stratum
from services.abtest.domain.sequential import anytime_boundary, anytime_evidence


@dataclass(frozen=True, kw_only=True)
class MetricEvidence:
    """A metric and its samples: one stratum per weight epoch, with every group, the control's first."""

    metric: Metric
    strata: Sequence[Stratum[Sample]]


class Assessor(Protocol):
    """A decision method's answers: one for a confidence sequence, one for planned looks."""

    def sign(self, metric: Metric, variant: int, level: float) -> int:
        """Return 1 or -1 where the variant is proven above or below control at this level, else 0."""

    def sign_at_margin(self, metric: Metric, variant: int, level: float) -> int:
        """Return the same against the value that the metric's non-inferiority margin allows."""

    def lift_interval(self, metric: Metric, variant: int) -> Interval | None:
        """Return the interval of the relative lift that holds at every look of the method."""

    def p_value(self, metric: Metric, variant: int) -> float | None:
        """Return the method's own p-value, right whenever the method is; None where it has none."""

    def relative_lift(self, metric: Metric, variant: int) -> float | None:
        """Return the lift that the method saw."""

    def describe(self, metric: Metric, variant: int) -> str:
        """Return what the method saw, for a person."""


def margin_ratio(metric: Metric) -> float | None:
    """Return the ratio to control's value that the metric may not get beyond; None without a margin."""
    if metric.non_inferiority_margin is None:
        return None
    loss = metric.non_inferiority_margin
    return 1.0 - loss if metric.higher_is_better else 1.0 + loss


class Contrasts:
    """Every metric's contrasts, made once."""

    def __init__(self, evidence: Sequence[MetricEvidence]) -> None:
        self._strata = {each.metric.name: each.strata for each in evidence}
        self._made: dict[tuple[str, int], MetricContrast] = {}

    def get(self, metric: Metric, variant: int) -> MetricContrast:
        """Return group `variant` against control."""
        key = (metric.name, variant)
        if key not in self._made:
            self._made[key] = contrast_metric(metric, self._strata[metric.name], variant)
        return self._made[key]


class AnytimeAssessor:
    """Confidence sequences: what they say holds at every look, however many there are."""

    def __init__(self, design: TestDesign, contrasts: Contrasts) -> None:
        self._design = design
        self._contrasts = contrasts

    def sign(self, metric: Metric, variant: int, level: float) -> int:
        """Return the proven sign of the lift."""
        return self._sign_at(metric, variant, level, 1.0)

    def sign_at_margin(self, metric: Metric, variant: int, level: float) -> int:
        """Return the proven sign of the distance to the margin."""
        ratio = margin_ratio(metric)
        return 0 if ratio is None else self._sign_at(metric, variant, level, ratio)

    def _ready(self, metric: Metric, variant: int) -> Contrast | None:
        made = self._contrasts.get(metric, variant)
        return made.contrast if made.is_ready else None

    def _sign_at(self, metric: Metric, variant: int, level: float, ratio: float) -> int:
        contrast = self._ready(metric, variant)
        if contrast is None or ratio <= 0.0:
            return 0
        return sign_beyond(contrast.standardized(ratio), self._boundary(contrast, level))

    def _boundary(self, contrast: Contrast, level: float) -> float:
        return anytime_boundary(
            contrast,
            significance_level=level,
            target_sample_size=self._design.target_sample_size,
            tuning_level=self._design.significance_level,
        )

    def lift_interval(self, metric: Metric, variant: int) -> Interval | None:
        """Return the confidence sequence at this look."""
        contrast = self._ready(metric, variant)
        if contrast is None:
            return None
        return contrast.lift_interval(self._boundary(contrast, self._design.significance_level))

    def p_value(self, metric: Metric, variant: int) -> float | None:
        """Return the p-value that holds at any stopping time."""
        contrast = self._ready(metric, variant)
        if contrast is None:
            return None
        return anytime_evidence(
            contrast,
            significance_level=self._design.significance_level,
            target_sample_size=self._design.target_sample_size,
        ).p_value

    def relative_lift(self, metric: Metric, variant: int) -> float | None:
        """Return the lift by now."""
        contrast = self._contrasts.get(metric, variant).contrast
        return contrast.relative_lift if contrast else None

    def describe(self, metric: Metric, variant: int) -> str:
        """Return the confidence sequence in words, or why there is none yet."""
        if self._ready(metric, variant) is None:
            return describe_too_little(metric)
        return describe_interval(self._design, self.lift_interval(metric, variant))


class LooksAssessor:
    """Planned looks, of which a fixed horizon has one: what a look has proven stays proven."""

    def __init__(self, design: TestDesign, looks: Sequence[Look]) -> None:
        self._design = design
        self._looks = looks

    def sign(self, metric: Metric, variant: int, level: float) -> int:
        """Return the proven sign of the lift, of the first look that proved one."""
        return self._first_sign(metric, variant, level, lambda entry: entry.z)

    def sign_at_margin(self, metric: Metric, variant: int, level: float) -> int:
        """Return the proven sign of the distance to the margin, of the first look that proved one."""
        return self._first_sign(metric, variant, level, lambda entry: entry.margin_z)

    def _first_sign(
        self, metric: Metric, variant: int, level: float, score: Callable[[LookEntry], float | None]
    ) -> int:
        for entry, bound in look_boundaries(self._looks, metric.name, variant, level):
            sign = sign_beyond(score(entry) or 0.0, bound)
            if sign:
                return sign
        return 0

    def _last(self, metric: Metric, variant: int) -> LookEntry | None:
        return self._looks[-1].find(metric.name, variant) if self._looks else None

    def lift_interval(self, metric: Metric, variant: int) -> Interval | None:
        """Return the repeated confidence interval of the last look."""
        entry = self._last(metric, variant)
        return entry.lift_interval if entry else None

    def p_value(self, metric: Metric, variant: int) -> float | None:
        """Return the p-value of a fixed horizon's look; None of others, which hold for their look alone."""
        entry = self._last(metric, variant)
        if entry is None or entry.z is None:
            return None
        is_fixed = self._design.decision_method is DecisionMethod.FIXED_HORIZON
        return max(SMALLEST_P_VALUE, two_sided_tail(entry.z)) if is_fixed else None

    def relative_lift(self, metric: Metric, variant: int) -> float | None:
        """Return the lift that the last look saw."""
        entry = self._last(metric, variant)
        return entry.relative_lift if entry else None

    def describe(self, metric: Metric, variant: int) -> str:
        """Return what the last look saw in words, or that there was none."""
        entry = self._last(metric, variant)
        if entry is None:
            return describe_waiting(self._design)
        if entry.z is None:
            return describe_too_little(metric)
        if self._design.decision_method is DecisionMethod.FIXED_HORIZON:
            return f"at the target sample size p = {two_sided_tail(entry.z):.4g} ({entry.method})"
        look = f"look {self._looks[-1].number} at {100 * self._looks[-1].progress:.0f} % of the target"
        return f"{describe_interval(self._design, entry.lift_interval)} ({look})"


def two_sided_tail(score: float) -> float:
    """Return P(|Z| > |score|) for a standard normal Z."""
    return 2.0 * float(special.ndtr(-abs(score)))


def sign_beyond(score: float, bound: float) -> int:
    """Return the score's sign where it lies beyond the bound, else 0."""
    if abs(score) <= bound:
        return 0
    return 1 if score > 0.0 else -1


def step_down(
    variants: Collection[int], significance_level: float, sign: Callable[[int, float], int]
) -> dict[int, int]:
    """Return the proven sign of each variant, so that any is wrong with at most this probability.

    Holm's procedure: what is proven at level / m leaves the others level / (m - 1), and so on. With looks it
    keeps what every look has proven at the level reached.

    Source: S. Holm (1979), Scandinavian Journal of Statistics 6, 65-70; Y. Ye, A. Li, L. Liu, B. Yao (2013),
    Statistics in Medicine 32, 1112-1124, and W. Maurer, F. Bretz (2013), Statistics in Biopharmaceutical
    Research 5, 311-320 (at several looks).
    """
    found = dict.fromkeys(variants, 0)
    while open_variants := [variant for variant in found if not found[variant]]:
        proven = {
            variant: proven_sign
            for variant in open_variants
            if (proven_sign := sign(variant, significance_level / len(open_variants)))
        }
        if not proven:
            break
        found.update(proven)
    return found


def take_look(
    design: TestDesign,
    metrics: Sequence[Metric],
    contrasts: Contrasts,
    *,
    looks: Sequence[Look],
    progress: float,
) -> Look:
    """Return the look that sees every variant by every one of these metrics now."""
    seen = Look(
        number=len(looks) + 1,
        progress=progress,
        entries=tuple(
            _see(design, metric, variant, contrasts.get(metric, variant))
            for metric in metrics
            for variant in range(1, len(design.groups))
        ),
    )
    named = {metric.name: metric for metric in metrics}
    entries = []
    for entry in seen.entries:
        contrast = contrasts.get(named[entry.metric], entry.variant).contrast
        interval = None
        if contrast is not None and entry.z is not None:
            history = look_boundaries([*looks, seen], entry.metric, entry.variant, design.significance_level)
            interval = contrast.lift_interval(history[-1][1])
        entries.append(_with_interval(entry, interval))
    return replace(seen, entries=tuple(entries))


def _see(design: TestDesign, metric: Metric, variant: int, made: MetricContrast) -> LookEntry:
    ratio = margin_ratio(metric)
    score = margin_score = None
    if made.contrast is not None:
        if design.decision_method is DecisionMethod.FIXED_HORIZON and made.fixed is not None:
            score = signed_score(made.fixed, is_above=made.contrast.standardized() > 0.0)
        elif design.decision_method is DecisionMethod.GROUP_SEQUENTIAL and made.is_ready:
            score = made.contrast.standardized()
        if score is not None and ratio is not None and ratio > 0.0:
            margin_score = made.contrast.standardized(ratio)
    return LookEntry(
        metric=metric.name,
        variant=variant,
        z=score,
        margin_z=margin_score,
        information=made.information,
        method=made.fixed.method if made.fixed else "",
        relative_lift=made.contrast.relative_lift if made.contrast else None,
        lift_lower=None,
        lift_upper=None,
    )


def _with_interval(entry: LookEntry, interval: Interval | None) -> LookEntry:
    if interval is None:
        return entry
    upper = interval.upper if math.isfinite(interval.upper) else None
    return replace(entry, lift_lower=interval.lower, lift_upper=upper)
