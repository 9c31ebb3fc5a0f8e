"""Gathering what an analysis starts from, all of it from one snapshot of the database."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

from services.abtest.domain.exposure_days import LONGEST_DAYS, count_days
from services.abtest.domain.metrics import (
    CONVERSION_RATE,
    CONVERSIONS,
    MeasureSource,
    Metric,
    MetricKind,
    longest_window,
)
from services.abtest.domain.model import ABTest, DecisionMethod, EpochCounts, GroupCounts
from services.abtest.domain.outcomes import MetricOutcome, Outcomes, SegmentCell
from services.abtest.domain.samples import Stratum
from services.abtest.store import outcomes as store
from services.abtest.store.outcomes import ALL, AssignedUsers, Cut, MetricCells
from services.common.database import Connection


@dataclass(frozen=True, kw_only=True)
class Breakdowns:
    """How results are cut beside the total."""

    by_segment: bool = False
    by_day: bool = False


async def gather_outcomes(
    connection: Connection, test: ABTest, breakdowns: Breakdowns, *, as_of: datetime
) -> Outcomes:
    """Return what the users of a test did."""
    limits = await store.fetch_limits(connection, test)
    currency_codes = limits.currency_codes
    users = await store.fetch_users(connection, test)
    metrics = await _fetch_metrics(connection, test, users, ALL, currency_codes)
    cohort, cohort_users, counted_until = await _fetch_cohort(connection, test, users, currency_codes)
    return Outcomes(
        epochs=await _count_conversions(connection, test, users, metrics[0]),
        metrics=tuple(metrics),
        cohort=cohort,
        cohort_users=cohort_users,
        matured=await _is_matured(connection, test, counted_until, as_of),
        cells=await _fetch_segments(connection, test, currency_codes) if breakdowns.by_segment else None,
        days=await _fetch_days(connection, test, as_of) if breakdowns.by_day else None,
        incomplete_until=_incomplete_until(test, limits),
    )


async def _fetch_metrics(
    connection: Connection, test: ABTest, users: AssignedUsers, cut: Cut, currency_codes: Sequence[str]
) -> list[MetricOutcome]:
    """Return every metric's outcomes by weight epoch."""
    return [
        await fetch_outcome(connection, test, metric, users, currency_codes=currency_codes, cut=cut)
        for metric in test.design.metrics
    ]


async def fetch_outcome(
    connection: Connection,
    test: ABTest,
    metric: Metric,
    users: AssignedUsers,
    *,
    currency_codes: Sequence[str],
    cut: Cut = ALL,
) -> MetricOutcome:
    """Return a metric's outcomes by weight epoch; money in several currencies is not added up."""
    if _counts_money(metric) and len(currency_codes) > 1:
        reason = f"the groups' campaigns count in {' and '.join(currency_codes)}"
        return MetricOutcome(metric=metric, strata=(), no_data_reason=reason)
    currency_code = _only(currency_codes)
    cells = await store.fetch_samples(connection, test, metric, users, cut, currency_code=currency_code)
    return _outcome(metric, cells)


def _counts_money(metric: Metric) -> bool:
    measures = (metric.numerator, metric.denominator)
    return any(measure is not None and measure.source is MeasureSource.REVENUE for measure in measures)


def _only(currency_codes: Sequence[str]) -> str | None:
    return currency_codes[0] if len(currency_codes) == 1 else None


async def _count_conversions(
    connection: Connection, test: ABTest, users: AssignedUsers, primary: MetricOutcome
) -> tuple[EpochCounts, ...]:
    """Return users and converting users, whatever the metrics; the primary one's are not asked twice."""
    metric = primary.metric
    if metric.kind is MetricKind.PROPORTION and metric.window is None and metric.numerator == CONVERSIONS:
        strata = primary.strata
    else:
        cells = await store.fetch_samples(connection, test, CONVERSION_RATE, users)
        strata = _outcome(CONVERSION_RATE, cells).strata
    return tuple(
        EpochCounts(
            epoch=int(stratum.label),
            weights=users.weights[int(stratum.label)],
            groups=tuple(sample for sample in stratum.groups if isinstance(sample, GroupCounts)),
        )
        for stratum in strata
    )


def _outcome(metric: Metric, cells: MetricCells) -> MetricOutcome:
    """Return a metric's samples by weight epoch, where cells are not told apart by segments."""
    return MetricOutcome(
        metric=metric,
        strata=tuple(
            Stratum(label=str(cell[0]), groups=cells.samples[cell])
            for cell in sorted(cells.samples, key=lambda cell: cell[0])
        ),
        winsorize_cap=cells.winsorize_cap,
    )


async def _fetch_cohort(
    connection: Connection, test: ABTest, users: AssignedUsers, currency_codes: Sequence[str]
) -> tuple[tuple[MetricOutcome, ...] | None, int | None, datetime | None]:
    """Return the outcomes of the users assigned until every group had its target, where others came later.

    With how many users these are, and until when they were assigned: None where nobody came later, or the
    method does not plan its looks.
    """
    target = test.design.target_sample_size
    totals = [sum(groups) for groups in zip(*users.cells.values(), strict=True)]
    if test.design.decision_method is DecisionMethod.ANYTIME or not totals or min(totals) < target:
        return None, None, None
    reached_at = await store.fetch_horizon(connection, test.test_id, target)
    if reached_at is None:
        return None, None, None
    cut = Cut(assigned_until=reached_at)
    cohort = await store.fetch_users(connection, test, cut)
    if cohort.cells == users.cells:
        return None, None, reached_at
    outcomes = await _fetch_metrics(connection, test, cohort, cut, currency_codes)
    return tuple(outcomes), sum(sum(groups) for groups in cohort.cells.values()), reached_at


async def _is_matured(
    connection: Connection, test: ABTest, counted_until: datetime | None, as_of: datetime
) -> bool:
    """Return whether the longest window of every counted user has passed."""
    window = longest_window(test.design.metrics)
    if not window:
        return True
    last = counted_until or await store.fetch_last_assignment(connection, test.test_id)
    return last is None or last + window <= as_of


async def _fetch_segments(
    connection: Connection, test: ABTest, currency_codes: Sequence[str]
) -> tuple[SegmentCell, ...]:
    """Return the primary metric's outcomes by segments; nothing where its amounts cannot be compared."""
    cut, metric = Cut(by_segment=True), test.design.metrics[0]
    if _counts_money(metric) and len(currency_codes) > 1:
        return ()
    users = await store.fetch_users(connection, test, cut)
    samples = await store.fetch_samples(
        connection, test, metric, users, cut, currency_code=_only(currency_codes)
    )
    names: Mapping[int, tuple[str, ...]] = await store.list_segment_sets(
        connection, sorted({segment_set for _, segment_set in users.cells if segment_set is not None})
    )
    return tuple(
        SegmentCell(
            epoch=epoch,
            weights=users.weights[epoch],
            segments=frozenset(() if segment_set is None else names.get(segment_set, ())),
            users=users.cells[epoch, segment_set],
            samples=samples.samples[epoch, segment_set],
        )
        for epoch, segment_set in sorted(users.cells, key=lambda cell: (cell[0], cell[1] or 0))
    )


async def _fetch_days(
    connection: Connection, test: ABTest, as_of: datetime
) -> tuple[Stratum[GroupCounts], ...]:
    users = await store.fetch_first_conversions(
        connection, test, test.design.metrics[0], as_of=as_of, days=LONGEST_DAYS
    )
    return count_days(users, len(test.design.groups))


def _incomplete_until(test: ABTest, limits: store.OutcomeLimits) -> datetime | None:
    """Return the end of the days whose single events are gone, where the test had begun by then."""
    if limits.sealed_through is None or limits.reporting_time_zone is None:
        return None
    zone = ZoneInfo(limits.reporting_time_zone)
    end = datetime.combine(limits.sealed_through + timedelta(days=1), time(), tzinfo=zone).astimezone(UTC)
    return end if end > (test.started_at or test.created_at) else None
