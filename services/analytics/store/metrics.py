"""Statements that read what campaigns did; SQL returns sums, never events."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import date, datetime

from services.analytics.domain.metrics import CampaignTotals, Counts, Signals, UserMoments
from services.analytics.store.statements import STATEMENTS, Connection, Record

_COUNTS = tuple(field.name for field in fields(Counts))
_SIGNALS = tuple(field.name for field in fields(Signals))
_MOMENTS = tuple(field.name for field in fields(UserMoments))


@dataclass(frozen=True, kw_only=True)
class CampaignLife:
    """A campaign's currency (None before its first event), and its whole life."""

    currency_code: str | None
    totals: CampaignTotals


@dataclass(frozen=True, kw_only=True)
class CampaignDays:
    """A campaign's currency, and its first and last day with events; all None before its first event."""

    currency_code: str | None
    first_day: date | None
    last_day: date | None


@dataclass(frozen=True, kw_only=True)
class Window:
    """What a campaign did on some days, without the sums over its users; and the last sealed day, if any."""

    totals: CampaignTotals
    sealed_through: date | None


async def fetch_campaign_life(connection: Connection, campaign_id: str) -> CampaignLife | None:
    """Return a campaign's whole life; None for an unknown campaign."""
    row = await connection.fetchrow(STATEMENTS["fetch_campaign_life"].sql, campaign_id)
    return None if row is None else _life(row)


async def list_campaign_lives(
    connection: Connection, campaign_ids: Sequence[str]
) -> Mapping[str, CampaignLife]:
    """Return the whole life of some campaigns; unknown ones are absent."""
    rows = await connection.fetch(STATEMENTS["list_campaign_lives"].sql, campaign_ids)
    return {row["campaign_id"]: _life(row) for row in rows}


async def fetch_campaign_days_bounds(connection: Connection, campaign_id: str) -> CampaignDays | None:
    """Return a campaign's first and last day; None for an unknown campaign."""
    row = await connection.fetchrow(STATEMENTS["fetch_campaign_days_bounds"].sql, campaign_id)
    if row is None:
        return None
    return CampaignDays(
        currency_code=row["counted_currency_code"], first_day=row["first_day"], last_day=row["last_day"]
    )


async def fetch_window(connection: Connection, campaign_id: str, start: date, end: date) -> Window:
    """Return what a campaign did on some days, both ends included."""
    row = await connection.fetchrow(STATEMENTS["fetch_window_totals"].sql, campaign_id, start, end)
    assert row is not None, "an aggregate has a row"
    totals = CampaignTotals(
        counts=counts_of(row), signals=signals_of(row), imported_cost_micros=row["imported_cost_micros"]
    )
    return Window(totals=totals, sealed_through=row["sealed_through"])


async def fetch_range_user_moments(
    connection: Connection, campaign_id: str, start_at: datetime, end_at: datetime
) -> UserMoments:
    """Return the sums over users of a campaign's events, `end_at` excluded."""
    row = await connection.fetchrow(STATEMENTS["fetch_range_user_moments"].sql, campaign_id, start_at, end_at)
    assert row is not None, "an aggregate has a row"
    return moments_of(row)


def _life(row: Record) -> CampaignLife:
    currency = row["counted_currency_code"]
    if row["users"] is None:
        return CampaignLife(currency_code=currency, totals=CampaignTotals())
    return CampaignLife(currency_code=currency, totals=totals_of(row))


def totals_of(row: Record) -> CampaignTotals:
    """Return everything in a row that has the columns of campaign_totals."""
    return CampaignTotals(
        counts=counts_of(row),
        signals=signals_of(row),
        moments=moments_of(row),
        imported_cost_micros=row["imported_cost_micros"],
    )


def counts_of(row: Record) -> Counts:
    """Return the counts in a row that has them under their names."""
    return Counts(**{name: row[name] for name in _COUNTS})


def signals_of(row: Record) -> Signals:
    """Return what happened beside the funnel in a row that has it under its names."""
    return Signals(**{name: row[name] for name in _SIGNALS})


def moments_of(row: Record) -> UserMoments:
    """Return the sums over users in a row that has them under their names."""
    return UserMoments(**{name: int(row[name]) for name in _MOMENTS})
