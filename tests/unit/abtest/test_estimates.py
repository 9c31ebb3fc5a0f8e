"""What all comparisons of two groups share: units and exchange of the groups do not matter."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.abtest.domain.covariates import adjust_by_covariate
from services.abtest.domain.estimates import Estimate, GroupEstimate, combine_effects, compare_estimates
from services.abtest.domain.means import compare_means
from services.abtest.domain.ratios import compare_ratios
from services.abtest.domain.samples import CovariateSample, MeanSample, RatioSample, Stratum

AMOUNTS = st.lists(st.integers(0, 10_000), min_size=2, max_size=20).filter(
    lambda values: len(set(values)) > 1
)


@given(control=AMOUNTS, variant=AMOUNTS, unit=st.sampled_from([1e-6, 0.01, 1e6]))
def test_a_unit_changes_no_test_and_no_lift(control: list[int], variant: list[int], unit: float) -> None:
    plain, scaled = (
        compare_means(
            *(MeanSample.from_values([each * factor for each in values]) for values in (control, variant)),
            confidence_level=0.95,
        )
        for factor in (1.0, unit)
    )
    assert plain.test is not None
    assert scaled.test is not None
    assert scaled.test.statistic == pytest.approx(plain.test.statistic, rel=1e-9, abs=1e-9)
    assert scaled.test.p_value == pytest.approx(plain.test.p_value, rel=1e-7)
    assert plain.relative_lift is not None
    assert scaled.relative_lift == pytest.approx(plain.relative_lift, rel=1e-9, abs=1e-9)
    assert plain.relative_lift_interval is not None
    assert scaled.relative_lift_interval is not None
    assert scaled.relative_lift_interval.lower == pytest.approx(plain.relative_lift_interval.lower, rel=1e-7)


@given(control=AMOUNTS, variant=AMOUNTS)
def test_groups_exchanged_give_the_same_evidence_the_other_way_round(
    control: list[int], variant: list[int]
) -> None:
    samples = [MeanSample.from_values(list(map(float, values))) for values in (control, variant)]
    there = compare_means(*samples, confidence_level=0.9)
    back = compare_means(*reversed(samples), confidence_level=0.9)
    assert there.test is not None
    assert back.test is not None
    assert there.log_ratio is not None
    assert back.log_ratio is not None
    assert back.test.p_value == pytest.approx(there.test.p_value, rel=1e-12)
    assert back.test.statistic == pytest.approx(-there.test.statistic, rel=1e-12, abs=1e-12)
    assert back.log_ratio.value == pytest.approx(-there.log_ratio.value, rel=1e-12, abs=1e-12)
    assert back.log_ratio.standard_error == pytest.approx(there.log_ratio.standard_error, rel=1e-12)


@given(
    control=AMOUNTS,
    variant=AMOUNTS,
    levels=st.tuples(st.floats(0.80, 0.999), st.floats(0.80, 0.999)).filter(lambda pair: pair[0] < pair[1]),
)
def test_more_confidence_takes_a_wider_interval_around_the_estimate(
    control: list[int], variant: list[int], levels: tuple[float, float]
) -> None:
    samples = [MeanSample.from_values(list(map(float, values))) for values in (control, variant)]
    narrow, wide = (compare_means(*samples, confidence_level=level) for level in levels)
    assert narrow.absolute_lift is not None
    assert narrow.absolute_lift_interval is not None
    assert wide.absolute_lift_interval is not None
    assert (
        wide.absolute_lift_interval.lower
        < narrow.absolute_lift_interval.lower
        < narrow.absolute_lift
        < narrow.absolute_lift_interval.upper
        < wide.absolute_lift_interval.upper
    )
    assert narrow.relative_lift_interval is not None
    assert narrow.relative_lift is not None
    assert -1.0 <= narrow.relative_lift_interval.lower <= narrow.relative_lift
    assert narrow.relative_lift <= narrow.relative_lift_interval.upper


def test_what_another_amount_determines_does_not_vary() -> None:
    # Every user clicks three of ten views; what is left of the variance is rounding.
    views = [10.0, 20.0, 70.0, 110.0, 30.0]
    steady = RatioSample.from_values([0.3 * each for each in views], views)
    other = RatioSample.from_values([0.4 * each for each in views], views)
    effect = compare_ratios(steady, other, confidence_level=0.95)
    assert effect.absolute_lift == pytest.approx(0.1)
    assert effect.test is None
    # And a metric that is three times its past, but for the group's own level.
    groups = tuple(
        CovariateSample.from_values([level + 3.0 * each for each in views], views) for level in (0.1, 0.7)
    )
    adjustment = adjust_by_covariate([Stratum(label="1", groups=groups)])
    assert adjustment is not None
    assert adjustment.variance_reduction == pytest.approx(1.0)
    adjusted = compare_estimates(*adjustment.strata[0].groups, confidence_level=0.95, method="cuped")
    assert adjusted.absolute_lift == pytest.approx(0.6)
    assert adjusted.test is None


def test_an_unknown_group_leaves_everything_unset() -> None:
    known = GroupEstimate(users=9, value=2.0, squared_standard_error=0.1, degrees_of_freedom=8.0)
    effect = compare_estimates(known, GroupEstimate(users=0), confidence_level=0.95, method="welch_t")
    unset = (effect.absolute_lift, effect.difference, effect.relative_lift, effect.log_ratio, effect.test)
    assert unset == (None,) * 5
    assert effect.absolute_lift_interval is None
    assert effect.relative_lift_interval is None


def test_effects_add_up_with_their_degrees_of_freedom() -> None:
    few = Estimate(value=1.0, standard_error=0.3, degrees_of_freedom=5.0)
    many = Estimate(value=2.0, standard_error=0.4, degrees_of_freedom=math.inf)
    total = combine_effects([(1.0, few), (-1.0, many)])
    assert (total.value, total.standard_error) == pytest.approx((-1.0, 0.5))
    # Satterthwaite: 0.25^2 / (0.09^2 / 5).
    assert total.degrees_of_freedom == pytest.approx(0.0625 / (0.0081 / 5))
    assert combine_effects([(1.0, many), (2.0, many)]).degrees_of_freedom == math.inf
