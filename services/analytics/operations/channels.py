"""Use case that answers what a campaign did by delivery channel."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from services.analytics.domain.channels import ChannelPerformance, measure_channels
from services.analytics.domain.metrics import DateRange, IntervalMethod
from services.analytics.domain.periods import check_range
from services.analytics.operations.ranges import close_range, fetch_bounds, unknown_campaign
from services.analytics.store import channels as store
from services.analytics.store import metrics as metrics_store
from services.common.database import Database


@dataclass(frozen=True, kw_only=True)
class CampaignChannels:
    """A campaign's channels, the one that is not known first; `date_range` None is the whole life."""

    campaign_id: str
    currency_code: str | None
    date_range: DateRange | None
    channels: Sequence[ChannelPerformance]
    interval_method: IntervalMethod


class ChannelOperations:
    """Answers from rollups; every answer comes from one snapshot of the database.

    Args:
        database: where the rollups live.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    async def get_campaign_channels(
        self, campaign_id: str, start: date | None, end: date | None
    ) -> CampaignChannels:
        """Return a campaign by channel, over its life or over days (an open end is that of its events).

        Raises:
            NotFoundError: CAMPAIGN_UNKNOWN.
            InvalidArgumentError: the range is reversed or absurd.
        """
        check_range(start, end)
        async with self._database.transaction(isolation="repeatable_read", readonly=True) as connection:
            life = await metrics_store.fetch_campaign_life(connection, campaign_id)
            if life is None:
                raise unknown_campaign(campaign_id)
            days: DateRange | None = None
            if start is not None or end is not None:
                days = close_range(await fetch_bounds(connection, campaign_id), start, end)
                if days.end < days.start:  # the campaign's events lie all on the other side of the end given
                    days = DateRange(start=start or days.end, end=start or days.end)
            channels = await store.list_campaign_channels(
                connection, campaign_id, days.start if days else None, days.end if days else None
            )
        return CampaignChannels(
            campaign_id=campaign_id,
            currency_code=life.currency_code,
            date_range=days,
            channels=measure_channels(channels, life.totals),
            interval_method="design_effect",
        )
