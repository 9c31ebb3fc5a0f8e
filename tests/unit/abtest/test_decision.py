"""Verdicts follow the method that the design names, and nothing else."""

import math

import numpy as np
import pytest

from services.abtest.domain.decision import TestEvidence, as_strata, count_conversions, decide
from services.abtest.domain.looks import Look, look_from_json, look_to_json
from services.abtest.domain.model import DecisionMethod, EpochCounts
from services.abtest.domain.proportions import Interval
from services.abtest.domain.reasons import describe_lift
from services.abtest.domain.sequential import AnytimeEvidence, anytime_evidence, tightest_mixing_precision
from services.abtest.domain.stratified_rates import LogRatio, estimate_log_ratio
from services.abtest.domain.verdicts import Decision, Verdict
from tests.abtest_factories import design, epoch
from tests.unit.abtest.decisions import outcome

PLANNED = (DecisionMethod.FIXED_HORIZON, DecisionMethod.GROUP_SEQUENTIAL)


def decided(
    *epochs: EpochCounts,
    target: int = 1000,
    method: DecisionMethod = DecisionMethod.ANYTIME,
    ended: bool = False,
    matured: bool = True,
    mismatch: bool = False,
    effect: float | None = None,
    looks: tuple[Look, ...] = (),
) -> Decision:
    users = tuple(sum(each.groups[index].users for each in epochs) for index in (0, 1))
    return decide(
        design(target_sample_size=target, decision_method=method, minimum_detectable_effect=effect),
        TestEvidence(
            metrics=(count_conversions(epochs),),
            users=users,
            ended=ended,
            matured=matured,
            ratio_mismatch=mismatch,
            looks=looks,
        ),
    )


def test_a_better_variant_ships() -> None:
    decision = decided(epoch((100, 1000), (160, 1000)))
    assert outcome(decision) == (Verdict.SHIP, "variant")
    assert decision.recommendation == "Deploy variant campaign"
    assert decision.look is None


def test_a_worse_variant_stops() -> None:
    decision = decided(epoch((160, 1000), (100, 1000)))
    assert outcome(decision) == (Verdict.STOP, "control")
    assert decision.recommendation == "Keep control campaign"


def test_what_is_significant_once_is_not_so_at_any_time() -> None:
    # p = 0.0301 by chi-squared, yet a look at it proves nothing when looks are free.
    decision = decided(epoch((100, 1000), (131, 1000)), target=2000)
    assert outcome(decision) == (Verdict.CONTINUE, None)
    assert decision.variants[0].p_value is not None
    assert decision.variants[0].p_value > 0.05


def test_an_undecided_test_stops_at_its_target_without_a_winner() -> None:
    decision = decided(epoch((100, 1000), (103, 1000)))
    assert outcome(decision) == (Verdict.STOP, None)
    assert "no evidence of a difference is not evidence of no difference" in decision.reasons


@pytest.mark.parametrize(
    ("counts", "said"),
    [
        (epoch((100, 1000), (103, 1000)), "is not ruled out for variant: the test was too small to tell"),
        (epoch((10_000, 100_000), (10_010, 100_000)), "is ruled out for variant"),
    ],
)
def test_an_end_without_a_finding_says_whether_the_planned_effect_is_ruled_out(
    counts: EpochCounts, said: str
) -> None:
    decision = decided(counts, effect=0.2)
    assert outcome(decision) == (Verdict.STOP, None)
    assert any(reason.endswith(said) for reason in decision.reasons)


def test_an_ended_test_does_not_continue() -> None:
    assert outcome(decided(epoch((5, 50), (6, 50)), ended=True)) == (Verdict.STOP, None)
    for method in PLANNED:
        assert outcome(decided(epoch((0, 50), (50, 50)), ended=True, method=method)) == (Verdict.STOP, None)


def test_too_few_expected_conversions_decide_nothing() -> None:
    decision = decided(epoch((0, 10), (10, 10)), target=10)
    assert decision.variants[0].lift_interval is None
    assert decision.winner is None
    assert any("too few conversions" in reason for reason in decision.reasons)


def test_a_fixed_horizon_waits_for_its_target_and_then_follows_chi_squared() -> None:
    counts, fixed = epoch((100, 1000), (131, 1000)), DecisionMethod.FIXED_HORIZON
    early = decided(counts, target=1001, method=fixed)
    assert outcome(early) == (Verdict.CONTINUE, None)
    assert early.look is None
    at_target = decided(counts, method=fixed)
    assert outcome(at_target) == (Verdict.SHIP, "variant")
    # scipy.stats.chi2_contingency([[100, 900], [131, 869]], correction=False).pvalue
    assert at_target.variants[0].p_value == pytest.approx(0.030103, abs=1e-6)
    assert any("p = 0.0301 (pearson_chi_squared)" in reason for reason in at_target.reasons)
    assert outcome(decided(epoch((100, 1000), (110, 1000)), method=fixed)) == (Verdict.STOP, None)
    nobody = decided(epoch((0, 1000), (0, 1000)), method=fixed)
    assert outcome(nobody) == (Verdict.STOP, None)


@pytest.mark.parametrize("method", PLANNED)
def test_what_the_last_look_found_stays(method: DecisionMethod) -> None:
    won = decided(epoch((100, 1000), (160, 1000)), method=method)
    assert won.look is not None
    kept = look_from_json(look_to_json(won.look))
    assert kept == won.look
    later = decided(epoch((300, 2000), (290, 2000)), method=method, looks=(kept,))
    assert outcome(later) == outcome(won) == (Verdict.SHIP, "variant")
    assert later.look is None
    assert later.variants == won.variants
    lost = decided(epoch((100, 1000), (101, 1000)), method=method)
    assert lost.look is not None
    later = decided(epoch((300, 2000), (500, 2000)), method=method, looks=(lost.look,))
    assert outcome(later) == (Verdict.STOP, None)


@pytest.mark.parametrize("method", PLANNED)
def test_the_last_look_waits_for_conversions_even_where_the_test_has_ended(method: DecisionMethod) -> None:
    counts = epoch((100, 1000), (160, 1000))
    waiting = decided(counts, method=method, matured=False)
    assert outcome(waiting) == (Verdict.CONTINUE, None)
    assert waiting.look is None
    assert any("time to convert has not passed" in reason for reason in waiting.reasons)
    ended = decided(counts, method=method, matured=False, ended=True)
    assert outcome(ended) == (Verdict.STOP, None)
    assert ended.look is None
    assert any("its last look was not taken" in reason for reason in ended.reasons)
    assert outcome(decided(counts, method=method, ended=True)) == (Verdict.SHIP, "variant")


@pytest.mark.parametrize("method", list(DecisionMethod))
def test_no_winner_under_a_sample_ratio_mismatch(method: DecisionMethod) -> None:
    decision = decided(epoch((100, 2000), (400, 1500)), method=method, mismatch=True)
    assert outcome(decision) == (Verdict.INVALID, None)
    assert any("sample-ratio mismatch" in reason for reason in decision.reasons)


def test_weight_epochs_do_not_pass_a_drift_for_an_effect() -> None:
    # No effect, but the rate rose from 8 % to 30 % as the variant's weight rose from 10 % to 50 %.
    drift = (
        epoch((720, 9000), (80, 1000), number=1, weights=(0.9, 0.1)),
        epoch((1500, 5000), (1500, 5000), number=2),
    )
    for method in DecisionMethod:
        assert outcome(decided(*drift, target=5000, method=method)) == (Verdict.STOP, None)


def test_an_effect_within_epochs_is_found() -> None:
    epochs = (
        epoch((720, 9000), (120, 1000), number=1, weights=(0.9, 0.1)),
        epoch((500, 5000), (700, 5000), number=2),
    )
    for method in DecisionMethod:
        assert outcome(decided(*epochs, target=5000, method=method)) == (Verdict.SHIP, "variant")
    fixed = decided(*epochs, target=5000, method=DecisionMethod.FIXED_HORIZON)
    assert any("cochran_stratified" in reason for reason in fixed.reasons)


def test_the_winner_is_whom_the_stratified_test_found_better() -> None:
    # 10 % against 11 % where nearly all of the evidence is; then many users in control, 30 in the variant.
    decision = decided(
        epoch((1000, 10_000), (1100, 10_000), number=1),
        epoch((3000, 30_000), (1, 30), number=2, weights=(0.999, 0.001)),
        target=10_000,
        method=DecisionMethod.FIXED_HORIZON,
    )
    assert outcome(decision) == (Verdict.SHIP, "variant")


def test_an_epoch_without_users_in_a_group_compares_nothing() -> None:
    lonely = epoch((50, 50), (0, 0), number=1)
    assert estimate_log_ratio([lonely], 1) is None
    both = epoch((100, 1000), (130, 1000), number=2)
    assert estimate_log_ratio([lonely, both], 1) == estimate_log_ratio([both], 1)
    for method in DecisionMethod:
        nobody = decided(epoch((0, 500), (0, 500)), epoch((0, 600), (0, 600), number=2), method=method)
        assert nobody.winner is None


def interval_of(evidence: AnytimeEvidence) -> Interval:
    assert evidence.relative_lift_interval is not None
    return evidence.relative_lift_interval


def test_the_sequence_is_tightest_at_the_target() -> None:
    def radius(users: int, target: int) -> float:
        error = math.sqrt(18.0 / users)
        evidence = anytime_evidence(
            LogRatio(point_estimate=0.0, standard_error=error, unit_variance=18.0),
            significance_level=0.05,
            target_sample_size=target,
        )
        return math.log1p(interval_of(evidence).upper)

    at_target = radius(1000, 1000)
    assert at_target < min(radius(1000, 500), radius(1000, 2000))
    x = tightest_mixing_precision(0.05)
    # The paper's closed form, -W_{-1}(-alpha^2 / e) - 1, by scipy.special.lambertw.
    assert x == pytest.approx(8.211968062068253, rel=1e-12)
    assert at_target == pytest.approx(math.sqrt(18.0 / 1000 * (1 + x)), rel=1e-12)


@pytest.mark.parametrize("level", [0.05, 0.001, 0.2])
def test_interval_and_p_value_agree(level: float) -> None:
    for z in np.linspace(0.1, 6.0, 60):
        evidence = anytime_evidence(
            LogRatio(point_estimate=0.1 * z, standard_error=0.1, unit_variance=18.0),
            significance_level=level,
            target_sample_size=1000,
        )
        assert (interval_of(evidence).lower > 0) == (evidence.p_value < level)


def test_an_interval_beyond_numbers_is_infinite() -> None:
    evidence = anytime_evidence(
        LogRatio(point_estimate=0.0, standard_error=1.0, unit_variance=18.0),
        significance_level=0.001,
        target_sample_size=10**9,
    )
    assert interval_of(evidence).upper == math.inf
    assert describe_lift(interval_of(evidence)).startswith("above")
    assert describe_lift(Interval(lower=-0.1, upper=0.2)) == "between -10.0 % and +20.0 %"


def test_epochs_are_strata_by_their_numbers() -> None:
    epochs = [epoch((1, 10), (2, 10)), epoch((3, 10), (4, 10), number=2)]
    assert [(stratum.label, stratum.groups) for stratum in as_strata(epochs)] == [
        ("1", epochs[0].groups),
        ("2", epochs[1].groups),
    ]
