"""A verdict's reasons, in words a marketer reads."""

import math
from collections.abc import Iterator, Sequence

from services.abtest.domain.contrasts import SMALL_EXPECTED_COUNT
from services.abtest.domain.metrics import Metric, MetricKind
from services.abtest.domain.model import DecisionMethod, TestDesign
from services.abtest.domain.proportions import Interval
from services.abtest.domain.verdicts import GuardrailDecision, GuardrailState, PrimaryState, VariantDecision


def describe_lift(interval: Interval) -> str:
    """Return an interval of lifts in words.

    >>> describe_lift(Interval(lower=-0.05, upper=0.123))
    'between -5.0 % and +12.3 %'
    """
    if not math.isfinite(interval.upper):
        return f"above {100 * interval.lower:+.1f} %"
    return f"between {100 * interval.lower:+.1f} % and {100 * interval.upper:+.1f} %"


def describe_interval(design: TestDesign, interval: Interval | None) -> str:
    """Return in words what a lift is at every look."""
    level = f"{100 * design.confidence_level:g} %"
    if interval is None:
        return f"at every look, with {level} confidence, the lift has no bounds yet"
    return f"at every look, with {level} confidence, the lift is {describe_lift(interval)}"


def describe_too_little(metric: Metric) -> str:
    """Return why a method that rests on a central limit theorem does not judge yet."""
    if metric.kind is MetricKind.PROPORTION:
        return (
            "too few conversions to judge: at equal rates each group should expect at least "
            f"{SMALL_EXPECTED_COUNT:g} users who convert and as many who do not"
        )
    return (
        "too few users contribute to judge: each group should expect at least "
        f"{SMALL_EXPECTED_COUNT:g} users' worth, by (sum of values)^2 / sum of squares"
    )


def describe_waiting(design: TestDesign) -> str:
    """Return what a test whose looks are planned waits for before its first."""
    if design.decision_method is DecisionMethod.FIXED_HORIZON:
        return "a fixed horizon names no winner before every group has its target sample size"
    share = 100 / design.planned_looks
    return f"the first look comes when every group has {share:.3g} % of its target sample size"


def tell_of_variant(primary: Metric, control: str, variant: VariantDecision) -> Iterator[str]:
    """Return what is found of a variant, by the primary metric and by the guardrails that object."""
    by = f"by {primary.name}: {variant.finding}"
    if variant.state is PrimaryState.BETTER:
        yield f"{variant.group} is better {by}"
    elif variant.state is PrimaryState.WORSE:
        yield f"{control} is better than {variant.group} {by}"
    else:
        yield f"no evidence of a difference between {control} and {variant.group} {by}"
    for guardrail in variant.guardrails:
        if guardrail.state is GuardrailState.BREACHED or (
            variant.state is PrimaryState.BETTER and guardrail.objects
        ):
            yield f"{variant.group} may not ship: {describe_guardrail(guardrail)}"


def describe_guardrail(guardrail: GuardrailDecision) -> str:
    """Return in words what a guardrail objects to."""
    interval = guardrail.lift_interval
    seen = "" if interval is None else f" (its lift is {describe_lift(interval)})"
    if guardrail.margin is None:
        return f"the guardrail {guardrail.metric} got worse{seen}"
    margin = f"{100 * guardrail.margin:g} %"
    if guardrail.state is GuardrailState.BREACHED:
        return f"the guardrail {guardrail.metric} lost more than the {margin} that are borne{seen}"
    return f"the guardrail {guardrail.metric} may yet lose more than the {margin} that are borne{seen}"


def tell_of_no_evidence(design: TestDesign, variants: Sequence[VariantDecision]) -> Iterator[str]:
    """Return what an end without a finding does not say, and whether the planned effect is ruled out."""
    undecided = [variant for variant in variants if variant.state is PrimaryState.UNKNOWN]
    if not undecided:
        return
    yield "no evidence of a difference is not evidence of no difference"
    effect = design.minimum_detectable_effect
    for variant in undecided if effect is not None else ():
        interval, planned = variant.lift_interval, f"the planned lift of {100 * (effect or 0.0):+.3g} %"
        if interval is not None and not interval.lower <= (effect or 0.0) <= interval.upper:
            yield f"{planned} is ruled out for {variant.group}"
        else:
            yield f"{planned} is not ruled out for {variant.group}: the test was too small to tell"
