"""When a decision is due."""

from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest

from services.abtest.domain.decision import TestEvidence, count_conversions, decide
from services.abtest.domain.expected_decision import ExpectedDecision, expect_decision
from services.abtest.domain.model import DecisionMethod
from services.abtest.domain.verdicts import Verdict
from tests.abtest_factories import design, epoch

WEEK = timedelta(days=7)


def expected(
    users: int,
    *,
    rates: tuple[float, float] = (0.10, 0.10),
    target: int = 14_000,
    effect: float | None = 0.1,
    method: DecisionMethod = DecisionMethod.ANYTIME,
    matured: bool = True,
    elapsed: timedelta = WEEK,
) -> ExpectedDecision | None:
    planned = replace(
        design(target_sample_size=target, decision_method=method, minimum_detectable_effect=effect),
        planned_looks=7,
    )
    counts = epoch((round(users * rates[0]), users), (round(users * rates[1]), users))
    evidence = TestEvidence(
        metrics=(count_conversions([counts]),), users=(users, users), ended=False, matured=matured
    )
    return expect_decision(planned, evidence, decide(planned, evidence), elapsed=elapsed)


def test_a_fixed_horizon_decides_at_its_target() -> None:
    found = expected(3500, method=DecisionMethod.FIXED_HORIZON)
    assert found is not None
    assert (found.progress, found.remaining_users) == (1.0, 21_000)
    assert found.remaining == 3 * WEEK
    assert "fixed horizon" in found.basis


def test_a_planned_effect_that_is_large_shows_early() -> None:
    found = expected(1000, effect=0.2)
    assert found is not None
    assert 0.3 < found.progress < 0.5
    assert found.remaining == WEEK * (found.remaining_users / 2000)
    assert "even chance" in found.basis
    # At that look about half of all tests with that effect decide.
    generator = np.random.default_rng(4)
    users = round(found.progress * 14_000)
    tests, decided = 400, 0
    for control, variant in generator.binomial(users, (0.10, 0.12), (tests, 2)):
        evidence = TestEvidence(
            metrics=(count_conversions([epoch((int(control), users), (int(variant), users))]),),
            users=(users, users),
            ended=False,
        )
        decided += decide(design(target_sample_size=14_000), evidence).verdict is Verdict.SHIP
    assert decided / tests == pytest.approx(0.5, abs=0.1)


def test_planned_looks_decide_at_one_of_them() -> None:
    found = expected(3000, method=DecisionMethod.GROUP_SEQUENTIAL, effect=0.15)
    assert found is not None
    assert found.progress * 7 == pytest.approx(round(found.progress * 7))
    assert 3 / 14 < found.progress < 1.0


@pytest.mark.parametrize(
    ("users", "effect", "basis"),
    [
        (3000, None, "no effect was planned"),
        (3000, 0.01, "more likely missed than found"),
        (0, 0.1, "too little is known yet"),
    ],
)
def test_otherwise_it_is_the_target(users: int, effect: float | None, basis: str) -> None:
    found = expected(users, effect=effect)
    assert found is not None
    assert found.progress == 1.0
    assert found.remaining_users == 28_000 - 2 * users
    assert basis in found.basis
    assert (found.remaining is None) is (users == 0)


def test_at_the_target_only_conversions_are_awaited() -> None:
    found = expected(14_000, method=DecisionMethod.FIXED_HORIZON, matured=False)
    assert found is not None
    assert (found.progress, found.remaining_users, found.remaining) == (1.0, 0, timedelta(0))
    assert "time to convert" in found.basis


def test_a_test_that_has_just_started_has_no_rate() -> None:
    found = expected(10, elapsed=timedelta(0))
    assert found is not None
    assert found.remaining is None


def test_a_decision_that_is_made_is_not_expected() -> None:
    assert expected(10_000, rates=(0.10, 0.15)) is None
    assert expected(14_000, method=DecisionMethod.FIXED_HORIZON) is None
