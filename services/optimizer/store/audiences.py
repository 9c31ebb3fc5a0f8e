"""Statements of who saw campaigns' offers."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from services.optimizer.domain.models.version import CONVERSION_MODEL
from services.optimizer.domain.response.offer_cells import CampaignAudience, CellRow
from services.optimizer.store.statements import STATEMENTS, Connection

_ANSWERED_WITHIN: Final = timedelta(days=7)
"""How long before the first time asked for a delivery is looked for."""


async def list_audience_outcomes(
    connection: Connection, campaign_ids: Sequence[str], *, start: datetime, end: datetime, time_zone: str
) -> list[CellRow]:
    """Return what campaigns did at times [start, end), by day, offer, segment set and propensity."""
    rows = await connection.fetch(
        STATEMENTS["list_audience_outcomes"].sql, campaign_ids, start, end, time_zone, _ANSWERED_WITHIN
    )
    return [tuple(row) for row in rows]


async def count_audiences(connection: Connection, version: int, *, start: datetime, end: datetime) -> None:
    """Count who viewed every campaign at times [start, end), for offers under a version of the model."""
    await connection.execute(
        STATEMENTS["count_campaign_audiences"].sql, start, end, CONVERSION_MODEL, version
    )


async def delete_audiences(connection: Connection, versions: Sequence[int]) -> None:
    """Forget what was counted for versions that will not be live again."""
    await connection.execute(STATEMENTS["delete_campaign_audiences"].sql, CONVERSION_MODEL, versions)


async def list_campaign_audiences(
    connection: Connection, version: int, campaign_ids: Sequence[str]
) -> dict[str, CampaignAudience]:
    """Return who viewed campaigns, as counted for a version; one without known viewers is missing."""
    rows = await connection.fetch(
        STATEMENTS["list_campaign_audiences"].sql, CONVERSION_MODEL, version, campaign_ids
    )
    views: dict[str, dict[tuple[int, int], int]] = {}
    for row in rows:
        of_campaign = views.setdefault(row["campaign_id"], {})
        of_campaign[row["offer_amount_micros"], row["segment_set_id"]] = row["views"]
    return {campaign_id: CampaignAudience(views=of_campaign) for campaign_id, of_campaign in views.items()}
