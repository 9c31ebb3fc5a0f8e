"""The users of all campaigns together: added up by a job, and read by whoever shows the portfolio."""

from collections.abc import Mapping
from time import monotonic

from services.analytics.domain.metrics import CampaignTotals
from services.analytics.domain.portfolio import ALL_CURRENCIES, NO_USERS
from services.analytics.store import portfolio_users as store
from services.common.database import Database
from services.common.jobs import Every, Job, JobContext

KEPT_SECONDS = 30.0
"""How long what was read is used again: it changes by job, and the portfolio is read often."""


class PortfolioUsers:
    """Sums over users, each user once, whichever campaigns they are in.

    Args:
        database: where the table `portfolio_users` is.
        kept_seconds: how long a reading is used.
    """

    def __init__(self, database: Database, *, kept_seconds: float = KEPT_SECONDS) -> None:
        self._database = database
        self._kept_seconds = kept_seconds
        self._users: Mapping[str, CampaignTotals] = NO_USERS
        self._read_at: float | None = None

    async def read(self) -> Mapping[str, CampaignTotals]:
        """Return the sums by currency, and over ALL_CURRENCIES; empty before the first refresh."""
        now = monotonic()
        if self._read_at is None or now - self._read_at >= self._kept_seconds:
            async with self._database.acquire() as connection:
                self._users = await store.list_portfolio_users(connection)
            self._read_at = now
        return self._users

    async def refresh(self) -> int:
        """Add up the users of all campaigns again; return how many they are.

        One scan of campaign_user_totals in the database, in one transaction: about 1.5 seconds for a million
        rows. Readers go on with the sums before.
        """
        async with self._database.transaction() as connection:
            await store.clear_portfolio_users(connection)
            await store.count_portfolio_users(connection)
            counted = await store.list_portfolio_users(connection)
        self._read_at = None
        return counted[ALL_CURRENCIES].moments.users if ALL_CURRENCIES in counted else 0


def build_portfolio_users_job(users: PortfolioUsers, *, seconds: float) -> Job:
    """Return the job that adds the users up again, every so many seconds."""

    async def refresh(_context: JobContext) -> str:
        return f"{await users.refresh()} users"

    return Job(name="portfolio_users", schedule=Every(seconds=seconds), run=refresh)
