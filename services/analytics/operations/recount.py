"""Use cases of operators: fix the reporting zone, rebuild the rollups, compare them with a recount."""

from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from dataclasses import dataclass
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from services.analytics.store import catalog as catalog_store
from services.analytics.store import recount as store
from services.analytics.store import retention as retention_store
from services.analytics.store.recount import Comparison, Difference
from services.common.database import Connection, Database
from services.common.errors import FailedPreconditionError, ResourceExhaustedError, invalid_field

SHOWN_DIFFERENCES = 20
"""How many differences of a rollup are shown at most."""


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What a whole reconciliation says: rollups and rows compared, and how many differ where."""

    rollups: int
    compared: int
    differing: Mapping[str, int]

    def __str__(self) -> str:
        """Return one line for operators."""
        if self.differing:
            places = ", ".join(f"{count} of {rollup}" for rollup, count in self.differing.items())
            return f"{sum(self.differing.values())} rows differ from a recount of the events: {places}"
        return f"every rollup equals a recount of the events ({self.compared} rows of {self.rollups} rollups)"


def judge(comparisons: Sequence[Comparison]) -> Verdict:
    """Return what the comparisons say together."""
    return Verdict(
        rollups=len(comparisons),
        compared=sum(comparison.compared for comparison in comparisons),
        differing={c.rollup: c.difference_count for c in comparisons if c.difference_count},
    )


class RecountOperations:
    """Keeps rollups and reporting zone true."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._comparing = False

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

    async def rebuild(self, zone: str | None, *, tell: Callable[[str], None] = lambda _rollup: None) -> str:
        """Count every rollup again, in the days of `zone` (None: of the fixed one); return the zone.

        Rollups that need no other zone are counted one after the other, each in a transaction of its own, so
        that batches of events wait for one of them at a time. Another zone is another meaning of all of them
        and takes one transaction. Readers see the rollups from before.

        Args:
            zone: an IANA name.
            tell: called with each rollup that is done.

        Raises:
            InvalidArgumentError: TIME_ZONE_UNKNOWN.
            FailedPreconditionError: no zone is fixed yet (TIME_ZONE_UNKNOWN); or another one is wanted and
                some days are kept as sums, which nobody can count in other days (EVENTS_SEALED).
        """
        fixed = await self._fetch_time_zone()
        if zone is not None and zone != fixed:
            await self._change_time_zone(zone, tell)
            return zone
        if fixed is None:
            raise FailedPreconditionError(
                "no reporting time zone is fixed yet; name one with --reporting-time-zone",
                reason="TIME_ZONE_UNKNOWN",
            )
        for rollup in store.ROLLUPS:
            async with self._database.transaction() as connection:
                await store.allow_long_statements(connection)
                await catalog_store.lock_catalog(connection)
                await store.rebuild(connection, rollup)
            tell(rollup)
        return fixed

    async def _fetch_time_zone(self) -> str | None:
        async with self._database.acquire() as connection:
            return await store.fetch_reporting_time_zone(connection)

    async def _change_time_zone(self, zone: str, tell: Callable[[str], None]) -> None:
        load_time_zone(zone)
        async with self._database.transaction() as connection:
            await _check_known(connection, zone)
            await store.allow_long_statements(connection)
            await catalog_store.lock_catalog(connection)
            sealed_through = await retention_store.fetch_sealed_through(connection)
            if sealed_through is not None:
                raise FailedPreconditionError(
                    f"events through {sealed_through} are kept as sums of their days, which nobody can count "
                    f"in the days of {zone}",
                    reason="EVENTS_SEALED",
                    metadata={"sealed_through": sealed_through.isoformat()},
                )
            await store.upsert_reporting_time_zone(connection, zone)
            for rollup in store.ROLLUPS:
                await store.rebuild(connection, rollup)
                tell(rollup)

    async def compare(self) -> AsyncGenerator[Comparison]:
        """Compare rollup by rollup with a recount, all from one snapshot; nothing waits for it.

        Raises:
            ResourceExhaustedError: another comparison runs in this process.
        """
        if self._comparing:
            raise ResourceExhaustedError("a reconciliation runs already", reason="TOO_MANY_WAITING")
        self._comparing = True
        try:
            async with self._database.transaction(isolation="repeatable_read", readonly=True) as connection:
                await store.allow_long_statements(connection)
                for rollup in store.ROLLUPS:
                    yield await store.compare(connection, rollup, shown=SHOWN_DIFFERENCES)
        finally:
            self._comparing = False

    async def reconcile(self) -> Sequence[Difference]:
        """Return rows in which rollups differ from a recount, at most SHOWN_DIFFERENCES of each rollup."""
        return [difference async for rollup in self.compare() for difference in rollup.differences]


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
