"""All that an analysis of a test says, from its counts alone."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from services.abtest.domain.decision import (
    TestEvidence,
    count_conversions,
    decide,
    gather_anytime_evidence,
)
from services.abtest.domain.model import DecisionMethod, EpochCounts, GroupCounts, TestDesign, total_by_group
from services.abtest.domain.power import power_of_comparison
from services.abtest.domain.proportions import (
    HypothesisTest,
    Interval,
    compare_proportions,
    difference_interval,
    lift_interval,
    wilson_interval,
)
from services.abtest.domain.sample_ratio import SampleRatioCheck, check_sample_ratio
from services.abtest.domain.sequential import AnytimeEvidence
from services.abtest.domain.verdicts import Decision

_COVERED_CONVERSIONS = 5


@dataclass(frozen=True, kw_only=True)
class GroupResult:
    """A group's counts, and the Wilson interval of its conversion rate (None without users)."""

    name: str
    counts: GroupCounts
    conversion_rate_interval: Interval | None


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """A group compared with control; whatever is undefined is None.

    `test` is the fixed-horizon test and `anytime` the confidence sequence. `relative_lift` is a fraction of
    control's rate. `power` is that of the chi-squared test for the design's own minimum detectable effect,
    from control's rate so far.
    """

    test: HypothesisTest | None
    anytime: AnytimeEvidence | None
    absolute_lift: float | None
    absolute_lift_interval: Interval | None
    relative_lift: float | None
    relative_lift_interval: Interval | None
    power: float | None


@dataclass(frozen=True, kw_only=True)
class Analysis:
    """The result of a test at one moment; `comparisons` has one entry per group but control.

    `decision` follows only the method that the design names.
    """

    groups: tuple[GroupResult, ...]
    comparisons: tuple[Comparison, ...]
    sample_ratio: SampleRatioCheck | None
    decision: Decision
    warnings: tuple[str, ...]


def analyze(
    design: TestDesign,
    epochs: Sequence[EpochCounts],
    *,
    ended: bool,
    horizon: Sequence[EpochCounts] | None = None,
) -> Analysis:
    """Return the analysis of a test with a control and one variant.

    Args:
        design: what was fixed at creation.
        epochs: the counts of all users assigned so far.
        ended: whether the test enrols no user any more.
        horizon: for a fixed horizon, the counts of the users assigned until every group had its target, if
            others came later: only the former decide, so that waiting longer buys no further look.
    """
    totals = total_by_group(epochs, len(design.groups))
    comparison = _compare_groups(design, epochs, *totals)
    sample_ratio = check_sample_ratio(epochs)
    return Analysis(
        groups=tuple(
            describe_group(design, group.name, counts)
            for group, counts in zip(design.groups, totals, strict=True)
        ),
        comparisons=(comparison,),
        sample_ratio=sample_ratio,
        decision=decide(
            design,
            TestEvidence(
                metrics=(count_conversions(epochs if horizon is None else horizon),),
                users=tuple(counts.users for counts in totals),
                ended=ended,
                ratio_mismatch=sample_ratio is not None and sample_ratio.alarms,
            ),
        ),
        warnings=(
            *_warn_of_groups(design, totals),
            *_warn_of_sample_ratio(sample_ratio),
            *_warn_of_pooling(epochs),
            *_warn_of_latecomers(totals, horizon),
            *_warn_of_peeking(design, comparison),
        ),
    )


def describe_group(design: TestDesign, name: str, counts: GroupCounts) -> GroupResult:
    """Return a group's result with its interval at the design's confidence level."""
    interval = wilson_interval(counts, design.confidence_level) if counts.users else None
    return GroupResult(name=name, counts=counts, conversion_rate_interval=interval)


def _compare_groups(
    design: TestDesign, epochs: Sequence[EpochCounts], control: GroupCounts, variant: GroupCounts
) -> Comparison:
    absolute_lift, relative_lift = _lifts(control, variant)
    return Comparison(
        test=compare_proportions(control, variant),
        anytime=gather_anytime_evidence(design, epochs),
        absolute_lift=absolute_lift,
        absolute_lift_interval=difference_interval(control, variant, design.confidence_level),
        relative_lift=relative_lift,
        relative_lift_interval=lift_interval(control, variant, design.confidence_level),
        power=_power_at_design_effect(design, control, variant),
    )


def _lifts(control: GroupCounts, variant: GroupCounts) -> tuple[float | None, float | None]:
    """Return variant's rate minus control's, and over control's minus 1."""
    control_rate, variant_rate = control.conversion_rate, variant.conversion_rate
    if control_rate is None or variant_rate is None:
        return None, None
    return variant_rate - control_rate, (variant_rate / control_rate - 1.0) if control_rate else None


def _power_at_design_effect(design: TestDesign, control: GroupCounts, variant: GroupCounts) -> float | None:
    effect, control_rate = design.minimum_detectable_effect, control.conversion_rate
    if effect is None or not control_rate:
        return None
    variant_rate = control_rate * (1.0 + effect)
    if not (0.0 < control_rate < 1.0 and 0.0 < variant_rate < 1.0):
        return None
    return power_of_comparison(
        control_rate=control_rate,
        variant_rate=variant_rate,
        control_users=control.users,
        variant_users=variant.users,
        confidence_level=design.confidence_level,
    )


def _warn_of_groups(design: TestDesign, totals: Sequence[GroupCounts]) -> Iterator[str]:
    for group, counts in zip(design.groups, totals, strict=True):
        if not counts.users:
            yield f"group {group.name} has no users yet"
        elif counts.conversions < _COVERED_CONVERSIONS:
            yield (
                f"group {group.name} has fewer than {_COVERED_CONVERSIONS} conversions: "
                "relative_lift_interval may miss the true lift more often than its confidence level says"
            )


def _warn_of_sample_ratio(check: SampleRatioCheck | None) -> Iterator[str]:
    if check is None:
        return
    if check.alarms:
        yield (
            "sample-ratio mismatch: the groups' sizes do not fit their weights "
            f"(sequential p = {check.sequential_p_value:.3g}), so no winner is named"
        )
    elif check.warns:
        yield (
            "the groups' sizes fit their weights poorly "
            f"(chi-squared p = {check.fixed_p_value:.4g}): watch for a sample-ratio mismatch"
        )


def _warn_of_pooling(epochs: Sequence[EpochCounts]) -> Iterator[str]:
    if len(epochs) > 1:
        yield (
            "the weights changed during the test: rates, p_value and intervals are pooled over the weight "
            "epochs and may mislead; the verdict is post-stratified"
        )


def _warn_of_latecomers(
    totals: Sequence[GroupCounts], horizon: Sequence[EpochCounts] | None
) -> Iterator[str]:
    if horizon is not None:
        counted = sum(counts.users for counts in total_by_group(horizon, len(totals)))
        yield (
            f"{sum(counts.users for counts in totals) - counted} users were assigned after every group had "
            "its target sample size; they are shown and do not decide"
        )


def _warn_of_peeking(design: TestDesign, comparison: Comparison) -> Iterator[str]:
    test, anytime = comparison.test, comparison.anytime
    if design.decision_method is not DecisionMethod.ANYTIME or test is None:
        return
    sure = anytime is not None and anytime.p_value < design.significance_level
    if test.p_value < design.significance_level and not sure:
        yield (
            "p_value is under the significance level, but holds for one planned look only; "
            "looked at any time, the evidence does not suffice yet"
        )
