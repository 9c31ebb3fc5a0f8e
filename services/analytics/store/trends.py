"""Statements that read what campaigns did period by period."""

from collections.abc import Mapping
from dataclasses import fields
from datetime import date, datetime, timedelta

from services.analytics.domain.metrics import Counts, DateRange
from services.analytics.domain.periods import Interval
from services.analytics.store.statements import STATEMENTS, Connection, Record

_COUNTS = tuple(field.name for field in fields(Counts))


async def list_campaign_periods(
    connection: Connection, campaign_id: str, days: DateRange, interval: Interval
) -> Mapping[date, Counts]:
    """Return a campaign's counts by first day of each day, week or month; only the range's days are counted.

    Periods without events are absent. For hours see `list_campaign_hours`.
    """
    arguments: list[str | date] = [campaign_id, days.start, days.end]
    if interval == "weekly":
        arguments += whole_weeks(days)
    rows = await connection.fetch(STATEMENTS[_STATEMENTS[interval]].sql, *arguments)
    return {row["period"]: _counts(row) for row in rows}


_STATEMENTS: Mapping[str, str] = {
    "daily": "list_campaign_days",
    "weekly": "list_campaign_weeks",
    "monthly": "list_campaign_months",
}


def whole_weeks(days: DateRange) -> tuple[date, date]:
    """Return the first Monday of the days or after, and the one at which their last whole week is over."""
    first = days.start + timedelta(days=-days.start.weekday() % 7)
    following = days.end + timedelta(days=1)
    return first, max(first, following - timedelta(days=following.weekday()))


async def list_campaign_hours(
    connection: Connection, campaign_id: str, start_at: datetime, end_at: datetime
) -> Mapping[datetime, Counts]:
    """Return a campaign's counts by hour, `end_at` excluded; hours without events are absent."""
    rows = await connection.fetch(STATEMENTS["list_campaign_hours"].sql, campaign_id, start_at, end_at)
    return {row["hour_at"]: _counts(row) for row in rows}


def _counts(row: Record) -> Counts:
    return Counts(**{name: row[name] for name in _COUNTS})
