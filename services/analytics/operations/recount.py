"""Use cases of operators: fix the reporting zone, rebuild the rollups, compare them with a recount."""

from collections.abc import Sequence
from dataclasses import dataclass
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from services.analytics.store import catalog as catalog_store
from services.analytics.store import recount as store
from services.common.database import Connection, Database
from services.common.errors import FailedPreconditionError, invalid_field


@dataclass(frozen=True, kw_only=True)
class Difference:
    """A row that a rollup and a recount do not share; `side` is `stored` or `recounted`."""

    rollup: str
    side: str
    content: str


class RecountOperations:
    """Keeps rollups and reporting zone true."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def settle_time_zone(self, zone: str) -> ZoneInfo:
        """Return the reporting zone; the first start fixes it.

        Raises:
            InvalidArgumentError: TIME_ZONE_UNKNOWN.
            FailedPreconditionError: another zone is fixed; the message names the command that changes it.
        """
        known = load_time_zone(zone)
        async with self._database.transaction() as connection:
            await _check_known(connection, zone)
            await store.insert_reporting_time_zone(connection, zone)
        await self.check_time_zone(zone)
        return known

    async def check_time_zone(self, zone: str) -> None:
        """Raise FailedPreconditionError unless `zone` is the one that is fixed."""
        async with self._database.acquire() as connection:
            fixed = await store.fetch_reporting_time_zone(connection)
        if fixed != zone:
            raise FailedPreconditionError(
                f"REPORTING_TIME_ZONE is {zone}, but days are counted in {fixed}; start with {fixed}, or "
                f"recount with: python -m services.analytics rebuild --reporting-time-zone {zone}",
                reason="TIME_ZONE_CONFLICT",
                metadata={"fixed": str(fixed), "asked": zone},
            )

    async def rebuild(self, zone: str | None) -> str:
        """Count every rollup again from the raw events, in `zone` (None: the fixed one); return the zone.

        Batches of events wait until it is done; readers see the rollups from before.
        """
        async with self._database.transaction() as connection:
            await catalog_store.lock_catalog(connection)
            if zone is not None:
                load_time_zone(zone)
                await _check_known(connection, zone)
                await store.upsert_reporting_time_zone(connection, zone)
            fixed = await store.fetch_reporting_time_zone(connection)
            if fixed is None:
                raise FailedPreconditionError(
                    "no reporting time zone is fixed yet; name one with --reporting-time-zone",
                    reason="TIME_ZONE_UNKNOWN",
                )
            for rollup in store.ROLLUPS:
                await store.rebuild(connection, rollup)
        return fixed

    async def reconcile(self) -> Sequence[Difference]:
        """Return every row in which a rollup differs from a recount, all from one snapshot."""
        differences = []
        async with self._database.transaction(isolation="repeatable_read", readonly=True) as connection:
            for rollup in store.ROLLUPS:
                rows = await store.list_differences(connection, rollup)
                differences += [Difference(rollup=rollup, **row) for row in rows]
        return differences


def load_time_zone(zone: str) -> ZoneInfo:
    """Return the zone of that IANA name; InvalidArgumentError otherwise."""
    try:
        return ZoneInfo(zone)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise invalid_field(
            "reporting_time_zone", f"{zone!r} is no IANA time zone", "TIME_ZONE_UNKNOWN"
        ) from error


async def _check_known(connection: Connection, zone: str) -> None:
    if not await store.is_time_zone_known(connection, zone):
        raise invalid_field(
            "reporting_time_zone", f"the database knows no time zone {zone!r}", "TIME_ZONE_UNKNOWN"
        )
