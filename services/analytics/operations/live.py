"""Use cases that stream what campaigns do, as it changes."""

from collections.abc import AsyncIterator, Callable
from datetime import datetime
from zoneinfo import ZoneInfo

from services.analytics.domain.metrics import CampaignMetrics
from services.analytics.domain.periods import day_of
from services.analytics.domain.portfolio import PortfolioTotals, add_portfolio
from services.analytics.operations.changes import PORTFOLIO, campaign_topic
from services.analytics.operations.metrics import MetricsOperations
from services.analytics.operations.portfolio_users import PortfolioUsers
from services.analytics.operations.watch_hub import Observed, WatchHub
from services.analytics.store import portfolio as store
from services.common.database import Database


class LiveOperations:
    """Streams campaigns and the portfolio as they change.

    Args:
        database: where the portfolio is read.
        metrics: what campaigns did.
        hub: what is watched.
        zone: the reporting zone.
        clock: the present, aware.
        users: the sums over the users of all campaigns.
    """

    def __init__(
        self,
        database: Database,
        metrics: MetricsOperations,
        hub: WatchHub,
        *,
        zone: ZoneInfo,
        clock: Callable[[], datetime],
        users: PortfolioUsers,
    ) -> None:
        self._database = database
        self._metrics = metrics
        self._hub = hub
        self._zone = zone
        self._clock = clock
        self._users = users

    def watch_campaign(self, campaign_id: str) -> AsyncIterator[Observed[CampaignMetrics]]:
        """Yield a campaign's metrics over its life, now and after every change.

        Raises:
            NotFoundError: CAMPAIGN_UNKNOWN.
            DomainError: as `WatchHub.watch`.
        """

        async def read() -> CampaignMetrics:
            return await self._metrics.get_campaign_metrics(campaign_id, None, None)

        return self._hub.watch(campaign_topic(campaign_id), read)

    def watch_portfolio(self) -> AsyncIterator[Observed[PortfolioTotals]]:
        """Yield the current day's sums over all campaigns, now and after every change."""
        return self._hub.watch(PORTFOLIO, self._read_portfolio)

    async def _read_portfolio(self) -> PortfolioTotals:
        today = day_of(self._clock(), self._zone)
        async with self._database.acquire() as connection:
            days = await store.list_portfolio_days(connection, today, today)
        return add_portfolio(days, await self._users.read())
