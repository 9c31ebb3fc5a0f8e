"""The verdict of a test, always by the decision method fixed at its creation."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from services.abtest.domain import reasons
from services.abtest.domain.assessment import (
    AnytimeAssessor,
    Assessor,
    Contrasts,
    LooksAssessor,
    MetricEvidence,
    step_down,
    take_look,
)
from services.abtest.domain.looks import Look, is_look_due, smallest_progress
from services.abtest.domain.metrics import CONVERSION_RATE, Metric, MetricRole
from services.abtest.domain.model import DecisionMethod, EpochCounts, GroupCounts, TestDesign
from services.abtest.domain.multiplicity import adjust_by_holm
from services.abtest.domain.samples import Stratum
from services.abtest.domain.verdicts import (
    Decision,
    GuardrailDecision,
    GuardrailState,
    PrimaryState,
    VariantDecision,
    Verdict,
)


@dataclass(frozen=True, kw_only=True)
class TestEvidence:
    """All that a verdict rests on.

    Attributes:
        metrics: the primary metric first, then others; only guardrails among them count. Where looks are
            planned, from the target on: the samples of the users who were assigned until every group had it.
        users: all users of each group.
        ended: whether no user is enrolled any more.
        matured: whether every user in `metrics` has had the whole of each metric's window.
        ratio_mismatch: whether the groups' shares are not those that were promised.
        looks: those that were taken before, by number.
    """

    __test__ = False  # no test case, whatever its name says to pytest

    metrics: tuple[MetricEvidence, ...]
    users: tuple[int, ...]
    ended: bool
    matured: bool = True
    ratio_mismatch: bool = False
    looks: tuple[Look, ...] = ()


def target_is_reached(design: TestDesign, users: Sequence[int]) -> bool:
    """Return whether every group has its planned number of users."""
    return all(count >= design.target_sample_size for count in users)


def as_strata(epochs: Sequence[EpochCounts]) -> list[Stratum[GroupCounts]]:
    """Return weight epochs as strata."""
    return [Stratum(label=str(epoch.epoch), groups=epoch.groups) for epoch in epochs]


def count_conversions(epochs: Sequence[EpochCounts]) -> MetricEvidence:
    """Return the evidence of the metric that a test has where it names none."""
    return MetricEvidence(metric=CONVERSION_RATE, strata=as_strata(epochs))


def decide(design: TestDesign, evidence: TestEvidence) -> Decision:
    """Return the verdict.

    A variant ships that the primary metric proves better (Holm over the variants) and to which no guardrail
    objects; of several, the one with the largest lift. The test stops where no variant can ship any more, or
    nothing was found until the target or the end.
    """
    if evidence.ratio_mismatch:
        return Decision(
            verdict=Verdict.INVALID,
            winner=None,
            recommendation="Do not use this test: find out which users are missing, then start anew",
            reasons=("the groups' sizes do not fit their weights (sample-ratio mismatch)",),
        )
    primary, guardrails = _sort_metrics(evidence.metrics)
    contrasts = Contrasts(evidence.metrics)
    if design.decision_method is DecisionMethod.ANYTIME:
        variants = _assess_variants(design, AnytimeAssessor(design, contrasts), primary, guardrails)
        return _conclude(design, evidence, primary, variants)
    look = _look_if_due(design, evidence, [primary, *guardrails], contrasts)
    looks = (*evidence.looks, *([look] if look else []))
    variants = _assess_variants(design, LooksAssessor(design, looks), primary, guardrails)
    decision = _conclude(design, replace(evidence, looks=looks), primary, variants)
    if not looks:
        return decision
    return replace(decision, look=look, look_number=looks[-1].number, look_progress=looks[-1].progress)


def _sort_metrics(metrics: Sequence[MetricEvidence]) -> tuple[Metric, list[Metric]]:
    guardrails = [each.metric for each in metrics[1:] if each.metric.role is MetricRole.GUARDRAIL]
    return metrics[0].metric, guardrails


def _look_if_due(
    design: TestDesign, evidence: TestEvidence, metrics: Sequence[Metric], contrasts: Contrasts
) -> Look | None:
    progress = smallest_progress(design, evidence.users)
    due = is_look_due(design, looks=evidence.looks, progress=progress, matured=evidence.matured)
    return take_look(design, metrics, contrasts, looks=evidence.looks, progress=progress) if due else None


def _assess_variants(
    design: TestDesign, assessor: Assessor, primary: Metric, guardrails: Sequence[Metric]
) -> list[VariantDecision]:
    indices = range(1, len(design.groups))
    signs = step_down(
        indices, design.significance_level, lambda index, level: assessor.sign(primary, index, level)
    )
    p_values = [assessor.p_value(primary, index) for index in indices]
    adjusted = adjust_by_holm(p_values)
    return [
        VariantDecision(
            group=design.groups[index].name,
            finding=assessor.describe(primary, index),
            state=_primary_state(primary, signs[index]),
            relative_lift=assessor.relative_lift(primary, index),
            lift_interval=assessor.lift_interval(primary, index),
            p_value=p_values[index - 1],
            adjusted_p_value=adjusted[index - 1],
            guardrails=tuple(_assess_guardrail(design, assessor, metric, index) for metric in guardrails),
        )
        for index in indices
    ]


def _primary_state(primary: Metric, sign: int) -> PrimaryState:
    if not sign:
        return PrimaryState.UNKNOWN
    return PrimaryState.BETTER if (sign > 0) is primary.higher_is_better else PrimaryState.WORSE


def _assess_guardrail(
    design: TestDesign, assessor: Assessor, metric: Metric, variant: int
) -> GuardrailDecision:
    """Return what a guardrail says, each at the design's own level.

    Shipping asks all of them to be safe, so that proving each is proof of all: no adjustment for being
    several (M. Schultzberg, S. Ankargren, M. Franberg 2024, "Risk-aware product decisions in A/B tests with
    multiple metrics").
    """
    level = design.significance_level
    test = assessor.sign if metric.non_inferiority_margin is None else assessor.sign_at_margin
    sign = test(metric, variant, level)
    state = GuardrailState.UNKNOWN
    if sign:
        state = GuardrailState.SAFE if (sign > 0) is metric.higher_is_better else GuardrailState.BREACHED
    return GuardrailDecision(
        metric=metric.name,
        state=state,
        margin=metric.non_inferiority_margin,
        lift_interval=assessor.lift_interval(metric, variant),
    )


def _conclude(
    design: TestDesign,
    evidence: TestEvidence,
    primary: Metric,
    variants: Sequence[VariantDecision],
) -> Decision:
    control = design.groups[0].name
    shippable = [variant for variant in variants if variant.is_shippable]
    told = [reason for variant in variants for reason in reasons.tell_of_variant(primary, control, variant)]
    winner, advice = None, "Continue the test"
    verdict = Verdict.CONTINUE
    if shippable:
        best = max(shippable, key=lambda variant: _gain(primary, variant))
        verdict, winner, advice = Verdict.SHIP, best.group, f"Deploy {best.group} campaign"
        if len(shippable) > 1:
            told.append(f"of the better ones {best.group} has the largest lift; that is not tested")
    elif all(variant.is_out for variant in variants):
        verdict, advice = Verdict.STOP, f"Keep {control} campaign"
        if all(variant.state is PrimaryState.WORSE for variant in variants):
            winner = control
    elif _is_finished(design, evidence):
        verdict = Verdict.STOP
        advice = f"Keep {control} campaign: the test found no evidence for another"
        told.append("the test has ended" if evidence.ended else "the target sample size is reached")
        if _ended_before_last_look(design, evidence):
            told.append(
                "it ended before the last counted users' time to convert had passed, so its last look was "
                "not taken"
            )
        told.extend(reasons.tell_of_no_evidence(design, variants))
    elif target_is_reached(design, evidence.users):
        told.append("the last counted users' time to convert has not passed yet")
    else:
        told.append("the target sample size is not reached")
    return Decision(
        verdict=verdict,
        winner=winner,
        recommendation=advice,
        reasons=tuple(told),
        variants=tuple(variants),
    )


def _gain(primary: Metric, variant: VariantDecision) -> float:
    lift = variant.relative_lift or 0.0
    return lift if primary.higher_is_better else -lift


def _ended_before_last_look(design: TestDesign, evidence: TestEvidence) -> bool:
    if design.decision_method is DecisionMethod.ANYTIME or evidence.matured:
        return False
    return target_is_reached(design, evidence.users) and not _has_last_look(evidence)


def _has_last_look(evidence: TestEvidence) -> bool:
    return bool(evidence.looks) and evidence.looks[-1].progress >= 1.0


def _is_finished(design: TestDesign, evidence: TestEvidence) -> bool:
    """Return whether nothing more will be found by the design."""
    if evidence.ended or design.decision_method is DecisionMethod.ANYTIME:
        return evidence.ended or target_is_reached(design, evidence.users)
    return _has_last_look(evidence)
