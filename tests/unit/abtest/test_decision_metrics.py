"""Verdicts on several variants and metrics: guardrails, means, and what decides nothing."""

from collections.abc import Sequence
from dataclasses import replace

import pytest

from services.abtest.domain.assessment import MetricEvidence
from services.abtest.domain.decision import TestEvidence, decide
from services.abtest.domain.metrics import CONVERSION_RATE, REVENUE, Metric, MetricKind, MetricRole
from services.abtest.domain.model import DecisionMethod, Group, GroupCounts, TestDesign
from services.abtest.domain.samples import MeanSample, Stratum
from services.abtest.domain.verdicts import Decision, GuardrailState, PrimaryState, Verdict
from tests.abtest_factories import design
from tests.unit.abtest.decisions import outcome

GUARDRAIL = replace(CONVERSION_RATE, name="open_rate", role=MetricRole.GUARDRAIL, non_inferiority_margin=0.05)
WATCHED = replace(GUARDRAIL, name="complaints", non_inferiority_margin=None, higher_is_better=False)


def several(*names: str, method: DecisionMethod, target: int = 10_000) -> TestDesign:
    return replace(
        design(decision_method=method, target_sample_size=target),
        groups=tuple(Group(name=name, campaign_id=name) for name in ("control", *names)),
    )


def rates(metric: Metric, *conversions: int, users: int = 10_000) -> MetricEvidence:
    groups = tuple(GroupCounts(users=users, conversions=count) for count in conversions)
    return MetricEvidence(metric=metric, strata=[Stratum(label="1", groups=groups)])


def concluded(
    method: DecisionMethod, *metrics: MetricEvidence, names: Sequence[str] = ("variant",)
) -> Decision:
    users = (10_000,) * (1 + len(names))
    return decide(
        several(*names, method=method), TestEvidence(metrics=tuple(metrics), users=users, ended=False)
    )


@pytest.mark.parametrize("method", list(DecisionMethod))
def test_the_best_of_several_better_variants_ships(method: DecisionMethod) -> None:
    names = ("variant_1", "variant_2", "variant_3")
    decision = concluded(method, rates(CONVERSION_RATE, 1000, 1250, 1300, 1010), names=names)
    assert outcome(decision) == (Verdict.SHIP, "variant_2")
    states = [variant.state for variant in decision.variants]
    assert states == [PrimaryState.BETTER, PrimaryState.BETTER, PrimaryState.UNKNOWN]
    assert any("that is not tested" in reason for reason in decision.reasons)


@pytest.mark.parametrize("method", list(DecisionMethod))
def test_control_wins_only_over_all_variants(method: DecisionMethod) -> None:
    names = ("variant_1", "variant_2")
    all_worse = concluded(method, rates(CONVERSION_RATE, 1300, 1000, 1010), names=names)
    assert outcome(all_worse) == (Verdict.STOP, "control")
    one_open = concluded(method, rates(CONVERSION_RATE, 1300, 1000, 1290), names=names)
    assert outcome(one_open) == (Verdict.STOP, None)


def test_several_variants_ask_more_of_each() -> None:
    # p = 0.0317 is enough for one comparison and not for three.
    fixed = DecisionMethod.FIXED_HORIZON
    alone = concluded(fixed, rates(CONVERSION_RATE, 1000, 1093))
    assert outcome(alone) == (Verdict.SHIP, "variant")
    names = ("variant_1", "variant_2", "variant_3")
    among = concluded(fixed, rates(CONVERSION_RATE, 1000, 1093, 1000, 1000), names=names)
    assert outcome(among) == (Verdict.STOP, None)
    assert among.variants[0].adjusted_p_value == pytest.approx(3 * (among.variants[0].p_value or 0.0))
    # Holm: what one comparison proves leaves more of the level to the others.
    stepped = concluded(fixed, rates(CONVERSION_RATE, 1000, 1105, 1300, 1300), names=names)
    assert stepped.variants[0].state is PrimaryState.BETTER
    unstepped = concluded(fixed, rates(CONVERSION_RATE, 1000, 1095, 1000, 1000), names=names)
    assert unstepped.variants[0].state is PrimaryState.UNKNOWN


@pytest.mark.parametrize("method", list(DecisionMethod))
@pytest.mark.parametrize(
    ("opened", "state", "verdict"),
    [
        (5000, GuardrailState.SAFE, Verdict.SHIP),
        (4400, GuardrailState.BREACHED, Verdict.STOP),
        (4740, GuardrailState.UNKNOWN, Verdict.STOP),
    ],
)
def test_a_guardrail_with_a_margin_has_to_be_proven_safe(
    method: DecisionMethod, opened: int, state: GuardrailState, verdict: Verdict
) -> None:
    decision = concluded(method, rates(CONVERSION_RATE, 1000, 1300), rates(GUARDRAIL, 5000, opened))
    assert decision.variants[0].state is PrimaryState.BETTER
    assert decision.variants[0].guardrails[0].state is state
    assert outcome(decision) == (verdict, "variant" if verdict is Verdict.SHIP else None)
    assert any("may not ship" in reason for reason in decision.reasons) is (verdict is not Verdict.SHIP)


@pytest.mark.parametrize("method", list(DecisionMethod))
def test_a_guardrail_without_a_margin_objects_only_when_it_is_proven_worse(method: DecisionMethod) -> None:
    primary = rates(CONVERSION_RATE, 1000, 1300)
    assert outcome(concluded(method, primary, rates(WATCHED, 100, 110))) == (Verdict.SHIP, "variant")
    assert outcome(concluded(method, primary, rates(WATCHED, 100, 60)))[0] is Verdict.SHIP
    worse = concluded(method, primary, rates(WATCHED, 100, 200))
    assert outcome(worse) == (Verdict.STOP, None)
    assert any("the guardrail complaints got worse" in reason for reason in worse.reasons)


def test_a_breach_ends_a_test_whose_primary_metric_is_open() -> None:
    design_now = several("variant", method=DecisionMethod.ANYTIME, target=1_000_000)
    evidence = TestEvidence(
        metrics=(rates(CONVERSION_RATE, 1000, 1010), rates(GUARDRAIL, 5000, 4000)),
        users=(10_000, 10_000),
        ended=False,
    )
    assert outcome(decide(design_now, evidence)) == (Verdict.STOP, None)


def test_a_secondary_metric_decides_nothing() -> None:
    secondary = replace(WATCHED, role=MetricRole.SECONDARY)
    decision = concluded(
        DecisionMethod.ANYTIME, rates(CONVERSION_RATE, 1000, 1300), rates(secondary, 100, 200)
    )
    assert outcome(decision) == (Verdict.SHIP, "variant")
    assert decision.variants[0].guardrails == ()


def test_a_metric_whose_fall_is_wanted_ships_on_a_fall() -> None:
    primary = replace(CONVERSION_RATE, name="unsubscribe_rate", higher_is_better=False)
    for method in DecisionMethod:
        assert outcome(concluded(method, rates(primary, 1300, 1000))) == (Verdict.SHIP, "variant")
        assert outcome(concluded(method, rates(primary, 1000, 1300))) == (Verdict.STOP, "control")


REVENUE_PER_USER = Metric(
    name="revenue_per_user", role=MetricRole.PRIMARY, kind=MetricKind.MEAN, numerator=REVENUE
)


def revenue(*means: float, users: int = 10_000, spread: float = 20.0) -> MetricEvidence:
    groups = tuple(
        MeanSample(users=users, total=mean * users, squared_deviations=spread**2 * (users - 1))
        for mean in means
    )
    return MetricEvidence(metric=REVENUE_PER_USER, strata=[Stratum(label="1", groups=groups)])


@pytest.mark.parametrize("method", list(DecisionMethod))
def test_means_are_decided_alike(method: DecisionMethod) -> None:
    assert outcome(concluded(method, revenue(10.0, 11.5))) == (Verdict.SHIP, "variant")
    assert outcome(concluded(method, revenue(11.5, 10.0))) == (Verdict.STOP, "control")
    unclear = concluded(method, revenue(10.0, 10.3))
    assert outcome(unclear) == (Verdict.STOP, None)
    interval = unclear.variants[0].lift_interval
    assert interval is not None
    assert interval.lower < 0.0
    assert interval.upper > 0.03


def test_a_mean_that_nobody_has_decides_nothing() -> None:
    for method in DecisionMethod:
        assert outcome(concluded(method, revenue(0.0, 0.0, spread=0.0))) == (Verdict.STOP, None)


def test_a_mean_that_few_users_make_up_decides_nothing() -> None:
    for method in (DecisionMethod.ANYTIME, DecisionMethod.GROUP_SEQUENTIAL):
        decision = concluded(method, revenue(0.1, 5.0, spread=500.0))
        assert decision.winner is None
        assert any("too few users contribute" in reason for reason in decision.reasons)
