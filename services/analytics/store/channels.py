"""Statements that read what a campaign did by delivery channel."""

from collections.abc import Mapping, Sequence
from datetime import date, datetime

from services.analytics.domain.channels import ChannelTotals
from services.analytics.domain.metrics import CampaignTotals, UserMoments
from services.analytics.store.metrics import counts_of, moments_of, signals_of
from services.analytics.store.statements import STATEMENTS, Connection


async def list_campaign_channels(
    connection: Connection, campaign_id: str, start: date | None, end: date | None
) -> Sequence[ChannelTotals]:
    """Return a campaign's channels over some days, both ends included; None: to the end of its life."""
    rows = await connection.fetch(STATEMENTS["list_campaign_channels"].sql, campaign_id, start, end)
    return [
        ChannelTotals(
            channel=row["channel"],
            totals=CampaignTotals(
                counts=counts_of(row),
                signals=signals_of(row),
                imported_cost_micros=row["imported_cost_micros"],
            ),
        )
        for row in rows
    ]


async def list_channel_user_moments(
    connection: Connection, campaign_id: str, start_at: datetime, end_at: datetime
) -> Mapping[int, UserMoments]:
    """Return the sums over the users of each channel of a campaign's events, `end_at` excluded."""
    rows = await connection.fetch(STATEMENTS["list_channel_user_moments"].sql, campaign_id, start_at, end_at)
    return {row["channel"]: moments_of(row) for row in rows}
