"""Use case that answers what happened at one merchant."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from services.analytics.domain.merchants import (
    MerchantCampaign,
    MerchantPerformance,
    MerchantTotals,
    measure_merchant,
    measure_merchant_campaign,
)
from services.analytics.domain.metrics import CampaignTotals, DateRange
from services.analytics.domain.periods import EARLIEST_DAY, LATEST_DAY, check_range
from services.analytics.store import merchants as store
from services.analytics.store import metrics as metrics_store
from services.common.database import Connection, Database
from services.common.errors import NotFoundError

MAXIMUM_USER_ROWS = 50_000
"""Rows of users (of one campaign each) that are added up for a design effect; 25 ms of the database's
time."""


@dataclass(frozen=True, kw_only=True)
class MerchantQuery:
    """Which days of which merchant, and which page of its campaigns; None is unset."""

    merchant_id: int
    start: date | None
    end: date | None
    size: int
    after: tuple[int, str] | None


@dataclass(frozen=True, kw_only=True)
class MerchantPage:
    """A merchant's performance, and a page of its campaigns."""

    performance: MerchantPerformance
    campaigns: Sequence[tuple[MerchantCampaign, MerchantTotals]]
    has_more: bool


class MerchantOperations:
    """Answers from rollups; every answer comes from one snapshot of the database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def get_merchant_performance(self, query: MerchantQuery) -> MerchantPage:
        """Return what happened at a merchant over its life, or over days.

        Raises:
            NotFoundError: MERCHANT_UNKNOWN.
            InvalidArgumentError: the range is reversed or absurd.
        """
        check_range(query.start, query.end)
        async with self._database.transaction(isolation="repeatable_read", readonly=True) as connection:
            merchant = await store.fetch_merchant(connection, query.merchant_id)
            if merchant is None:
                raise NotFoundError(
                    f"no merchant {query.merchant_id}",
                    reason="MERCHANT_UNKNOWN",
                    metadata={"merchant_id": str(query.merchant_id)},
                )
            days = DateRange(start=query.start or EARLIEST_DAY, end=query.end or LATEST_DAY)
            campaigns = await store.list_campaigns(connection, query.merchant_id, days)
            purchases = await store.list_purchases(connection, query.merchant_id, days)
            shown, has_more = _cut_page(campaigns, query)
            lives = await metrics_store.list_campaign_lives(connection, [c.campaign_id for c in shown])
            performance = measure_merchant(
                merchant_id=query.merchant_id,
                merchant_name=merchant.merchant_name,
                date_range=_name_range(query, merchant),
                campaigns=campaigns,
                purchases=purchases,
                lives=await _list_lives(connection, campaigns),
            )
        return MerchantPage(
            performance=performance,
            campaigns=[(c, measure_merchant_campaign(c, lives[c.campaign_id].totals)) for c in shown],
            has_more=has_more,
        )


async def _list_lives(
    connection: Connection, campaigns: Sequence[MerchantCampaign]
) -> dict[str | None, CampaignTotals]:
    """Return the lives of the campaigns of each currency, and under None of all of them."""
    codes = sorted({campaign.currency_code for campaign in campaigns})
    lives: dict[str | None, CampaignTotals] = {}
    for code in codes:
        names = [campaign.campaign_id for campaign in campaigns if campaign.currency_code == code]
        lives[code] = await store.fetch_users_of_campaigns(connection, names, MAXIMUM_USER_ROWS)
    if len(codes) == 1:
        lives[None] = lives[codes[0]]
    elif codes:
        names = [campaign.campaign_id for campaign in campaigns]
        lives[None] = await store.fetch_users_of_campaigns(connection, names, MAXIMUM_USER_ROWS)
    return lives


def _cut_page(
    campaigns: Sequence[MerchantCampaign], query: MerchantQuery
) -> tuple[Sequence[MerchantCampaign], bool]:
    """Return the page behind the campaign named, by conversions (the most first), then by campaign_id."""
    if query.after is not None:
        conversions, name = query.after
        campaigns = [c for c in campaigns if (-c.counts.conversions, c.campaign_id) > (-conversions, name)]
    return campaigns[: query.size], len(campaigns) > query.size


def _name_range(query: MerchantQuery, merchant: store.MerchantDays) -> DateRange | None:
    """Return the days asked for, an open end closed by the merchant's events; None for the whole life."""
    if query.start is None and query.end is None:
        return None
    start = query.start or min(filter(None, [merchant.first_day, query.end]))
    end = query.end or max(filter(None, [merchant.last_day, start]))
    return DateRange(start=start, end=end)
