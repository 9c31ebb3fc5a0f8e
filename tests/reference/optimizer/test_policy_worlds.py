"""Off-policy values of the simulated world's randomised campaigns, against its equations.

The world logs a propensity for 15 % of its campaigns: each delivery's offer is drawn around the day's. What
another policy would have earned at the same deliveries follows from the equations, noise of the day left out.
The seed was not used in development.
"""

from dataclasses import dataclass
from datetime import date

import numpy as np
import pytest

from examples.simulated_world.drawn import SEGMENTS, DrawnLog, drawn_logs, never_drawn, propose
from examples.simulated_world.world import World
from services.common.errors import FailedPreconditionError
from services.optimizer.domain.policies.off_policy import PolicyEstimate
from services.optimizer.domain.policies.offer_policy import (
    OfferPolicy,
    PolicyEvaluation,
    PolicyObjective,
    evaluate_offer_policy,
)

SEED = 20_263
END_DAY = date(2026, 11, 19)
FEWEST_COVERED = 400


def evaluate(policy: OfferPolicy, log: DrawnLog, minimum_overlap: float = 0.05) -> PolicyEvaluation:
    return evaluate_offer_policy(
        policy,
        log.table,
        SEGMENTS,
        objective=PolicyObjective.PROFIT,
        margins=np.array([log.margin]),
        minimum_overlap=minimum_overlap,
    )


@dataclass(frozen=True, kw_only=True)
class Judged:
    """A policy's evaluation beside its truth."""

    evaluation: PolicyEvaluation
    truth: float

    def error(self, name: str) -> float:
        estimate: PolicyEstimate = getattr(self.evaluation.value, name)
        assert estimate.standard_error is not None
        return (estimate.value - self.truth) / estimate.standard_error


@pytest.fixture(scope="module")
def logs() -> list[DrawnLog]:
    return drawn_logs(World.build(seed=SEED, end_date=END_DAY))


@pytest.fixture(scope="module")
def judged(logs: list[DrawnLog]) -> list[Judged]:
    found = []
    for log in logs:
        for policy in propose(log).values():
            covered = log.covered(policy)
            if covered.sum() < FEWEST_COVERED:
                continue
            try:
                evaluation = evaluate(policy, log)
            except FailedPreconditionError as refusal:
                assert refusal.reason == "DATA_INSUFFICIENT"  # noqa: PT017 (refused for want of conversions)
                continue
            found.append(Judged(evaluation=evaluation, truth=log.true_value(policy, covered)))
    return found


@pytest.mark.parametrize("name", ["snips", "doubly_robust", "ips"])
def test_values_agree_with_the_equations(judged: list[Judged], name: str) -> None:
    errors = np.array([each.error(name) for each in judged])
    assert len(judged) >= 30
    assert abs(errors.mean()) < 0.5
    assert 0.6 < errors.std() < 1.4
    assert np.mean(np.abs(errors) < 1.645) >= 0.8


def test_the_doubly_robust_value_is_nearer_the_truth(judged: list[Judged]) -> None:
    misses = {
        name: np.mean([abs(getattr(each.evaluation.value, name).value - each.truth) for each in judged])
        for name in ("ips", "snips", "doubly_robust")
    }
    assert misses["doubly_robust"] < misses["ips"]
    assert misses["doubly_robust"] < 1.05 * misses["snips"]


def test_an_offer_that_was_never_drawn_is_refused(logs: list[DrawnLog]) -> None:
    for log in logs:
        with pytest.raises(FailedPreconditionError) as refused:
            evaluate(never_drawn(log), log)
        assert refused.value.reason == "OVERLAP_MISSING"
