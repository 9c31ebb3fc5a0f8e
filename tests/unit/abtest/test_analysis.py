"""What an analysis says beside its verdict: comparisons, breakdowns, checks and warnings."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from services.abtest.domain.analysis import Analysis, analyze
from services.abtest.domain.metrics import (
    CONVERSION_RATE,
    Metric,
    MetricRole,
)
from services.abtest.domain.model import (
    DecisionMethod,
    EpochCounts,
    Group,
    GroupCounts,
    TestDesign,
)
from services.abtest.domain.outcomes import MetricOutcome, Outcomes
from services.abtest.domain.samples import CovariateSample, MeanSample, RatioSample
from services.abtest.domain.verdicts import Verdict
from tests.abtest_factories import conversion_outcomes, design, epoch
from tests.unit.abtest.analyses import CTR, REVENUE_PER_USER, single


def analyzed(
    *epochs: EpochCounts,
    target: int = 1000,
    method: DecisionMethod = DecisionMethod.ANYTIME,
    horizon: list[EpochCounts] | None = None,
    effect: float | None = None,
    yates: bool = False,
) -> Analysis:
    return analyze(
        design(target_sample_size=target, decision_method=method, minimum_detectable_effect=effect),
        conversion_outcomes(epochs, horizon),
        ended=False,
        yates=yates,
    )


def three_groups(*metrics: Metric) -> TestDesign:
    groups = tuple(Group(name=name, campaign_id=name) for name in ("control", "variant_1", "variant_2"))
    return replace(design(), groups=groups, metrics=(CONVERSION_RATE, *metrics))


def test_what_is_significant_at_one_look_only_is_told() -> None:
    # p = 0.0301 by chi-squared, yet a look at it proves nothing when looks are free.
    result = analyzed(epoch((100, 1000), (131, 1000)), target=2000)
    (comparison,) = result.comparisons
    assert comparison.test is not None
    assert comparison.anytime is not None
    assert comparison.test.p_value < 0.05 < comparison.anytime.p_value
    assert any("holds for one planned look only" in warning for warning in result.warnings)
    assert result.expected is not None
    planned = analyzed(epoch((100, 1000), (131, 1000)), method=DecisionMethod.FIXED_HORIZON)
    assert not any("planned look only" in warning for warning in planned.warnings)


def test_yates_corrects_the_p_value_and_not_the_verdict() -> None:
    counts = epoch((100, 1000), (160, 1000))
    plain, corrected = analyzed(counts), analyzed(counts, yates=True)
    assert corrected.decision == plain.decision
    (comparison,) = corrected.comparisons
    assert comparison.test is not None
    assert comparison.test.method == "pearson_chi_squared_yates"
    peer = stats.chi2_contingency([[100, 900], [160, 840]], correction=True)
    assert comparison.test.p_value == pytest.approx(peer.pvalue, rel=1e-12)


def test_users_after_the_horizon_are_shown_and_told() -> None:
    result = analyzed(
        epoch((400, 3000), (500, 3000)),
        method=DecisionMethod.FIXED_HORIZON,
        horizon=[epoch((100, 1000), (101, 1000))],
    )
    assert result.decision.verdict is Verdict.STOP
    assert result.groups[0].counts.users == 3000
    assert any(
        "4000 users were assigned after every group had its target" in each for each in result.warnings
    )


def test_a_poor_fit_of_sizes_warns_without_a_mismatch() -> None:
    result = analyzed(epoch((100, 1000), (116, 1160)))  # chi-squared p = 0.00057, no sequential alarm
    assert result.decision.verdict is not Verdict.INVALID
    assert any("fit their weights poorly" in warning for warning in result.warnings)


def test_weight_epochs_are_checked_apart_and_lifts_stratified() -> None:
    result = analyzed(
        epoch((720, 9000), (80, 1000), number=1, weights=(0.9, 0.1)),
        epoch((1500, 5000), (1000, 4400), number=2),
    )
    assert [(each.scope, each.name) for each in result.sample_ratios] == [
        ("overall", ""),
        ("weight_epoch", "1"),
        ("weight_epoch", "2"),
    ]
    assert result.sample_ratios[1].expected_users == (9000.0, 1000.0)
    assert any("sample-ratio mismatch in weight epoch 2" in warning for warning in result.warnings)
    assert any("compare the groups within weight epochs" in warning for warning in result.warnings)
    (comparison,) = result.comparisons
    assert comparison.relative_lift == comparison.stratified_relative_lift is not None
    assert comparison.relative_lift_interval == comparison.stratified_relative_lift_interval is not None


def test_a_reversal_within_weight_epochs_is_told() -> None:
    # The variant is worse in each epoch, and better in total: its users came when everybody converted.
    result = analyzed(
        epoch((900, 9000), (70, 1000), number=1, weights=(0.9, 0.1)),
        epoch((400, 1000), (3300, 9000), number=2, weights=(0.1, 0.9)),
    )
    (comparison,) = result.comparisons
    rates = [group.counts.conversion_rate for group in result.groups]
    assert rates[0] is not None
    assert rates[1] is not None
    assert rates[0] < rates[1]
    assert comparison.relative_lift is not None
    assert comparison.relative_lift < 0.0
    assert any("variant is above control over all users, but below it" in each for each in result.warnings)


def test_few_conversions_and_empty_groups_are_told() -> None:
    few = analyzed(epoch((4, 100), (6, 100)))
    assert any("group control has fewer than 5 conversions" in warning for warning in few.warnings)
    everybody = analyzed(epoch((95, 100), (50, 100)))
    assert any("fewer than 10 users who did not convert" in warning for warning in everybody.warnings)
    empty = analyzed(epoch((4, 100), (0, 0)))
    assert any("group variant has no users yet" in warning for warning in empty.warnings)
    assert empty.comparisons[0].test is None
    assert empty.compared_group is None


def test_an_undefined_lift_is_absent_and_its_interval_is_not() -> None:
    (comparison,) = analyzed(epoch((0, 100), (10, 100))).comparisons
    assert comparison.relative_lift is None
    assert comparison.absolute_lift == pytest.approx(0.1)
    assert comparison.relative_lift_interval is not None


@pytest.mark.parametrize(
    ("control", "effect", "expected"),
    [((100, 1000), 0.2, 0.298), ((100, 1000), None, None), ((0, 1000), 0.2, None), ((900, 1000), 0.2, None)],
)
def test_power_is_at_the_design_effect(
    control: tuple[int, int], effect: float | None, expected: float | None
) -> None:
    # The guide's example claims over 80 % for 10 % against 12 % with 1,000 users per group: it is 29.8 %.
    power = analyzed(epoch(control, (120, 1000)), effect=effect).comparisons[0].power
    assert power == (None if expected is None else pytest.approx(expected, abs=5e-4))


def test_a_metric_without_data_says_so() -> None:
    outcomes = Outcomes(
        epochs=(epoch((0, 10), (0, 10)),),
        metrics=(
            *conversion_outcomes([epoch((0, 10), (0, 10))]).metrics,
            single(
                CTR,
                RatioSample(numerator=MeanSample(users=10), denominator=MeanSample(users=10)),
                *[RatioSample(numerator=MeanSample(users=10), denominator=MeanSample(users=10))],
            ),
        ),
    )
    result = analyze(replace(design(), metrics=(CONVERSION_RATE, CTR)), outcomes, ended=False)
    assert result.metrics[0].no_data_reason == "no user has an event that the metric counts"
    assert result.metrics[1].no_data_reason == "no user has an event that the denominator counts"
    assert "metric ctr has no data: no user has an event that the denominator counts" in result.warnings


def test_means_of_several_variants_are_compared_by_welch_and_adjusted(values: np.random.Generator) -> None:
    amounts = [values.exponential(10.0 + index, size=400) for index in range(3)]
    counts = [GroupCounts(users=400, conversions=count) for count in (40, 52, 61)]
    outcomes = Outcomes(
        epochs=(EpochCounts(epoch=1, weights=(1 / 3,) * 3, groups=tuple(counts)),),
        metrics=(
            single(CONVERSION_RATE, *counts),
            single(REVENUE_PER_USER, *(MeanSample.from_values(each) for each in amounts)),
        ),
    )
    result = analyze(three_groups(REVENUE_PER_USER), outcomes, ended=False)
    compared = result.metrics[1].comparisons
    for index, comparison in enumerate(compared, start=1):
        peer = stats.ttest_ind(amounts[index], amounts[0], equal_var=False)
        assert comparison.test is not None
        assert comparison.test.p_value == pytest.approx(peer.pvalue, rel=1e-9)
        assert comparison.degrees_of_freedom == pytest.approx(peer.df, rel=1e-9)
        assert comparison.probability_to_beat_control is not None
    p_values = [each.test.p_value for each in compared if each.test]
    # Holm with two: the smaller doubled, the larger at least that.
    assert min(each.adjusted_p_value or 0 for each in compared) == pytest.approx(2 * min(p_values))
    assert compared[1].false_discovery_p_value == pytest.approx(
        min(2 * min(p_values), max(p_values)) if p_values[1] == min(p_values) else max(p_values)
    )
    # Conversions are a family of their own.
    assert result.comparisons[1].adjusted_p_value is not None
    assert result.compared_group == "variant_2"


def test_the_past_takes_variance_away_and_is_checked(values: np.random.Generator) -> None:
    metric = replace(REVENUE_PER_USER, covariate_days=28)
    groups = []
    for shift in (0.0, 0.0):
        past = values.normal(50.0, 10.0, size=800) + shift
        groups.append(CovariateSample.from_values(past + values.normal(0.0, 5.0, size=800), past))
    outcomes = Outcomes(
        epochs=(epoch((80, 800), (80, 800)),),
        metrics=(*conversion_outcomes([epoch((80, 800), (80, 800))]).metrics, single(metric, *groups)),
    )
    result = analyze(
        replace(design(minimum_detectable_effect=0.02), metrics=(CONVERSION_RATE, metric)),
        outcomes,
        ended=False,
    )
    (comparison,) = result.metrics[1].comparisons
    assert comparison.test is not None
    assert comparison.test.method == "cuped_welch_t"
    assert comparison.variance_reduction == pytest.approx(0.8, abs=0.03)
    assert comparison.power is not None
    assert comparison.power > 0.9
    assert result.metrics[1].groups[1].adjusted_value is not None
    (check,) = result.past
    assert (check.metric, check.segment, check.warns) == ("revenue_per_user", None, False)

    richer = replace(groups[1], covariate=MeanSample.from_values(values.normal(60.0, 10.0, size=800)))
    biased = replace(outcomes, metrics=(outcomes.metrics[0], single(metric, groups[0], richer)))
    warned = analyze(replace(design(), metrics=(CONVERSION_RATE, metric)), biased, ended=False)
    assert any("variant differed from control's by revenue_per_user" in each for each in warned.warnings)


def test_the_compared_variant_is_the_winner_or_the_best_so_far() -> None:
    fewer = replace(CONVERSION_RATE, higher_is_better=False)
    counts = tuple(GroupCounts(users=1000, conversions=count) for count in (100, 104, 97))
    outcomes = Outcomes(
        epochs=(EpochCounts(epoch=1, weights=(1 / 3,) * 3, groups=counts),),
        metrics=(single(CONVERSION_RATE, *counts),),
    )
    assert analyze(three_groups(), outcomes, ended=False).compared_group == "variant_1"
    reversed_outcomes = replace(outcomes, metrics=(single(fewer, *counts),))
    result = analyze(replace(three_groups(), metrics=(fewer,)), reversed_outcomes, ended=False)
    assert result.compared_group == "variant_2"
    assert result.compared == result.comparisons[1]


@pytest.mark.parametrize(
    "metric", [CONVERSION_RATE, REVENUE_PER_USER, CTR, replace(REVENUE_PER_USER, covariate_days=7)]
)
def test_nobody_is_told_of_by_every_kind_of_metric(metric: Metric) -> None:
    metric = replace(metric, role=MetricRole.PRIMARY)
    outcomes = Outcomes(epochs=(), metrics=(MetricOutcome(metric=metric, strata=()),), cells=(), days=())
    result = analyze(replace(design(), metrics=(metric,)), outcomes, ended=False)
    assert result.primary.no_data_reason == "nobody was assigned yet"
    assert [group.value for group in result.primary.groups] == [None, None]
    assert (result.sample_ratio, result.compared_group, result.past) == (None, None, ())
    assert result.decision.verdict is Verdict.CONTINUE
