"""Gathering what an analysis starts from, all of it from one snapshot of the database."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

from services.abtest.domain.exposure_days import LONGEST_DAYS, count_days
from services.abtest.domain.metrics import CONVERSION_RATE, MeasureSource, Metric, MetricKind
from services.abtest.domain.model import ABTest, DecisionMethod, EpochCounts, GroupCounts
from services.abtest.domain.outcomes import MetricOutcome, Outcomes, SegmentCell
from services.abtest.domain.samples import Stratum
from services.abtest.store import outcomes as store
from services.abtest.store.outcomes import AssignedUsers, Cut, MetricCells
from services.common.database import Connection
from services.common.errors import FailedPreconditionError


@dataclass(frozen=True, kw_only=True)
class Breakdowns:
    """How results are cut beside the total."""

    by_segment: bool = False
    by_day: bool = False


async def gather_outcomes(
    connection: Connection, test: ABTest, breakdowns: Breakdowns, *, as_of: datetime
) -> Outcomes:
    """Return what the users of a test did.

    Raises:
        FailedPreconditionError: a metric adds up money, and the groups' campaigns count it differently.
    """
    limits = await store.fetch_limits(connection, test)
    currency_code = _common_currency(test, limits.currency_codes)
    users = await store.fetch_users(connection, test)
    metrics = [
        await store.fetch_samples(connection, test, metric, users, currency_code=currency_code)
        for metric in test.design.metrics
    ]
    conversions = await _fetch_conversions(connection, test, users, metrics[0])
    cohort, cohort_users, counted_until = await _fetch_cohort(connection, test, users, currency_code)
    return Outcomes(
        epochs=_epoch_counts(users, conversions),
        metrics=tuple(_outcome(*each) for each in zip(test.design.metrics, metrics, strict=True)),
        cohort=cohort,
        cohort_users=cohort_users,
        matured=await _is_matured(connection, test, counted_until, as_of),
        cells=await _fetch_segments(connection, test, currency_code) if breakdowns.by_segment else None,
        days=await _fetch_days(connection, test, as_of) if breakdowns.by_day else None,
        incomplete_until=_incomplete_until(test, limits),
    )


def _common_currency(test: ABTest, currency_codes: Sequence[str]) -> str | None:
    money = [
        metric.name
        for metric in test.design.metrics
        for measure in (metric.numerator, metric.denominator)
        if measure is not None and measure.source is MeasureSource.REVENUE
    ]
    if money and len(currency_codes) > 1:
        raise FailedPreconditionError(
            f"metric {money[0]}: the groups' campaigns count in {' and '.join(currency_codes)}, whose "
            "amounts cannot be compared",
            reason="CURRENCY_CONFLICT",
            metadata={"metric": money[0], "currency_codes": ",".join(currency_codes)},
        )
    return currency_codes[0] if len(currency_codes) == 1 else None


async def _fetch_conversions(
    connection: Connection, test: ABTest, users: AssignedUsers, primary: MetricCells
) -> MetricCells:
    metric = test.design.metrics[0]
    counts_conversions = metric.kind is MetricKind.PROPORTION and metric.window is None
    if counts_conversions and metric.numerator == CONVERSION_RATE.numerator:
        return primary
    return await store.fetch_samples(connection, test, CONVERSION_RATE, users)


def _epoch_counts(users: AssignedUsers, conversions: MetricCells) -> tuple[EpochCounts, ...]:
    return tuple(
        EpochCounts(
            epoch=cell[0],
            weights=users.weights[cell[0]],
            groups=tuple(sample for sample in conversions.samples[cell] if isinstance(sample, GroupCounts)),
        )
        for cell in sorted(users.cells, key=lambda cell: cell[0])
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
    connection: Connection, test: ABTest, users: AssignedUsers, currency_code: str | None
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
    outcomes = [
        _outcome(
            metric,
            await store.fetch_samples(connection, test, metric, cohort, cut, currency_code=currency_code),
        )
        for metric in test.design.metrics
    ]
    return tuple(outcomes), sum(sum(groups) for groups in cohort.cells.values()), reached_at


async def _is_matured(
    connection: Connection, test: ABTest, counted_until: datetime | None, as_of: datetime
) -> bool:
    """Return whether the longest window of every counted user has passed."""
    window = max((metric.window or timedelta() for metric in test.design.metrics), default=timedelta())
    if not window:
        return True
    last = counted_until or await store.fetch_last_assignment(connection, test.test_id)
    return last is None or last + window <= as_of


async def _fetch_segments(
    connection: Connection, test: ABTest, currency_code: str | None
) -> tuple[SegmentCell, ...]:
    cut = Cut(by_segment=True)
    users = await store.fetch_users(connection, test, cut)
    samples = await store.fetch_samples(
        connection, test, test.design.metrics[0], users, cut, currency_code=currency_code
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
