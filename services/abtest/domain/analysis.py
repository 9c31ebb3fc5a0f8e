"""All that an analysis of a test says, from sufficient statistics alone."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from services.abtest.domain.assessment import MetricEvidence
from services.abtest.domain.comparisons import (
    Comparison,
    MetricResult,
    add_posteriors,
    adjust_p_values,
)
from services.abtest.domain.decision import TestEvidence, decide
from services.abtest.domain.expected_decision import ExpectedDecision, expect_decision
from services.abtest.domain.exposure_days import NoveltyView, view_days
from services.abtest.domain.looks import Look
from services.abtest.domain.metric_comparison import compare_metric
from services.abtest.domain.model import (
    DecisionMethod,
    EpochCounts,
    GroupCounts,
    TestDesign,
    total_by_group,
)
from services.abtest.domain.outcomes import Outcomes
from services.abtest.domain.past import check_past, warn_of_past, warn_of_reversals
from services.abtest.domain.pre_exposure import PreExposureCheck
from services.abtest.domain.proportions import Interval, wilson_interval
from services.abtest.domain.sample_ratio_scopes import OVERALL, ScopedSampleRatio, check_scopes
from services.abtest.domain.segments import SegmentBreakdown, break_down
from services.abtest.domain.verdicts import Decision, Verdict


@dataclass(frozen=True, kw_only=True)
class GroupResult:
    """A group's counts, and the Wilson interval of its conversion rate (None without users)."""

    name: str
    counts: GroupCounts
    conversion_rate_interval: Interval | None


@dataclass(frozen=True, kw_only=True)
class Analysis:
    """The result of a test at one moment; `metrics` has the primary one first.

    `decision` follows only the method that the design names. `segments` and `days` are None where nobody
    asked for them. `compared_group` is the variant that a single comparison is about, None where no variant
    has users. `expected` tells when a verdict is due, None where there is one.
    """

    groups: tuple[GroupResult, ...]
    metrics: tuple[MetricResult, ...]
    sample_ratios: tuple[ScopedSampleRatio, ...]
    decision: Decision
    warnings: tuple[str, ...]
    compared_group: str | None = None
    segments: SegmentBreakdown | None = None
    days: NoveltyView | None = None
    past: tuple[PreExposureCheck, ...] = ()
    expected: ExpectedDecision | None = None
    yates: bool = False

    @property
    def primary(self) -> MetricResult:
        """What the metric that decides showed."""
        return self.metrics[0]

    @property
    def comparisons(self) -> tuple[Comparison, ...]:
        """Every variant against control by the metric that decides."""
        return self.primary.comparisons

    @property
    def sample_ratio(self) -> ScopedSampleRatio | None:
        """The check over all users; None without users."""
        return self.sample_ratios[0] if self.sample_ratios else None

    @property
    def compared(self) -> Comparison | None:
        """The comparison of `compared_group` by the primary metric."""
        found = (each for each in self.primary.comparisons if each.group == self.compared_group)
        return next(found, None)


@dataclass(frozen=True, kw_only=True)
class KeptAnalysis:
    """An analysis as it was kept; a test's are numbered from 1, and the final one is that of its end."""

    number: int
    analyzed_at: datetime
    is_final: bool
    analysis: Analysis


def analyze(
    design: TestDesign,
    outcomes: Outcomes,
    *,
    ended: bool,
    looks: Sequence[Look] = (),
    elapsed: timedelta = timedelta(),
    yates: bool = False,
) -> Analysis:
    """Return the analysis of a test.

    Args:
        design: what was fixed at creation.
        outcomes: what the users did who were assigned so far.
        ended: whether the test enrols no user any more.
        looks: those that were taken before, by number.
        elapsed: how long the test has enrolled users.
        yates: whether p-values of rates are continuity-corrected; the verdict's never are.
    """
    totals = total_by_group(outcomes.epochs, len(design.groups))
    sample_ratios = check_scopes(outcomes.epochs, outcomes.cells or ())
    mismatch = bool(sample_ratios) and sample_ratios[0].check.alarms
    evidence = _gather_evidence(outcomes, totals, ended=ended, looks=looks, mismatch=mismatch)
    decision = decide(design, evidence)
    if outcomes.incomplete_until is not None:
        decision = _invalidate(decision, outcomes.incomplete_until)
    metrics = adjust_p_values(
        [add_posteriors(design, each, compare_metric(design, each, yates=yates)) for each in outcomes.metrics]
    )
    past = check_past(design, outcomes)
    segments = break_down(design, outcomes.cells) if outcomes.cells is not None else None
    days = view_days(design, design.metrics[0], outcomes.days) if outcomes.days is not None else None
    return Analysis(
        groups=tuple(
            describe_group(design, group.name, counts)
            for group, counts in zip(design.groups, totals, strict=True)
        ),
        metrics=metrics,
        sample_ratios=sample_ratios,
        decision=decision,
        warnings=(
            *_warn_of_groups(design, totals),
            *_warn_of_metrics(metrics, has_users=any(counts.users for counts in totals)),
            *_warn_of_sample_ratios(sample_ratios),
            *_warn_of_pooling(outcomes.epochs),
            *_warn_of_latecomers(totals, outcomes),
            *_warn_of_windows(outcomes),
            *_warn_of_peeking(design, metrics[0]),
            *warn_of_past(design, past),
            *warn_of_reversals(design, outcomes),
            *(segments.warnings if segments else ()),
            *(days.warnings if days else ()),
        ),
        compared_group=_choose_compared(decision, metrics[0]),
        segments=segments,
        days=days,
        past=past,
        expected=expect_decision(design, evidence, decision, elapsed=elapsed),
        yates=yates,
    )


def describe_group(design: TestDesign, name: str, counts: GroupCounts) -> GroupResult:
    """Return a group's result with its interval at the design's confidence level."""
    interval = wilson_interval(counts, design.confidence_level) if counts.users else None
    return GroupResult(name=name, counts=counts, conversion_rate_interval=interval)


def _gather_evidence(
    outcomes: Outcomes,
    totals: Sequence[GroupCounts],
    *,
    ended: bool,
    looks: Sequence[Look],
    mismatch: bool,
) -> TestEvidence:
    counted = outcomes.metrics if outcomes.cohort is None else outcomes.cohort
    return TestEvidence(
        metrics=tuple(MetricEvidence(metric=each.metric, strata=each.strata) for each in counted),
        users=tuple(counts.users for counts in totals),
        ended=ended,
        matured=outcomes.matured,
        ratio_mismatch=mismatch,
        looks=tuple(looks),
    )


def _invalidate(decision: Decision, until: datetime) -> Decision:
    """Return no verdict at all: what users did before `until` is not known any more."""
    return replace(
        decision,
        verdict=Verdict.INVALID,
        winner=None,
        recommendation="Do not use this test: a part of what its users did is not kept any more",
        reasons=(
            f"events before {until:%Y-%m-%d} are kept as totals only, so that users' outcomes are incomplete",
        ),
        look=None,
        look_number=None,
        look_progress=None,
    )


def _choose_compared(decision: Decision, primary: MetricResult) -> str | None:
    """Return the winning variant, or the one with the best point estimate."""
    with_users = [group.group for group in primary.groups[1:] if group.users]
    if decision.winner in with_users:
        return decision.winner
    lifts = {each.group: each.absolute_lift for each in primary.comparisons if each.group in with_users}
    if not lifts:
        return None
    sign = 1.0 if primary.metric.higher_is_better else -1.0
    known = {name: sign * lift for name, lift in lifts.items() if lift is not None}
    return max(known, key=lambda name: known[name]) if known else next(iter(lifts))


def _warn_of_groups(design: TestDesign, totals: Sequence[GroupCounts]) -> Iterator[str]:
    for group, counts in zip(design.groups, totals, strict=True):
        if not counts.users:
            yield f"group {group.name} has no users yet"


def _warn_of_metrics(metrics: Sequence[MetricResult], *, has_users: bool) -> Iterator[str]:
    # A warning about control is in the comparison of every variant.
    yield from dict.fromkeys(warning for each in metrics[0].comparisons for warning in each.warnings)
    for result in metrics:
        if result.no_data_reason is not None and has_users:
            yield f"metric {result.metric.name} has no data: {result.no_data_reason}"


def _warn_of_sample_ratios(checks: Sequence[ScopedSampleRatio]) -> Iterator[str]:
    for each in checks:
        if each.check.alarms and each.scope == OVERALL:
            yield (
                "sample-ratio mismatch: the groups' sizes do not fit their weights "
                f"(sequential p = {each.check.sequential_p_value:.3g}), so no winner is named"
            )
        elif each.check.alarms:
            yield (
                f"sample-ratio mismatch in {each.title}: the groups' sizes do not fit their weights "
                f"(sequential p = {each.check.sequential_p_value:.3g})"
            )
        elif each.check.warns:
            where = "" if each.scope == OVERALL else f"in {each.title} "
            yield (
                f"the groups' sizes {where}fit their weights poorly "
                f"(chi-squared p = {each.check.fixed_p_value:.4g}): watch for a sample-ratio mismatch"
            )


def _warn_of_pooling(epochs: Sequence[EpochCounts]) -> Iterator[str]:
    if len(epochs) > 1:
        yield (
            "the weights changed during the test: each group's own value is over all its users and may "
            "mislead; lifts, p_value, intervals and the verdict compare the groups within weight epochs"
        )


def _warn_of_latecomers(totals: Sequence[GroupCounts], outcomes: Outcomes) -> Iterator[str]:
    if outcomes.cohort_users is not None:
        yield (
            f"{sum(counts.users for counts in totals) - outcomes.cohort_users} users were assigned after "
            "every group had its target sample size; they are shown and do not decide"
        )


def _warn_of_windows(outcomes: Outcomes) -> Iterator[str]:
    if not outcomes.matured:
        yield (
            "some users' metric window is still open: what they do until it ends is to come, in every group"
        )


def _warn_of_peeking(design: TestDesign, primary: MetricResult) -> Iterator[str]:
    if design.decision_method is not DecisionMethod.ANYTIME:
        return
    for comparison in primary.comparisons:
        test, anytime = comparison.test, comparison.anytime
        sure = anytime is not None and anytime.p_value < design.significance_level
        if test is not None and test.p_value < design.significance_level and not sure:
            yield (
                "p_value is under the significance level, but holds for one planned look only; "
                "looked at any time, the evidence does not suffice yet"
            )
            return
