"""Metrics from the wire and back: what they mean, and what is refused by field."""

from datetime import timedelta
from typing import Any

import pytest

from gen.campaigns.abtest.v1 import metrics_pb2
from gen.campaigns.abtest.v1.tests_pb2 import CreateTestRequest
from services.abtest.convert.metrics import metric_to_proto, metrics_from_proto
from services.abtest.convert.violations import Violations
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
from services.common.errors import InvalidArgumentError

CLICKS, IMPRESSIONS = Measure(source=MeasureSource.CLICKED), Measure(source=MeasureSource.DELIVERED)


def read(request: CreateTestRequest) -> tuple[Metric, ...]:
    violations = Violations()
    metrics = metrics_from_proto(request, violations)
    violations.raise_any()
    return metrics


def refused_fields(request: CreateTestRequest) -> dict[str, str]:
    with pytest.raises(InvalidArgumentError) as refused:
        read(request)
    return {violation.field: violation.reason for violation in refused.value.violations}


def test_a_test_that_names_no_metric_measures_conversions() -> None:
    assert read(CreateTestRequest()) == (CONVERSION_RATE,)


@pytest.mark.parametrize(
    ("message", "metric"),
    [
        (
            metrics_pb2.Metric(metric_type="conversion", window_hours=168),
            Metric(
                name="conversion_rate",
                role=MetricRole.PRIMARY,
                kind=MetricKind.PROPORTION,
                numerator=CONVERSIONS,
                window=timedelta(days=7),
            ),
        ),
        (
            metrics_pb2.Metric(
                metric_type="revenue_per_user",
                winsorize_quantile=0.99,
                covariate_days=28,
                metric_name="money",
            ),
            Metric(
                name="money",
                role=MetricRole.PRIMARY,
                kind=MetricKind.MEAN,
                numerator=REVENUE,
                winsorize_quantile=0.99,
                covariate_days=28,
            ),
        ),
        (
            metrics_pb2.Metric(metric_type="ratio", numerator="clicks", denominator="impressions"),
            Metric(
                name="ctr",
                role=MetricRole.PRIMARY,
                kind=MetricKind.RATIO,
                numerator=CLICKS,
                denominator=IMPRESSIONS,
            ),
        ),
        (
            metrics_pb2.Metric(
                metric_type="custom_event", custom_event_name="app_deleted", higher_is_better=False
            ),
            Metric(
                name="custom_event",
                role=MetricRole.PRIMARY,
                kind=MetricKind.PROPORTION,
                numerator=Measure(source=MeasureSource.CUSTOM, custom_event_name="app_deleted"),
                higher_is_better=False,
            ),
        ),
        (
            metrics_pb2.Metric(metric_type="custom_event_count", custom_event_name="share"),
            Metric(
                name="custom_event_count",
                role=MetricRole.PRIMARY,
                kind=MetricKind.MEAN,
                numerator=Measure(source=MeasureSource.CUSTOM, custom_event_name="share"),
            ),
        ),
    ],
    ids=lambda value: value.metric_type if isinstance(value, metrics_pb2.Metric) else "",
)
def test_a_metric_is_read_and_told_again(message: metrics_pb2.Metric, metric: Metric) -> None:
    assert read(CreateTestRequest(primary_metric=message)) == (metric,)
    assert read(CreateTestRequest(primary_metric=metric_to_proto(metric))) == (metric,)


def test_metrics_come_primary_first_then_secondary_then_guardrails() -> None:
    metrics = read(
        CreateTestRequest(
            secondary_metrics=[metrics_pb2.Metric(metric_type="revenue_per_user")],
            guardrail_metrics=[
                metrics_pb2.Metric(
                    metric_type="ratio",
                    numerator="conversions",
                    denominator="views",
                    non_inferiority_margin=0.02,
                )
            ],
        )
    )
    assert [(metric.name, metric.role) for metric in metrics] == [
        ("conversion_rate", MetricRole.PRIMARY),
        ("revenue_per_user", MetricRole.SECONDARY),
        ("conversions_per_views", MetricRole.GUARDRAIL),
    ]
    assert metrics[2].non_inferiority_margin == 0.02


@pytest.mark.parametrize(
    ("fields", "refused"),
    [
        ({}, {"metric_type": "FIELD_REQUIRED"}),
        ({"metric_type": "happiness"}, {"metric_type": "VALUE_UNKNOWN"}),
        ({"metric_type": "conversion", "metric_name": "Conversion Rate"}, {"metric_name": "TEXT_INVALID"}),
        ({"metric_type": "conversion", "window_hours": 0}, {"window_hours": "VALUE_OUT_OF_RANGE"}),
        ({"metric_type": "conversion", "window_hours": 8785}, {"window_hours": "VALUE_OUT_OF_RANGE"}),
        ({"metric_type": "conversion", "covariate_days": 7}, {"covariate_days": "METRIC_INVALID"}),
        ({"metric_type": "conversion", "winsorize_quantile": 0.9}, {"winsorize_quantile": "METRIC_INVALID"}),
        ({"metric_type": "conversion", "numerator": "clicks"}, {"numerator": "METRIC_INVALID"}),
        ({"metric_type": "conversion", "custom_event_name": "x"}, {"custom_event_name": "METRIC_INVALID"}),
        ({"metric_type": "custom_event"}, {"custom_event_name": "FIELD_REQUIRED"}),
        ({"metric_type": "ratio"}, {"numerator": "METRIC_INVALID", "denominator": "METRIC_INVALID"}),
        (
            {"metric_type": "ratio", "numerator": "clicks", "denominator": "clicks"},
            {"denominator": "METRIC_INVALID"},
        ),
        (
            {"metric_type": "ratio", "numerator": "likes", "denominator": "views"},
            {"numerator": "VALUE_UNKNOWN"},
        ),
        (
            {"metric_type": "revenue_per_user", "winsorize_quantile": 1.0},
            {"winsorize_quantile": "VALUE_OUT_OF_RANGE"},
        ),
        (
            {"metric_type": "revenue_per_user", "covariate_days": 181},
            {"covariate_days": "VALUE_OUT_OF_RANGE"},
        ),
        (
            {"metric_type": "conversion", "non_inferiority_margin": 0.1},
            {"non_inferiority_margin": "METRIC_INVALID"},
        ),
    ],
)
def test_a_wrong_metric_is_refused_by_field(fields: dict[str, Any], refused: dict[str, str]) -> None:
    request = CreateTestRequest(primary_metric=metrics_pb2.Metric(**fields))
    expected = {f"primary_metric.{field}": reason for field, reason in refused.items()}
    found = refused_fields(request)
    assert expected.items() <= found.items()
    assert set(found) <= {*expected, "primary_metric.metric_name"}


@pytest.mark.parametrize(("margin", "reason"), [(None, "METRIC_INVALID"), (0.0, "VALUE_OUT_OF_RANGE")])
def test_a_guardrail_needs_a_margin(margin: float | None, reason: str) -> None:
    guardrail = metrics_pb2.Metric(metric_type="revenue_per_user", non_inferiority_margin=margin)
    assert refused_fields(CreateTestRequest(guardrail_metrics=[guardrail])) == {
        "guardrail_metrics[0].non_inferiority_margin": reason
    }


def test_two_metrics_of_one_name_and_too_many_are_refused() -> None:
    conversion = metrics_pb2.Metric(metric_type="conversion")
    assert refused_fields(CreateTestRequest(secondary_metrics=[conversion])) == {
        "secondary_metrics[0].metric_name": "DUPLICATE_ENTRY"
    }
    many = [metrics_pb2.Metric(metric_type="revenue_per_user", metric_name=f"m{n}") for n in range(21)]
    assert refused_fields(CreateTestRequest(secondary_metrics=many)) == {
        "secondary_metrics": "VALUE_OUT_OF_RANGE"
    }
