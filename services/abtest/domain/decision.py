"""The verdict of a test, always by the decision method fixed at its creation, in words a marketer reads."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

from services.abtest.domain.model import DecisionMethod, EpochCounts, TestDesign
from services.abtest.domain.proportions import (
    HypothesisTest,
    Interval,
    compare_proportions,
    one_degree_test,
)
from services.abtest.domain.sequential import SMALL_EXPECTED_COUNT as ANYTIME_SMALL_EXPECTED_COUNT
from services.abtest.domain.sequential import (
    AnytimeEvidence,
    anytime_evidence,
    estimate_log_ratio,
    smallest_stratified_expected_count,
    strata,
)

VARIANT = 1


class Verdict(IntEnum):
    """What to do with the test; the numbers are the stored ones."""

    SHIP = 1
    STOP = 2
    CONTINUE = 3
    INVALID = 4


@dataclass(frozen=True, kw_only=True)
class Decision:
    """A verdict with its reasons; `winner` is the winning group's name, None where none may be named."""

    verdict: Verdict
    winner: str | None
    recommendation: str
    reasons: tuple[str, ...]


def target_is_reached(design: TestDesign, users: Sequence[int]) -> bool:
    """Return whether every group has its planned number of users."""
    return all(count >= design.target_sample_size for count in users)


def gather_anytime_evidence(design: TestDesign, epochs: Sequence[EpochCounts]) -> AnytimeEvidence | None:
    """Return what the confidence sequence says; None while too few users could have converted."""
    if smallest_stratified_expected_count(epochs, VARIANT) < ANYTIME_SMALL_EXPECTED_COUNT:
        return None
    log_ratio = estimate_log_ratio(epochs, VARIANT)
    if log_ratio is None:
        return None
    return anytime_evidence(
        log_ratio,
        significance_level=design.significance_level,
        target_sample_size=design.target_sample_size,
    )


def compare_stratified(epochs: Sequence[EpochCounts]) -> HypothesisTest | None:
    """Return the test of equal rates within every weight epoch; in a single epoch, Pearson's or Fisher's.

    None where it is undefined, as in `compare_proportions`.

    Source: W. G. Cochran (1954), Biometrics 10, 417-451: the sum over strata of observed minus expected
    conversions, over its standard deviation. With one stratum its square is Pearson's chi-squared.
    """
    usable = strata(epochs)
    if len(usable) == 1:
        return compare_proportions(*usable[0].groups)
    excess = variance = 0.0
    for epoch in usable:
        control, variant = epoch.groups
        total, converted = control.users + variant.users, control.conversions + variant.conversions
        excess += variant.conversions - variant.users * converted / total
        variance += control.users * variant.users * converted * (total - converted) / total**3
    if variance == 0.0:
        return None
    return one_degree_test(excess**2 / variance, method="cochran_stratified")


def decide(
    design: TestDesign,
    *,
    counted: Sequence[EpochCounts],
    target_reached: bool,
    ended: bool,
    ratio_mismatch: bool,
) -> Decision:
    """Return the verdict.

    Args:
        design: fixes method, level and target.
        counted: the outcomes the method may use: all of them, or for a fixed horizon those of the users who
            were assigned until every group had its target.
        target_reached: whether every group has its target.
        ended: whether no user is enrolled any more.
        ratio_mismatch: whether the groups' shares are not those that were promised.
    """
    if ratio_mismatch:
        return Decision(
            verdict=Verdict.INVALID,
            winner=None,
            recommendation="Do not use this test: find out which users are missing, then start anew",
            reasons=("the groups' sizes do not fit their weights (sample-ratio mismatch)",),
        )
    if design.decision_method is DecisionMethod.FIXED_HORIZON and not target_reached:
        return _undecided(
            design,
            target_reached=False,
            ended=ended,
            reasons=("a fixed horizon names no winner before every group has its target sample size",),
        )
    lift, reason = _find_effect(design, counted)
    if lift is None:
        return _undecided(design, target_reached=target_reached, ended=ended, reasons=(reason,))
    return _winner(design, variant_is_better=lift > 0, reason=reason)


def _find_effect(design: TestDesign, counted: Sequence[EpochCounts]) -> tuple[float | None, str]:
    """Return the log ratio where the design's method is sure of its sign, else None; and why."""
    log_ratio = estimate_log_ratio(counted, VARIANT)
    level = f"{100 * design.confidence_level:g} %"
    if design.decision_method is DecisionMethod.ANYTIME:
        evidence = gather_anytime_evidence(design, counted)
        if evidence is None or log_ratio is None:
            return None, (
                "too few conversions to judge: at equal rates each group should expect at least "
                f"{ANYTIME_SMALL_EXPECTED_COUNT:g} users who convert and as many who do not"
            )
        interval = describe_lift(evidence.relative_lift_interval)
        if evidence.p_value < design.significance_level:
            return log_ratio.point_estimate, f"at every look, with {level} confidence, the lift is {interval}"
        return None, f"no evidence of a difference yet: with {level} confidence the lift is {interval}"
    test = compare_stratified(counted)
    if test is None or log_ratio is None:
        return None, "nobody or everybody converted, so there is nothing to compare"
    if test.p_value < design.significance_level:
        return log_ratio.point_estimate, f"at the target sample size p = {test.p_value:.4g} ({test.method})"
    return (
        None,
        f"no evidence of a difference: at the target sample size p = {test.p_value:.4g} ({test.method})",
    )


def describe_lift(interval: Interval) -> str:
    """Return an interval of lifts in words.

    >>> describe_lift(Interval(lower=-0.05, upper=0.123))
    'between -5.0 % and +12.3 %'
    """
    if not math.isfinite(interval.upper):
        return f"above {100 * interval.lower:+.1f} %"
    return f"between {100 * interval.lower:+.1f} % and {100 * interval.upper:+.1f} %"


def _winner(design: TestDesign, *, variant_is_better: bool, reason: str) -> Decision:
    control, variant = design.groups
    if variant_is_better:
        return Decision(
            verdict=Verdict.SHIP,
            winner=variant.name,
            recommendation=f"Deploy {variant.name} campaign",
            reasons=(f"{variant.name} converts better: {reason}",),
        )
    return Decision(
        verdict=Verdict.STOP,
        winner=control.name,
        recommendation=f"Keep {control.name} campaign",
        reasons=(f"{control.name} converts better: {reason}",),
    )


def _undecided(
    design: TestDesign, *, target_reached: bool, ended: bool, reasons: tuple[str, ...]
) -> Decision:
    if not ended and not target_reached:
        return Decision(
            verdict=Verdict.CONTINUE,
            winner=None,
            recommendation="Continue the test",
            reasons=(*reasons, "the target sample size is not reached"),
        )
    stop = "the test has ended" if ended else "the target sample size is reached"
    return Decision(
        verdict=Verdict.STOP,
        winner=None,
        recommendation=f"Keep {design.groups[0].name} campaign: the test found no evidence for the other",
        reasons=(*reasons, stop, "no evidence of a difference is not evidence of no difference"),
    )
