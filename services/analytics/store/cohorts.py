"""Statements of what users did by day, and of cohorts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime

from services.analytics.domain.cohorts import (
    INTERVAL_DAYS,
    CohortCell,
    CohortInterval,
    CohortMoney,
    CohortSums,
)
from services.analytics.store.statements import STATEMENTS, Connection, Record

ROLLUPS = ("user_activity_daily", "cohort_activity", "cohort_money")
"""What the job keeps, each after what it is counted from."""


@dataclass(frozen=True, kw_only=True)
class Progress:
    """How far a job is: the time it answers for, what it has counted, and in the days of which zone."""

    as_of: datetime
    received_until: datetime
    reporting_time_zone: str


@dataclass(frozen=True, kw_only=True)
class ActivityCounted:
    """What one step changed: days of users, users, and users whose first day became an earlier one."""

    days: int
    users: int
    moved_users: int


@dataclass(frozen=True, kw_only=True)
class CohortQuery:
    """Which cohorts: from `start` to `end` after `after`, at most `limit`; and periods before `periods`."""

    start: date
    end: date
    after: date
    limit: int
    interval: CohortInterval
    periods: int
    currency_code: str


async def fetch_progress(connection: Connection, name: str) -> Progress | None:
    """Return how far a job is; None before its first run."""
    return _progress(await connection.fetchrow(STATEMENTS["fetch_audience_progress"].sql, name))


async def lock_user_activity(connection: Connection) -> None:
    """Wait until nobody else counts users' days, and let nobody until the transaction ends."""
    await connection.execute(STATEMENTS["lock_user_activity"].sql)


async def upsert_progress(connection: Connection, name: str, progress: Progress) -> None:
    """Keep how far a job is."""
    await connection.execute(
        STATEMENTS["upsert_audience_progress"].sql,
        name,
        progress.as_of,
        progress.received_until,
        progress.reporting_time_zone,
    )


async def fetch_first_received(connection: Connection) -> datetime | None:
    """Return when the first event came in; None without events."""
    received_at: datetime | None = await connection.fetchval(STATEMENTS["fetch_first_received"].sql)
    return received_at


async def count_received(connection: Connection, since: datetime, until: datetime) -> int:
    """Return how many events came in from `since`, before `until`."""
    return int(await connection.fetchval(STATEMENTS["count_received"].sql, since, until))


async def clear_user_activity(connection: Connection) -> None:
    """Forget what users did, and all cohorts."""
    await connection.execute(STATEMENTS["clear_user_activity"].sql)


async def count_user_activity(connection: Connection, since: datetime, until: datetime) -> ActivityCounted:
    """Add the events received from `since`, before `until` to users' days and cohorts."""
    row = await connection.fetchrow(STATEMENTS["count_user_activity"].sql, since, until)
    assert row is not None, "a select of counts has a row"
    return ActivityCounted(days=row["days"], users=row["users"], moved_users=row["moved_users"])


async def list_cohorts(
    connection: Connection, query: CohortQuery
) -> tuple[datetime | None, Sequence[CohortSums]]:
    """Return up to when events are counted (None before the first run), and cohorts by day."""
    rows = await connection.fetch(
        STATEMENTS["list_cohorts"].sql,
        query.start,
        query.end,
        query.after,
        query.limit,
        INTERVAL_DAYS[query.interval],
        query.periods,
        query.currency_code,
    )
    by_day: dict[date, list[Record]] = {}
    for row in rows:
        if row["cohort_day"] is not None:
            by_day.setdefault(row["cohort_day"], []).append(row)
    cohorts = [
        CohortSums(cohort_day=day, users=of_day[0]["users"], cells=_cells(of_day))
        for day, of_day in by_day.items()
    ]
    return (rows[0]["as_of"] if rows else None), cohorts


async def list_differences(
    connection: Connection, rollup: str, received_until: datetime
) -> Sequence[Mapping[str, str]]:
    """Return the rows in which one of `ROLLUPS` differs from a recount: `side` and `content`."""
    arguments = (received_until,) if rollup == "user_activity_daily" else ()
    rows = await connection.fetch(STATEMENTS[f"list_differences_of_{rollup}"].sql, *arguments)
    return [{"side": row["side"], "content": row["content"]} for row in rows]


def _progress(row: Record | None) -> Progress | None:
    if row is None:
        return None
    return Progress(
        as_of=row["as_of"],
        received_until=row["received_until"],
        reporting_time_zone=row["reporting_time_zone"],
    )


def _cells(rows: Sequence[Record]) -> Mapping[int, CohortCell]:
    by_index: dict[int, list[Record]] = {}
    for row in rows:
        if row["period_index"] is not None:
            by_index.setdefault(row["period_index"], []).append(row)
    return {
        index: CohortCell(
            active_users=of_index[0]["active_users"],
            engaged_users=of_index[0]["engaged_users"],
            money={row["currency_code"]: _money(row) for row in of_index if row["currency_code"] is not None},
        )
        for index, of_index in by_index.items()
    }


def _money(row: Record) -> CohortMoney:
    return CohortMoney(
        paying_users=row["paying_users"],
        revenue_micros=row["revenue_micros"],
        cost_micros=row["cost_micros"],
        revenue_revenue=int(row["revenue_revenue"]),
        revenue_cost=int(row["revenue_cost"]),
        cost_cost=int(row["cost_cost"]),
        revenue_revenue_revenue=int(row["revenue_revenue_revenue"]),
    )
