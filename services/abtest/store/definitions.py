"""Statements of tests as they are defined."""

import json
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from services.abtest.domain.history import HistoryFilters
from services.abtest.domain.metrics import (
    CONVERSION_RATE,
    Measure,
    MeasureSource,
    Metric,
    MetricKind,
    MetricRole,
)
from services.abtest.domain.model import ABTest, DecisionMethod, Group, Status, TestDesign, WeightEpoch
from services.abtest.store.statements import STATEMENTS, Connection, Record

REQUEST_ID_CONSTRAINT: Final = "ab_tests_request_id_key"
"""The name of the violation that tells of a request_id taken by a concurrent request."""


async def list_known_campaigns(connection: Connection, campaign_ids: Sequence[str]) -> set[str]:
    """Return those of `campaign_ids` that the catalog has."""
    rows = await connection.fetch(STATEMENTS["list_known_campaigns"].sql, list(campaign_ids))
    return {row["campaign_id"] for row in rows}


async def list_currencies(connection: Connection, campaign_ids: Sequence[str]) -> dict[str, str]:
    """Return the currencies of those of `campaign_ids` that have one."""
    rows = await connection.fetch(STATEMENTS["list_currencies"].sql, list(campaign_ids))
    return {row["campaign_id"]: row["currency_code"] for row in rows}


async def insert_test(connection: Connection, test: ABTest, request_id: str | None) -> None:
    """Add a test, its groups, its metrics and its first weight epoch."""
    design = test.design
    await connection.execute(
        STATEMENTS["insert_test"].sql,
        test.test_id,
        design.test_name,
        test.status,
        design.decision_method,
        design.target_sample_size,
        design.confidence_level,
        design.minimum_detectable_effect,
        design.seed,
        test.epoch.number,
        request_id,
        test.created_at,
        design.hypothesis,
        design.planned_duration_days,
        design.planned_looks,
        test.starts_at,
        test.started_at,
        test.ends_at,
    )
    await connection.execute(
        STATEMENTS["insert_groups"].sql,
        test.test_id,
        [group.name for group in design.groups],
        [group.campaign_id for group in design.groups],
    )
    columns = zip(*(_metric_columns(metric) for metric in design.metrics), strict=True)
    await connection.execute(
        STATEMENTS["insert_metrics"].sql, test.test_id, *(list(column) for column in columns)
    )
    await insert_weight_epoch(connection, test, test.created_at)


async def insert_weight_epoch(connection: Connection, test: ABTest, started_at: datetime) -> None:
    """Add a test's current weight epoch."""
    await connection.execute(
        STATEMENTS["insert_weight_epoch"].sql,
        test.test_id,
        test.epoch.number,
        test.epoch.weights,
        test.epoch.coverage,
        started_at,
    )


async def update_test(connection: Connection, test: ABTest) -> None:
    """Write what of a test may change; needs lock_test."""
    design = test.design
    await connection.execute(
        STATEMENTS["update_test"].sql,
        test.test_id,
        design.test_name,
        design.hypothesis,
        design.planned_duration_days,
        design.target_sample_size,
        design.confidence_level,
        design.minimum_detectable_effect,
        test.starts_at,
        test.ends_at,
        test.status,
        test.started_at,
        test.ended_at,
        test.epoch.number,
    )


async def lock_test(connection: Connection, test_id: str) -> None:
    """Wait for assignments under way, and hold up later ones and changes until the transaction is over."""
    await connection.execute(STATEMENTS["lock_test"].sql, test_id)


async def list_tests_by_id(connection: Connection, test_ids: Sequence[str]) -> dict[str, ABTest]:
    """Return those of `test_ids` that exist."""
    rows = await connection.fetch(STATEMENTS["list_tests_by_id"].sql, list(test_ids))
    return {row["test_id"]: _test(row) for row in rows}


async def fetch_request(connection: Connection, request_id: str) -> tuple[str, list[Any] | None] | None:
    """Return the test_id that `request_id` created, and the differences kept of its creation, if any are."""
    row = await connection.fetchrow(STATEMENTS["fetch_request"].sql, request_id)
    if row is None:
        return None
    return row["test_id"], None if row["differences"] is None else json.loads(row["differences"])


async def list_tests(
    connection: Connection, filters: HistoryFilters, before: tuple[datetime, str], limit: int
) -> list[ABTest]:
    """Return at most `limit` tests created before (time, test_id), the newest first."""
    rows = await connection.fetch(
        STATEMENTS["list_tests"].sql,
        *before,
        limit,
        list(filters.statuses),
        filters.campaign_id,
        filters.decision_method,
        filters.verdict,
        filters.created_from,
        filters.created_until,
        filters.name_contains,
    )
    return [_test(row) for row in rows]


async def list_weight_epochs(connection: Connection, test_id: str) -> list[tuple[WeightEpoch, datetime]]:
    """Return a test's weight epochs and when they began, the first one first."""
    rows = await connection.fetch(STATEMENTS["list_weight_epochs"].sql, test_id)
    return [
        (
            WeightEpoch(number=row["epoch"], weights=tuple(row["weights"]), coverage=row["coverage"]),
            row["started_at"],
        )
        for row in rows
    ]


async def list_due_starts(connection: Connection, now: datetime) -> list[str]:
    """Return the scheduled tests whose start has come."""
    return [row["test_id"] for row in await connection.fetch(STATEMENTS["list_due_starts"].sql, now)]


async def list_due_ends(connection: Connection, now: datetime, unfinished_since: datetime) -> list[str]:
    """Return the tests whose end has come, and those ended by `unfinished_since` without a final result."""
    rows = await connection.fetch(STATEMENTS["list_due_ends"].sql, now, unfinished_since)
    return [row["test_id"] for row in rows]


def _test(row: Record) -> ABTest:
    return ABTest(
        test_id=row["test_id"],
        design=TestDesign(
            test_name=row["test_name"],
            groups=tuple(
                Group(name=name, campaign_id=campaign_id)
                for name, campaign_id in zip(row["group_names"], row["campaign_ids"], strict=True)
            ),
            target_sample_size=row["target_sample_size"],
            confidence_level=row["confidence_level"],
            decision_method=DecisionMethod(row["decision_method"]),
            minimum_detectable_effect=row["minimum_detectable_effect"],
            seed=row["hash_seed"],
            planned_looks=row["planned_looks"],
            metrics=tuple(_metric(json.loads(text)) for text in row["metrics"]) or (CONVERSION_RATE,),
            hypothesis=row["hypothesis"],
            planned_duration_days=row["planned_duration_days"],
        ),
        status=Status(row["status"]),
        epoch=WeightEpoch(number=row["epoch"], weights=tuple(row["weights"]), coverage=row["coverage"]),
        created_at=row["created_at"],
        ended_at=row["ended_at"],
        starts_at=row["starts_at"],
        started_at=row["started_at"],
        ends_at=row["ends_at"],
    )


def _metric_columns(metric: Metric) -> tuple[str | int | float | bool | None, ...]:
    """Return the columns of insert_metrics."""
    window, denominator = metric.window, metric.denominator
    return (
        metric.name,
        metric.role,
        metric.kind,
        metric.numerator.source,
        metric.numerator.custom_event_name,
        None if denominator is None else denominator.source,
        None if denominator is None else denominator.custom_event_name,
        None if window is None else window // timedelta(hours=1),
        metric.winsorize_quantile,
        metric.covariate_days,
        metric.non_inferiority_margin,
        metric.higher_is_better,
    )


def _metric(kept: dict[str, Any]) -> Metric:
    window, denominator = kept["window_hours"], kept["denominator_source"]
    return Metric(
        name=kept["name"],
        role=MetricRole(kept["role"]),
        kind=MetricKind(kept["kind"]),
        numerator=_measure(kept["numerator_source"], kept["numerator_event_name"]),
        denominator=None if denominator is None else _measure(denominator, kept["denominator_event_name"]),
        window=None if window is None else timedelta(hours=window),
        winsorize_quantile=kept["winsorize_quantile"],
        covariate_days=kept["covariate_days"],
        non_inferiority_margin=kept["non_inferiority_margin"],
        higher_is_better=kept["higher_is_better"],
    )


def _measure(source: int, custom_event_name: str | None) -> Measure:
    return Measure(source=MeasureSource(source), custom_event_name=custom_event_name)
