"""Use cases of users by recency, frequency and money."""

from zoneinfo import ZoneInfo

from services.analytics.domain.periods import day_of
from services.analytics.domain.rfm import RfmSegments, choose_currency, list_cells, summarize_segments
from services.analytics.domain.segments import WITHOUT_PURCHASE
from services.analytics.operations.cohorts import USER_ACTIVITY
from services.analytics.store import cohorts as activity_store
from services.analytics.store import rfm as store
from services.common.database import Database

RFM = "rfm"


class RfmOperations:
    """Puts users into segments, and tells how large these are.

    Args:
        database: where users' days are.
        zone: the reporting time zone.
    """

    def __init__(self, database: Database, *, zone: ZoneInfo) -> None:
        self._database = database
        self._zone = zone

    async def refresh(self) -> int:
        """Put every user into a segment by what is counted of users' days; return how many users there are.

        A full recount, in one transaction: what is kept is as it was until it is done.
        """
        async with self._database.transaction() as connection:
            await activity_store.lock_user_activity(connection)
            counted = await activity_store.fetch_progress(connection, USER_ACTIVITY)
            if counted is None:
                return 0
            users = await store.count_user_rfm(connection, *list_cells())
            await store.count_segments(connection, day_of(counted.as_of, self._zone), WITHOUT_PURCHASE)
            await activity_store.upsert_progress(connection, RFM, counted)
        return users

    async def list_segments(self, currency_code: str) -> RfmSegments:
        """Return the segments of a currency, or of the only one.

        Raises:
            InvalidArgumentError: CURRENCY_REQUIRED.
        """
        async with self._database.acquire() as connection:
            as_of, totals = await store.list_segments(connection)
        currency = choose_currency(totals, currency_code)
        segments = summarize_segments(totals, currency) if as_of else ()
        return RfmSegments(segments=segments, currency_code=currency, as_of=as_of)
