"""What every decision method is told of a metric: scores, intervals of the lift, and how much is known."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.abtest.domain.contrasts import (
    LinearContrast,
    contrast_metric,
    estimate_strata,
    smallest_contributors,
)
from services.abtest.domain.metrics import (
    CONVERSION_RATE,
    CONVERSIONS,
    REVENUE,
    Measure,
    MeasureSource,
    Metric,
    MetricKind,
    MetricRole,
)
from services.abtest.domain.model import GroupCounts
from services.abtest.domain.samples import CovariateSample, MeanSample, RatioSample, Stratum
from services.abtest.domain.stratified_rates import LogRatio

MEAN = Metric(name="revenue", role=MetricRole.PRIMARY, kind=MetricKind.MEAN, numerator=REVENUE)
RATIO = Metric(
    name="conversions_per_view",
    role=MetricRole.PRIMARY,
    kind=MetricKind.RATIO,
    numerator=CONVERSIONS,
    denominator=Measure(source=MeasureSource.VIEWED),
)


def linear(control: float, variant: float, variance: float = 0.01) -> LinearContrast:
    return LinearContrast(
        control=control,
        variant=variant,
        control_variance=variance,
        variant_variance=2 * variance,
        unit_variance=300 * variance,
    )


@given(
    control=st.floats(0.5, 5), variant=st.floats(-5, 5), variance=st.floats(1e-4, 0.01), bound=st.floats(1, 4)
)
def test_a_lift_at_an_end_of_its_interval_lies_the_bound_away(
    control: float, variant: float, variance: float, bound: float
) -> None:
    contrast = linear(control, variant, variance)
    interval = contrast.lift_interval(bound)
    if interval is None:
        assert control**2 <= bound**2 * variance
        return
    for end in (interval.lower, interval.upper):
        assert abs(contrast.standardized(1.0 + end)) == pytest.approx(bound, rel=1e-6)
    excludes_nothing = interval.lower <= 0.0 <= interval.upper
    if abs(abs(contrast.standardized()) - bound) > 1e-9:
        assert excludes_nothing == (abs(contrast.standardized()) <= bound)


def test_a_lift_over_nothing_has_no_bounds() -> None:
    rates = LogRatio(point_estimate=0.1, standard_error=0.1, unit_variance=18.0)
    assert rates.lift_interval(math.inf) is None
    assert linear(0.1, 1.0).lift_interval(1.5) is None
    assert linear(1.0, 1.0).lift_interval(math.inf) is None
    assert linear(-1.0, 1.0).lift_interval(1.0) is None
    assert linear(-1.0, 1.0).relative_lift is None
    assert linear(2.0, 3.0).relative_lift == 0.5
    assert linear(2.0, 3.0).effective_users == pytest.approx(100)


def strata_of(*pairs: tuple[MeanSample, MeanSample]) -> list[Stratum[MeanSample]]:
    return [Stratum(label=str(number), groups=pair) for number, pair in enumerate(pairs)]


def test_conversions_as_values_have_as_many_contributors_as_conversions() -> None:
    control, variant = (
        MeanSample.from_counts(GroupCounts(users=users, conversions=count))
        for users, count in ((900, 90), (100, 14))
    )
    # Of 104 conversions among 1,000 users, the smaller group expects a tenth.
    assert smallest_contributors(strata_of((control, variant)), 1) == pytest.approx(10.4)
    nobody = MeanSample()
    assert smallest_contributors(strata_of((control, nobody)), 1) == 0.0
    assert smallest_contributors(strata_of((MeanSample(users=5), MeanSample(users=5))), 1) == 0.0


def test_the_difference_of_epochs_is_weighted_by_what_they_tell() -> None:
    generator = np.random.default_rng(1)
    values = [generator.normal(5, 2, size).tolist() for size in (300, 100, 200, 200)]
    strata = strata_of(
        (MeanSample.from_values(values[0]), MeanSample.from_values(values[1])),
        (MeanSample.from_values(values[2]), MeanSample.from_values(values[3])),
    )
    made = contrast_metric(MEAN, strata, 1)
    assert made.fixed is not None
    assert made.contrast is not None
    weights = np.array([300 * 100 / 400, 200 * 200 / 400])
    differences = [np.mean(values[1]) - np.mean(values[0]), np.mean(values[3]) - np.mean(values[2])]
    variances = np.array(
        [
            np.var(values[0], ddof=1) / 300 + np.var(values[1], ddof=1) / 100,
            np.var(values[2], ddof=1) / 200 + np.var(values[3], ddof=1) / 200,
        ]
    )
    statistic = weights @ differences / math.sqrt(weights**2 @ variances)
    assert made.fixed.statistic == pytest.approx(statistic, rel=1e-9)
    assert made.fixed.method == "post_stratified_welch_t"
    # Of equal spreads the larger of two estimates of the variance is taken, so z is never farther out.
    assert abs(made.contrast.standardized()) <= abs(statistic) * (1 + 1e-12)
    assert made.contrast.standardized() == pytest.approx(statistic, rel=0.1)
    assert made.information == pytest.approx(float(weights**2 @ variances), rel=1e-9)
    assert made.is_ready


def test_every_kind_of_sample_is_contrasted() -> None:
    generator = np.random.default_rng(2)
    views = generator.poisson(4, (2, 500)) + 1
    clicks = generator.binomial(views, [[0.2], [0.3]])
    ratio = [
        Stratum(
            label="1",
            groups=tuple(
                RatioSample.from_values(n.tolist(), d.tolist()) for n, d in zip(clicks, views, strict=True)
            ),
        )
    ]
    made = contrast_metric(RATIO, ratio, 1)
    assert made.contrast is not None
    assert made.contrast.relative_lift == pytest.approx(
        clicks[1].sum() / views[1].sum() / (clicks[0].sum() / views[0].sum()) - 1
    )
    assert estimate_strata(RATIO, ratio)[1] == "delta_method_t"
    past = generator.normal(5, 2, (2, 500))
    outcome = past + generator.normal([[0.0], [0.3]], 0.5, (2, 500))
    covered = [
        Stratum(
            label="1",
            groups=tuple(
                CovariateSample.from_values(y.tolist(), x.tolist())
                for y, x in zip(outcome, past, strict=True)
            ),
        )
    ]
    plain = [
        Stratum(label=each.label, groups=tuple(sample.outcome for sample in each.groups)) for each in covered
    ]
    adjusted, unadjusted = contrast_metric(MEAN, covered, 1), contrast_metric(MEAN, plain, 1)
    assert adjusted.contrast is not None
    assert unadjusted.contrast is not None
    assert adjusted.contrast.effective_users == pytest.approx(500, rel=0.02)
    assert adjusted.contrast.standardized() > 2 * abs(unadjusted.contrast.standardized())
    without_past = [
        Stratum(
            label="1",
            groups=tuple(CovariateSample.from_values(y.tolist(), [0.0] * 500) for y in outcome),
        )
    ]
    assert contrast_metric(MEAN, without_past, 1) == unadjusted


def test_what_cannot_be_compared_is_not() -> None:
    for metric, strata in (
        (CONVERSION_RATE, [Stratum(label="1", groups=(GroupCounts(users=0), GroupCounts(users=5)))]),
        (MEAN, strata_of((MeanSample(), MeanSample.from_values([1.0, 2.0])))),
        (MEAN, strata_of((MeanSample.from_values([2.0, 2.0]), MeanSample.from_values([2.0, 2.0])))),
        (MEAN, []),
    ):
        made = contrast_metric(metric, strata, 1)
        assert (made.contrast, made.fixed, made.information, made.is_ready) == (None, None, 0.0, False)
