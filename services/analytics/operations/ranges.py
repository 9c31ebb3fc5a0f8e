"""Ranges of days whose open ends are those of a campaign's events."""

from datetime import date

from services.analytics.domain.metrics import DateRange
from services.analytics.store import metrics as store
from services.common.database import Connection
from services.common.errors import NotFoundError


async def fetch_bounds(connection: Connection, campaign_id: str) -> store.CampaignDays:
    """Return a campaign's first and last day; NotFoundError (CAMPAIGN_UNKNOWN) for an unknown one."""
    bounds = await store.fetch_campaign_days_bounds(connection, campaign_id)
    if bounds is None:
        raise unknown_campaign(campaign_id)
    return bounds


def close_range(bounds: store.CampaignDays, start: date | None, end: date | None) -> DateRange:
    """Return the range, its open end closed by the campaign's events; it may then be reversed."""
    known = start or end
    first = start or bounds.first_day or known
    last = end or bounds.last_day or known
    assert first is not None
    assert last is not None
    return DateRange(start=first, end=last)


def unknown_campaign(campaign_id: str) -> NotFoundError:
    """Return the error that says that there is no such campaign."""
    return NotFoundError(
        f"no campaign '{campaign_id}'", reason="CAMPAIGN_UNKNOWN", metadata={"campaign_id": campaign_id}
    )
