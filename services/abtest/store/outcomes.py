"""Statements of what users did after they were assigned."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal

from services.abtest.domain.assignment import bucket_shares
from services.abtest.domain.contrasts import Sample
from services.abtest.domain.metrics import CONVERSIONS, Measure, MeasureSource, Metric, MetricKind
from services.abtest.domain.model import ABTest, GroupCounts
from services.abtest.domain.samples import CovariateSample, MeanSample, RatioSample, exact_deviations
from services.abtest.store.statements import STATEMENTS, Connection, Record

MICROS = 1_000_000
Cell = tuple[int, int | None]
"""A weight epoch, and a set of segments: None for none, and where segments are not told apart."""


@dataclass(frozen=True, kw_only=True)
class AssignedUsers:
    """Assigned users of each group by cell, and by epoch the shares in which the groups were drawn."""

    cells: Mapping[Cell, tuple[int, ...]]
    weights: Mapping[int, tuple[float, ...]]


@dataclass(frozen=True, kw_only=True)
class MetricCells:
    """A metric's sample of each group by cell, and the cap of a winsorised mean in the metric's unit."""

    samples: Mapping[Cell, tuple[Sample, ...]]
    winsorize_cap: float | None = None


@dataclass(frozen=True, kw_only=True)
class OutcomeLimits:
    """What bounds outcomes: the last day whose single events are gone, and the campaigns' currencies."""

    reporting_time_zone: str | None
    sealed_through: date | None
    currency_codes: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Cut:
    """Which users are counted: those assigned until a time (None: all), told apart by segments or not."""

    assigned_until: datetime | None = None
    by_segment: bool = False


ALL = Cut()


async def fetch_users(connection: Connection, test: ABTest, cut: Cut = ALL) -> AssignedUsers:
    """Return the assigned users; without a cut at a cost that their number does not change."""
    if cut == ALL:
        rows = await connection.fetch(STATEMENTS["list_epoch_users"].sql, test.test_id)
    else:
        rows = await connection.fetch(
            STATEMENTS["list_cohort_users"].sql, test.test_id, cut.assigned_until, cut.by_segment
        )
    groups = len(test.design.groups)
    cells: dict[Cell, list[int]] = {}
    for row in rows:
        cells.setdefault(_cell(row), [0] * groups)[row["group_index"]] = row["users"]
    return AssignedUsers(
        cells={cell: tuple(users) for cell, users in cells.items()},
        weights={row["epoch"]: bucket_shares(tuple(row["weights"]), row["coverage"]) for row in rows},
    )


async def fetch_samples(
    connection: Connection,
    test: ABTest,
    metric: Metric,
    users: AssignedUsers,
    cut: Cut = ALL,
    *,
    currency_code: str | None = None,
) -> MetricCells:
    """Return what the users of each cell of `users`, counted by the same `cut`, amount to.

    `currency_code` is that of a covariate in money.
    """
    scope = (
        test.test_id,
        [group.campaign_id for group in test.design.groups],
        test.created_at,
        metric.window,
        cut.assigned_until,
        cut.by_segment,
    )
    if metric.kind is MetricKind.PROPORTION and metric.numerator.source <= MeasureSource.CONVERTED:
        rows = await connection.fetch(
            STATEMENTS["list_converting_users"].sql, *scope, metric.numerator.source
        )
    else:
        denominator = metric.denominator
        rows = await connection.fetch(
            STATEMENTS["list_amounts"].sql,
            *scope,
            metric.numerator.source,
            metric.numerator.custom_event_name,
            denominator.source if denominator else None,
            denominator.custom_event_name if denominator else None,
            metric.winsorize_quantile,
            metric.covariate_days,
            currency_code,
        )
    found = {(_cell(row), row["group_index"]): row for row in rows}
    return MetricCells(
        samples={
            cell: tuple(
                _sample(metric, count, found.get((cell, index))) for index, count in enumerate(groups)
            )
            for cell, groups in users.cells.items()
        },
        winsorize_cap=next(
            (float(row["cap"]) / _unit(metric.numerator) for row in rows if row.get("cap") is not None), None
        ),
    )


async def fetch_first_conversions(
    connection: Connection, test: ABTest, metric: Metric, *, as_of: datetime, days: int
) -> Mapping[tuple[int, int, int, int | None], int]:
    """Return users by weight epoch, group, whole days since exposure (at most `days`), day of conversion.

    The day is None for users who have not converted, and below 0 for those who did before their exposure.
    """
    source = (
        metric.numerator.source if metric.numerator.source <= MeasureSource.CONVERTED else CONVERSIONS.source
    )
    rows = await connection.fetch(
        STATEMENTS["list_first_conversions"].sql,
        test.test_id,
        [group.campaign_id for group in test.design.groups],
        test.created_at,
        metric.window,
        source,
        as_of,
        days,
    )
    return {
        (row["epoch"], row["group_index"], row["observed_days"], row["first_day"]): row["users"]
        for row in rows
    }


async def list_segment_sets(
    connection: Connection, segment_set_ids: Sequence[int]
) -> Mapping[int, tuple[str, ...]]:
    """Return the names of the segments in these sets."""
    rows = await connection.fetch(STATEMENTS["list_segment_sets"].sql, list(segment_set_ids))
    return {row["segment_set_id"]: tuple(row["segments"]) for row in rows}


async def fetch_last_assignment(connection: Connection, test_id: str) -> datetime | None:
    """Return when the last user of a test was assigned; None without users."""
    at: datetime | None = await connection.fetchval(STATEMENTS["fetch_last_assignment"].sql, test_id)
    return at


async def fetch_horizon(connection: Connection, test_id: str, target_sample_size: int) -> datetime | None:
    """Return when every group had its target, None before."""
    at: datetime | None = await connection.fetchval(
        STATEMENTS["fetch_horizon"].sql, test_id, target_sample_size
    )
    return at


async def fetch_limits(connection: Connection, test: ABTest) -> OutcomeLimits:
    """Return what bounds the outcomes of a test."""
    campaigns = [group.campaign_id for group in test.design.groups]
    (row,) = await connection.fetch(STATEMENTS["fetch_outcome_limits"].sql, campaigns)
    return OutcomeLimits(
        reporting_time_zone=row["reporting_time_zone"],
        sealed_through=row["sealed_through"],
        currency_codes=tuple(row["currency_codes"]),
    )


def _cell(row: Record) -> Cell:
    return row["epoch"], row.get("segment_set_id")


def _unit(measure: Measure) -> int:
    return MICROS if measure.source is MeasureSource.REVENUE else 1


def _sample(metric: Metric, users: int, row: Record | None) -> Sample:
    if metric.kind is MetricKind.PROPORTION:
        return GroupCounts(users=users, conversions=row["converting_users"] if row else 0)
    unit = _unit(metric.numerator)
    first = _mean_sample(users, row, "first", unit)
    if metric.denominator is None and metric.covariate_days is None:
        return first
    other_unit = _unit(metric.denominator or metric.numerator)
    second = _mean_sample(users, row, "second", other_unit)
    products = (
        exact_deviations(users, row["first_total"], row["second_total"], row["products"], unit * other_unit)
        if row
        else 0.0
    )
    if metric.denominator is None:
        return CovariateSample(outcome=first, covariate=second, cross_deviations=products)
    return RatioSample(numerator=first, denominator=second, cross_deviations=products)


def _mean_sample(users: int, row: Record | None, name: str, unit: int) -> MeanSample:
    zero = Decimal(0)
    return MeanSample.from_sums(
        users=users,
        total=row[f"{name}_total"] if row else zero,
        squares=row[f"{name}_squares"] if row else zero,
        unit=unit,
    )
