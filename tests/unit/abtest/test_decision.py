"""Verdicts follow the method that the design names, and nothing else."""

import math

import numpy as np
import pytest

from services.abtest.domain.analysis import Analysis, analyze
from services.abtest.domain.model import DecisionMethod, EpochCounts
from services.abtest.domain.proportions import Interval
from services.abtest.domain.reasons import describe_lift
from services.abtest.domain.sequential import AnytimeEvidence, anytime_evidence, tightest_mixing_precision
from services.abtest.domain.stratified_rates import LogRatio, estimate_log_ratio
from services.abtest.domain.verdicts import Verdict
from tests.abtest_factories import design, epoch


def analyzed(
    *epochs: EpochCounts,
    target: int = 1000,
    method: DecisionMethod = DecisionMethod.ANYTIME,
    ended: bool = False,
    horizon: list[EpochCounts] | None = None,
    effect: float | None = None,
) -> Analysis:
    return analyze(
        design(target_sample_size=target, decision_method=method, minimum_detectable_effect=effect),
        epochs,
        ended=ended,
        horizon=horizon,
    )


def test_a_better_variant_ships() -> None:
    result = analyzed(epoch((100, 1000), (160, 1000)))
    assert (result.decision.verdict, result.decision.winner) == (Verdict.SHIP, "variant")
    assert result.decision.recommendation == "Deploy variant campaign"


def test_a_worse_variant_stops() -> None:
    result = analyzed(epoch((160, 1000), (100, 1000)))
    assert (result.decision.verdict, result.decision.winner) == (Verdict.STOP, "control")
    assert result.decision.recommendation == "Keep control campaign"


def test_what_is_significant_once_is_not_so_at_any_time() -> None:
    # p = 0.0304 by chi-squared, yet a look at it proves nothing when looks are free.
    result = analyzed(epoch((100, 1000), (131, 1000)), target=2000)
    comparison = result.comparisons[0]
    assert comparison.test is not None
    assert comparison.anytime is not None
    assert comparison.test.p_value < 0.05 < comparison.anytime.p_value
    assert (result.decision.verdict, result.decision.winner) == (Verdict.CONTINUE, None)
    assert any("holds for one planned look only" in warning for warning in result.warnings)


def test_an_undecided_test_stops_at_its_target_without_a_winner() -> None:
    result = analyzed(epoch((100, 1000), (103, 1000)))
    assert (result.decision.verdict, result.decision.winner) == (Verdict.STOP, None)
    assert "no evidence of a difference is not evidence of no difference" in result.decision.reasons


def test_an_ended_test_does_not_continue() -> None:
    assert analyzed(epoch((5, 50), (6, 50)), ended=True).decision.verdict is Verdict.STOP
    early = analyzed(epoch((0, 50), (50, 50)), ended=True, method=DecisionMethod.FIXED_HORIZON)
    assert (early.decision.verdict, early.decision.winner) == (Verdict.STOP, None)


def test_too_few_expected_conversions_decide_nothing() -> None:
    result = analyzed(epoch((0, 10), (10, 10)), target=10)
    assert result.comparisons[0].anytime is None
    assert result.decision.winner is None
    assert any("too few conversions" in reason for reason in result.decision.reasons)


def test_a_fixed_horizon_waits_for_its_target_and_then_follows_chi_squared() -> None:
    counts = epoch((100, 1000), (131, 1000))
    early = analyzed(counts, target=1001, method=DecisionMethod.FIXED_HORIZON)
    assert (early.decision.verdict, early.decision.winner) == (Verdict.CONTINUE, None)
    at_target = analyzed(counts, target=1000, method=DecisionMethod.FIXED_HORIZON)
    assert (at_target.decision.verdict, at_target.decision.winner) == (Verdict.SHIP, "variant")
    none = analyzed(epoch((100, 1000), (110, 1000)), method=DecisionMethod.FIXED_HORIZON)
    assert (none.decision.verdict, none.decision.winner) == (Verdict.STOP, None)
    nobody = analyzed(epoch((0, 1000), (0, 1000)), method=DecisionMethod.FIXED_HORIZON)
    assert (nobody.decision.verdict, nobody.comparisons[0].test) == (Verdict.STOP, None)


def test_users_after_the_horizon_do_not_decide() -> None:
    horizon = [epoch((100, 1000), (110, 1000))]
    result = analyzed(epoch((100, 1010), (160, 1010)), method=DecisionMethod.FIXED_HORIZON, horizon=horizon)
    assert result.comparisons[0].test is not None
    assert result.comparisons[0].test.p_value < 0.01
    assert result.decision.winner is None
    assert any(warning.startswith("20 users were assigned after") for warning in result.warnings)


@pytest.mark.parametrize("method", list(DecisionMethod))
def test_no_winner_under_a_sample_ratio_mismatch(method: DecisionMethod) -> None:
    result = analyzed(epoch((100, 2000), (400, 1500)), method=method)
    assert (result.decision.verdict, result.decision.winner) == (Verdict.INVALID, None)
    assert any("sample-ratio mismatch" in warning for warning in result.warnings)


def test_a_poor_fit_of_sizes_warns_without_a_mismatch() -> None:
    result = analyzed(epoch((4470, 44_700), (4549, 45_489)))  # Cookie Cats' sizes
    assert result.decision.verdict is not Verdict.INVALID
    assert any("fit their weights poorly (chi-squared p = 0.008608)" in text for text in result.warnings)


def test_few_conversions_and_empty_groups_are_told() -> None:
    result = analyzed(epoch((4, 100), (0, 0)))
    assert any(text.startswith("group control has fewer than 5") for text in result.warnings)
    assert "group variant has no users yet" in result.warnings
    comparison = result.comparisons[0]
    assert comparison.absolute_lift is None
    assert comparison.relative_lift_interval is None


def test_an_undefined_lift_is_absent_and_its_interval_is_not() -> None:
    comparison = analyzed(epoch((0, 100), (10, 100))).comparisons[0]
    assert comparison.relative_lift is None
    assert comparison.absolute_lift == pytest.approx(0.1)
    assert comparison.relative_lift_interval is not None


@pytest.mark.parametrize(
    ("control", "effect", "expected"),
    [
        ((100, 1000), 0.2, 0.298),
        ((100, 1000), None, None),
        ((0, 1000), 0.2, None),
        ((900, 1000), 0.2, None),
        ((1000, 1000), 0.2, None),
        ((0, 0), 0.2, None),
    ],
)
def test_power_is_at_the_design_effect(
    control: tuple[int, int], effect: float | None, expected: float | None
) -> None:
    power = analyzed(epoch(control, (120, 1000)), effect=effect).comparisons[0].power
    assert power == (expected if expected is None else pytest.approx(expected, abs=5e-4))


def test_power_needs_users_in_both_groups() -> None:
    assert analyzed(epoch((10, 100), (0, 0)), effect=0.2).comparisons[0].power is None


def test_weight_epochs_do_not_pass_a_drift_for_an_effect() -> None:
    # No effect, but the rate rose from 8 % to 30 % as the variant's weight rose from 10 % to 50 %.
    drift = (
        epoch((720, 9000), (80, 1000), number=1, weights=(0.9, 0.1)),
        epoch((1500, 5000), (1500, 5000), number=2),
    )
    for method in DecisionMethod:
        result = analyzed(*drift, target=5000, method=method)
        assert result.comparisons[0].test is not None
        assert result.comparisons[0].test.p_value < 1e-10
        assert (result.decision.verdict, result.decision.winner) == (Verdict.STOP, None)
        assert any("the weights changed" in warning for warning in result.warnings)


def test_an_effect_within_epochs_is_found() -> None:
    result = analyzed(
        epoch((720, 9000), (120, 1000), number=1, weights=(0.9, 0.1)),
        epoch((500, 5000), (700, 5000), number=2),
        target=5000,
        method=DecisionMethod.FIXED_HORIZON,
    )
    assert (result.decision.verdict, result.decision.winner) == (Verdict.SHIP, "variant")
    assert any("cochran_stratified" in reason for reason in result.decision.reasons)


def test_the_winner_is_whom_the_stratified_test_found_better() -> None:
    # 10 % against 11 % where nearly all of the evidence is; then many users in control, 30 in the variant.
    result = analyzed(
        epoch((1000, 10_000), (1100, 10_000), number=1),
        epoch((3000, 30_000), (1, 30), number=2, weights=(0.999, 0.001)),
        target=10_000,
        method=DecisionMethod.FIXED_HORIZON,
    )
    assert (result.decision.verdict, result.decision.winner) == (Verdict.SHIP, "variant")


def test_an_epoch_without_users_in_a_group_compares_nothing() -> None:
    lonely = epoch((50, 50), (0, 0), number=1)
    assert estimate_log_ratio([lonely], 1) is None
    both = epoch((100, 1000), (130, 1000), number=2)
    assert estimate_log_ratio([lonely, both], 1) == estimate_log_ratio([both], 1)
    nobody = analyzed(
        epoch((0, 500), (0, 500)), epoch((0, 600), (0, 600), number=2), method=DecisionMethod.FIXED_HORIZON
    )
    assert nobody.decision.winner is None


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
