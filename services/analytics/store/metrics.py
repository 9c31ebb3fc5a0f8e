"""Statements that read what campaigns did; SQL returns sums, never events."""

from dataclasses import dataclass, fields
from datetime import date, datetime

from services.analytics.domain.metrics import Counts, UserMoments
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


async def fetch_campaign_life(connection: Connection, campaign_id: str) -> CampaignLife | None:
    """Return a campaign's whole life; None for an unknown campaign."""
    row = await connection.fetchrow(STATEMENTS["fetch_campaign_life"].sql, campaign_id)
    if row is None:
        return None
    currency = row["counted_currency_code"]
    if row["users"] is None:
        return CampaignLife(currency_code=currency, counts=Counts(), moments=UserMoments())
    return CampaignLife(currency_code=currency, counts=counts_of(row), moments=_moments(row))


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
    return counts_of(row), _moments(row)


def counts_of(row: Record) -> Counts:
    """Return the counts in a row that has them under their names."""
    return Counts(**{name: row[name] for name in _COUNTS})


def _moments(row: Record) -> UserMoments:
    return UserMoments(**{name: int(row[name]) for name in _MOMENTS})
