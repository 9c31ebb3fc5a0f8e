"""What a test measures, on the wire."""

import re
from collections.abc import Sequence
from datetime import timedelta
from typing import Final

from gen.campaigns.abtest.v1 import metrics_pb2, tests_pb2
from services.abtest.convert.violations import LONGEST_ID, Violations
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

MOST_METRICS: Final = 20
_NAME: Final = re.compile(r"[a-z0-9_]{1,64}")
_LONGEST_WINDOW_HOURS, _LONGEST_COVARIATE_DAYS = 8784, 180
_LOWEST_QUANTILE, _HIGHEST_QUANTILE = 0.5, 0.9999
_KINDS: Final = {
    "conversion": MetricKind.PROPORTION,
    "revenue_per_user": MetricKind.MEAN,
    "ratio": MetricKind.RATIO,
    "custom_event": MetricKind.PROPORTION,
    "custom_event_count": MetricKind.MEAN,
}
_SOURCES: Final = {
    "impressions": MeasureSource.DELIVERED,
    "views": MeasureSource.VIEWED,
    "clicks": MeasureSource.CLICKED,
    "conversions": MeasureSource.CONVERTED,
    "revenue": MeasureSource.REVENUE,
}
_AMOUNTS: Final = {source: name for name, source in _SOURCES.items()}
_CTR: Final = ("clicks", "impressions")


def metrics_from_proto(request: tests_pb2.CreateTestRequest, violations: Violations) -> tuple[Metric, ...]:
    """Return what a test is to measure, the primary metric first; what is wrong is noted."""
    roles: list[tuple[str, metrics_pb2.Metric, MetricRole]] = []
    if request.HasField("primary_metric"):
        roles.append(("primary_metric", request.primary_metric, MetricRole.PRIMARY))
    for field, messages, role in (
        ("secondary_metrics", request.secondary_metrics, MetricRole.SECONDARY),
        ("guardrail_metrics", request.guardrail_metrics, MetricRole.GUARDRAIL),
    ):
        violations.check(
            len(messages) <= MOST_METRICS, field, f"must be at most {MOST_METRICS}", "VALUE_OUT_OF_RANGE"
        )
        roles += [(f"{field}[{index}]", message, role) for index, message in enumerate(messages)]
    metrics = [_metric(message, field, role, violations) for field, message, role in roles]
    if not request.HasField("primary_metric"):
        roles.insert(0, ("primary_metric", metrics_pb2.Metric(), MetricRole.PRIMARY))
        metrics.insert(0, CONVERSION_RATE)
    _check_names([field for field, _, _ in roles], metrics, violations)
    return tuple(metrics)


def metric_to_proto(metric: Metric) -> metrics_pb2.Metric:
    """Return a metric as it was asked for."""
    return metrics_pb2.Metric(
        metric_name=metric.name,
        metric_type=metric_type(metric),
        numerator=_AMOUNTS[metric.numerator.source] if metric.denominator else "",
        denominator=_AMOUNTS[metric.denominator.source] if metric.denominator else "",
        custom_event_name=metric.numerator.custom_event_name or "",
        window_hours=None if metric.window is None else metric.window // timedelta(hours=1),
        higher_is_better=metric.higher_is_better,
        winsorize_quantile=metric.winsorize_quantile,
        covariate_days=metric.covariate_days,
        non_inferiority_margin=metric.non_inferiority_margin,
    )


def metric_type(metric: Metric) -> str:
    """Return a metric's type by the wire's name."""
    if metric.kind is MetricKind.RATIO:
        return "ratio"
    if metric.numerator.source is MeasureSource.CUSTOM:
        return "custom_event" if metric.kind is MetricKind.PROPORTION else "custom_event_count"
    return "conversion" if metric.kind is MetricKind.PROPORTION else "revenue_per_user"


def _metric(message: metrics_pb2.Metric, field: str, role: MetricRole, violations: Violations) -> Metric:
    """Return one metric; whatever is wrong is noted, and stands in the answer as something that is right."""
    kind = _KINDS.get(message.metric_type)
    if kind is None:
        reason = "VALUE_UNKNOWN" if message.metric_type else "FIELD_REQUIRED"
        violations.check(False, f"{field}.metric_type", f"must be one of {', '.join(_KINDS)}", reason)
    _check_ranges(message, field, violations)
    _check_mean_fields(message, field, kind, violations)
    _check_margin(message, field, role, violations)
    numerator, denominator = _measures(message, field, violations)
    return Metric(
        name=message.metric_name or _default_name(message),
        role=role,
        kind=kind or MetricKind.PROPORTION,
        numerator=numerator,
        denominator=denominator,
        window=timedelta(hours=message.window_hours) if message.HasField("window_hours") else None,
        winsorize_quantile=message.winsorize_quantile if message.HasField("winsorize_quantile") else None,
        covariate_days=message.covariate_days if message.HasField("covariate_days") else None,
        non_inferiority_margin=message.non_inferiority_margin
        if message.HasField("non_inferiority_margin")
        else None,
        higher_is_better=message.higher_is_better if message.HasField("higher_is_better") else True,
    )


def _default_name(message: metrics_pb2.Metric) -> str:
    if message.metric_type == "conversion":
        return CONVERSION_RATE.name
    if message.metric_type == "ratio":
        parts = (message.numerator, message.denominator)
        return "ctr" if parts == _CTR else "_per_".join(parts)
    return message.metric_type


def _check_names(fields: Sequence[str], metrics: Sequence[Metric], violations: Violations) -> None:
    seen: set[str] = set()
    for field, metric in zip(fields, metrics, strict=True):
        violations.check(
            _NAME.fullmatch(metric.name) is not None,
            f"{field}.metric_name",
            "must have 1 to 64 characters of a to z, 0 to 9, _",
            "TEXT_INVALID",
        )
        violations.check(
            metric.name not in seen,
            f"{field}.metric_name",
            f"must be unique within the test: {metric.name!r} stands twice",
            "DUPLICATE_ENTRY",
        )
        seen.add(metric.name)


def _measures(
    message: metrics_pb2.Metric, field: str, violations: Violations
) -> tuple[Measure, Measure | None]:
    _check_ratio(message, field, violations)
    is_custom = message.metric_type in ("custom_event", "custom_event_count")
    if is_custom:
        violations.check_text(message.custom_event_name, f"{field}.custom_event_name", longest=LONGEST_ID)
        return Measure(source=MeasureSource.CUSTOM, custom_event_name=message.custom_event_name), None
    violations.check(
        not message.custom_event_name,
        f"{field}.custom_event_name",
        "belongs to a custom_event or a custom_event_count",
        "METRIC_INVALID",
    )
    if message.metric_type == "ratio":
        numerator, denominator = (
            Measure(source=_SOURCES.get(name, MeasureSource.CONVERTED))
            for name in (message.numerator, message.denominator)
        )
        return numerator, denominator
    return (REVENUE if message.metric_type == "revenue_per_user" else CONVERSIONS), None


def _check_ratio(message: metrics_pb2.Metric, field: str, violations: Violations) -> None:
    for part, name in (("numerator", message.numerator), ("denominator", message.denominator)):
        if message.metric_type != "ratio":
            violations.check(not name, f"{field}.{part}", "belongs to a ratio", "METRIC_INVALID")
        elif not name:
            violations.check(False, f"{field}.{part}", "must be set for a ratio", "METRIC_INVALID")
        else:
            violations.check(
                name in _SOURCES, f"{field}.{part}", f"must be one of {', '.join(_SOURCES)}", "VALUE_UNKNOWN"
            )
    if message.metric_type == "ratio" and message.numerator in _SOURCES:
        violations.check(
            message.numerator != message.denominator,
            f"{field}.denominator",
            "must be another amount than numerator",
            "METRIC_INVALID",
        )


def _check_ranges(message: metrics_pb2.Metric, field: str, violations: Violations) -> None:
    if message.HasField("window_hours"):
        violations.check(
            1 <= message.window_hours <= _LONGEST_WINDOW_HOURS,
            f"{field}.window_hours",
            f"must lie between 1 and {_LONGEST_WINDOW_HOURS}",
            "VALUE_OUT_OF_RANGE",
        )
    if message.HasField("winsorize_quantile"):
        violations.check(
            _LOWEST_QUANTILE <= message.winsorize_quantile <= _HIGHEST_QUANTILE,
            f"{field}.winsorize_quantile",
            f"must lie between {_LOWEST_QUANTILE} and {_HIGHEST_QUANTILE}",
            "VALUE_OUT_OF_RANGE",
        )
    if message.HasField("covariate_days"):
        violations.check(
            1 <= message.covariate_days <= _LONGEST_COVARIATE_DAYS,
            f"{field}.covariate_days",
            f"must lie between 1 and {_LONGEST_COVARIATE_DAYS}",
            "VALUE_OUT_OF_RANGE",
        )


def _check_mean_fields(
    message: metrics_pb2.Metric, field: str, kind: MetricKind | None, violations: Violations
) -> None:
    if kind in (MetricKind.MEAN, None):
        return
    for name in ("winsorize_quantile", "covariate_days"):
        violations.check(
            not message.HasField(name),
            f"{field}.{name}",
            "belongs to a mean: revenue_per_user or custom_event_count",
            "METRIC_INVALID",
        )


def _check_margin(message: metrics_pb2.Metric, field: str, role: MetricRole, violations: Violations) -> None:
    path, has_margin = f"{field}.non_inferiority_margin", message.HasField("non_inferiority_margin")
    if role is not MetricRole.GUARDRAIL:
        violations.check(not has_margin, path, "belongs to a guardrail", "METRIC_INVALID")
        return
    violations.check(has_margin, path, "must be set for a guardrail", "METRIC_INVALID")
    if has_margin:
        violations.check(
            0.0 < message.non_inferiority_margin < 1.0,
            path,
            "must be above 0 and below 1",
            "VALUE_OUT_OF_RANGE",
        )
