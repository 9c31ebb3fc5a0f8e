"""Statements that read what campaigns did; SQL returns sums, never events."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import date, datetime

from services.analytics.domain.metrics import Counts, UserMoments
from services.analytics.domain.portfolio import CampaignSums, PortfolioDay
from services.analytics.store.statements import STATEMENTS, Connection, Record

_COUNTS = tuple(field.name for field in fields(Counts))
_MOMENTS = tuple(field.name for field in fields(UserMoments))


@dataclass(frozen=True, kw_only=True)
class CampaignLife:
    """A campaign's currency (None before its first event), and its whole life."""

    currency_code: str | None
    counts: Counts
    moments: UserMoments


@dataclass(frozen=True, kw_only=True)
class CampaignDays:
    """A campaign's currency, and its first and last day with events; all None before its first event."""

    currency_code: str | None
    first_day: date | None
    last_day: date | None


@dataclass(frozen=True, kw_only=True)
class PartialDay:
    """What was counted of a part of a day, of one campaign or (None) outside campaigns."""

    campaign_id: str | None
    currency_code: str
    counts: Counts


async def fetch_campaign_life(connection: Connection, campaign_id: str) -> CampaignLife | None:
    """Return a campaign's whole life; None for an unknown campaign."""
    row = await connection.fetchrow(STATEMENTS["fetch_campaign_life"].sql, campaign_id)
    if row is None:
        return None
    currency = row["counted_currency_code"]
    if row["users"] is None:
        return CampaignLife(currency_code=currency, counts=Counts(), moments=UserMoments())
    return CampaignLife(currency_code=currency, counts=_counts(row), moments=_moments(row))


async def fetch_campaign_days_bounds(connection: Connection, campaign_id: str) -> CampaignDays | None:
    """Return a campaign's first and last day; None for an unknown campaign."""
    row = await connection.fetchrow(STATEMENTS["fetch_campaign_days_bounds"].sql, campaign_id)
    if row is None:
        return None
    return CampaignDays(
        currency_code=row["counted_currency_code"], first_day=row["first_day"], last_day=row["last_day"]
    )


async def fetch_range_user_moments(
    connection: Connection, campaign_id: str, start_at: datetime, end_at: datetime
) -> tuple[Counts, UserMoments]:
    """Return the counts and the sums over users of a campaign's events, `end_at` excluded."""
    row = await connection.fetchrow(STATEMENTS["fetch_range_user_moments"].sql, campaign_id, start_at, end_at)
    assert row is not None, "an aggregate has a row"
    return _counts(row), _moments(row)


async def list_portfolio_days(connection: Connection, start: date, end: date) -> Sequence[PortfolioDay]:
    """Return the portfolio's counts per currency, both ends included."""
    rows = await connection.fetch(STATEMENTS["list_portfolio_days"].sql, start, end)
    return [
        PortfolioDay(
            currency_code=row["currency_code"],
            counts=_counts(row),
            purchases=row["purchases"],
            purchase_revenue_micros=row["purchase_revenue_micros"],
        )
        for row in rows
    ]


async def list_portfolio_campaigns(connection: Connection, start: date, end: date) -> Sequence[CampaignSums]:
    """Return every campaign with an event on the days, both ends included."""
    rows = await connection.fetch(STATEMENTS["list_portfolio_campaigns"].sql, start, end)
    return [
        CampaignSums(campaign_id=row["campaign_id"], currency_code=row["currency_code"], counts=_counts(row))
        for row in rows
    ]


async def list_partial_day(
    connection: Connection, start_at: datetime, end_at: datetime
) -> Sequence[PartialDay]:
    """Return what was counted from `start_at` up to `end_at`, both included."""
    rows = await connection.fetch(STATEMENTS["list_partial_day"].sql, start_at, end_at)
    return [
        PartialDay(campaign_id=row["campaign_id"], currency_code=row["currency_code"], counts=_counts(row))
        for row in rows
    ]


def _counts(row: Record) -> Counts:
    return Counts(**{name: row[name] for name in _COUNTS})


def _moments(row: Record) -> UserMoments:
    return UserMoments(**{name: int(row[name]) for name in _MOMENTS})
