"""When a test can be expected to decide, if the effect it is designed for is there."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

import numpy as np

from services.abtest.domain.assessment import Contrasts
from services.abtest.domain.contrasts import Contrast
from services.abtest.domain.decision import TestEvidence
from services.abtest.domain.inflation import look_bounds, look_times
from services.abtest.domain.model import DecisionMethod, TestDesign
from services.abtest.domain.sequential import anytime_boundaries
from services.abtest.domain.verdicts import Decision, Verdict

_STEPS = 400
_LONGEST_DAYS = 36_525.0
"""A decision that is a hundred years away is not expected."""


@dataclass(frozen=True, kw_only=True)
class ExpectedDecision:
    """When a decision is due.

    `progress` is the share of its target that the smallest group then has, at most 1: there every method
    ends. `remaining_users` is how many more users all groups together need for it, and `remaining` how long
    that takes at the rate of enrolment so far; None where nobody came yet, or where it takes over a century.
    `basis` says what it rests on.
    """

    progress: float
    remaining_users: int
    remaining: timedelta | None
    basis: str


def expect_decision(
    design: TestDesign, evidence: TestEvidence, decision: Decision, *, elapsed: timedelta
) -> ExpectedDecision | None:
    """Return when the decision is due; None unless the verdict is to continue.

    With a design effect, that is where the test has an even chance to find it: where the effect lies as many
    standard errors from none as the method asks for. Otherwise it is the target.
    """
    if decision.verdict is not Verdict.CONTINUE:
        return None
    now = min(1.0, min(evidence.users) / design.target_sample_size)
    progress, basis = _decisive_progress(design, evidence, now)
    total = sum(evidence.users)
    if now > 0.0:  # the groups go on growing in their shares so far
        remaining_users = math.ceil(total * (progress / now - 1.0))
    else:
        remaining_users = math.ceil(progress * design.target_sample_size) * len(design.groups) - total
    days = elapsed / timedelta(days=1) * remaining_users / total if total else math.inf
    remaining = timedelta(days=days) if elapsed > timedelta(0) and days <= _LONGEST_DAYS else None
    return ExpectedDecision(
        progress=progress, remaining_users=remaining_users, remaining=remaining, basis=basis
    )


def _decisive_progress(design: TestDesign, evidence: TestEvidence, now: float) -> tuple[float, str]:
    if now >= 1.0:
        return 1.0, "the target sample size is reached; the last counted users' time to convert is awaited"
    if design.decision_method is DecisionMethod.FIXED_HORIZON:
        return 1.0, "a fixed horizon decides at its target sample size"
    effect = design.minimum_detectable_effect
    if effect is None:
        return 1.0, "no effect was planned, so the target sample size is expected to be needed"
    contrasts = Contrasts(evidence.metrics)
    primary = evidence.metrics[0].metric
    found = [contrasts.get(primary, variant).contrast for variant in range(1, len(design.groups))]
    known = [contrast for contrast in found if contrast is not None]
    if len(known) < len(found) or not now:
        return 1.0, "too little is known yet to tell when the planned effect would show"
    # The variant that is known least decides last.
    shift, contrast = min(((_shift(each, effect), each) for each in known), key=lambda pair: pair[0])
    planned = f"a lift of {100 * effect:+.3g} %, as planned,"
    for progress, bound in _coming_looks(design, contrast, now):
        if shift * math.sqrt(progress / now) >= bound:
            return progress, f"{planned} has an even chance to be found by then"
    return 1.0, f"{planned} is more likely missed than found before the target sample size"


def _shift(contrast: Contrast, effect: float) -> float:
    """Return how many standard errors the effect lies from none."""
    return abs(contrast.standardized(1.0) - contrast.standardized(1.0 + effect))


def _coming_looks(design: TestDesign, contrast: Contrast, now: float) -> Sequence[tuple[float, float]]:
    """Return the progress of the looks to come, with the |z| that each asks for."""
    comparisons = len(design.groups) - 1
    if design.decision_method is DecisionMethod.GROUP_SEQUENTIAL:
        bounds = look_bounds(
            design.decision_method,
            significance_level=design.significance_level,
            comparisons=comparisons,
            planned_looks=design.planned_looks,
        )
        looks = zip(look_times(design.planned_looks), bounds, strict=True)
        return [(progress, bound) for progress, bound in looks if progress > now]
    progress = np.linspace(now, 1.0, _STEPS + 1)[1:]
    asked = anytime_boundaries(
        contrast.effective_users * progress / now,
        significance_level=design.significance_level / comparisons,
        target_sample_size=design.target_sample_size,
        tuning_level=design.significance_level,
    )
    return list(zip(progress.tolist(), asked.tolist(), strict=True))
