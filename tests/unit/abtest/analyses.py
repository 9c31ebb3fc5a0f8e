"""Analyses of counts and amounts, as tests ask for them."""

from services.abtest.domain.metrics import (
    REVENUE,
    Measure,
    MeasureSource,
    Metric,
    MetricKind,
    MetricRole,
)
from services.abtest.domain.model import (
    GroupCounts,
)
from services.abtest.domain.outcomes import MetricOutcome
from services.abtest.domain.samples import CovariateSample, MeanSample, RatioSample, Stratum

REVENUE_PER_USER = Metric(
    name="revenue_per_user", role=MetricRole.SECONDARY, kind=MetricKind.MEAN, numerator=REVENUE
)
CTR = Metric(
    name="ctr",
    role=MetricRole.SECONDARY,
    kind=MetricKind.RATIO,
    numerator=Measure(source=MeasureSource.CLICKED),
    denominator=Measure(source=MeasureSource.DELIVERED),
)


def single(
    metric: Metric, *groups: GroupCounts | MeanSample | CovariateSample | RatioSample
) -> MetricOutcome:
    return MetricOutcome(metric=metric, strata=(Stratum(label="1", groups=groups),))
