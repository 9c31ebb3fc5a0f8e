"""Use cases of imported costs: keep them, counted in every rollup, and list them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

from services.analytics.domain.costs import (
    CostPage,
    FitCost,
    KeptCost,
    SentCost,
    judge_costs,
    match_campaigns,
)
from services.analytics.domain.events import Rejection
from services.analytics.domain.periods import EARLIEST_DAY, LATEST_DAY, check_range, day_of
from services.analytics.operations.changes import Changes
from services.analytics.operations.retries import Retries
from services.analytics.store import catalog as catalog_store
from services.analytics.store import costs as store
from services.analytics.store import ingestion as ingestion_store
from services.analytics.store.rolling import count_cost_changes
from services.common.database import Database
from services.common.waiting_room import WaitingRoom

MAXIMUM_WAITING = 16
"""Imports that may wait in one process; each holds up to 10,000 costs in memory."""
COST_SLOT = 0
"""The portfolio's slot that imported costs count in; while they do, no batch does."""


@dataclass(frozen=True, kw_only=True)
class ImportedCosts:
    """What became of a request: `unchanged` of the accepted were known with the same amount."""

    accepted: int
    unchanged: int
    rejections: Sequence[Rejection]


class CostOperations:
    """Imports and lists costs.

    Args:
        database: where costs live.
        retries: runs a transaction again after a collision.
        changes: told which campaigns changed.
        zone: the reporting time zone.
        clock: the present, aware.
        future: how far ahead of the clock a cost's day may begin.
    """

    def __init__(
        self,
        database: Database,
        retries: Retries,
        changes: Changes,
        *,
        zone: ZoneInfo,
        clock: Callable[[], datetime],
        future: timedelta,
    ) -> None:
        self._database = database
        self._retries = retries
        self._changes = changes
        self._zone = zone
        self._clock = clock
        self._future = future
        # In the database they exclude each other anyway, but whoever waits there holds a connection.
        self._room = WaitingRoom("imports of costs", at_once=1, waiting=MAXIMUM_WAITING)

    async def import_costs(self, sent: Sequence[SentCost]) -> ImportedCosts:
        """Keep costs in the place of those before; what is accepted is durable and counted when this returns.

        Raises:
            ResourceExhaustedError: too many imports wait.
            AbortedError: collisions with other work did not end.
        """
        async with self._room.turn():
            return await self._import(sent)

    async def _import(self, sent: Sequence[SentCost]) -> ImportedCosts:
        fit, unfit = judge_costs(sent, day_of(self._clock() + self._future, self._zone))
        kept: Sequence[KeptCost] = ()
        unmatched: Sequence[Rejection] = ()
        changed = 0
        if fit:
            kept, unmatched, changed = await self._retries.run(lambda: self._keep(fit))
        if changed:
            self._changes.mark_campaigns({cost.campaign_id for cost in kept})
        return ImportedCosts(
            accepted=len(kept),
            unchanged=len(kept) - changed,
            rejections=sorted([*unfit, *unmatched], key=lambda rejection: rejection.index),
        )

    async def _keep(self, fit: Sequence[FitCost]) -> tuple[Sequence[KeptCost], Sequence[Rejection], int]:
        """Return what was kept, what was not, and how many of the kept changed something.

        Batches of events and other imports wait, as they do for a change of the catalog. That costs them the
        time of two statements, and leaves no order of locks in which they could deadlock.
        """
        async with self._database.transaction() as connection:
            await catalog_store.lock_catalog(connection)
            campaigns = await ingestion_store.list_campaign_stamps(
                connection, sorted({cost.campaign_id for cost in fit})
            )
            kept, rejections = match_campaigns(
                fit, {c.campaign_id: c.currency_code for c in campaigns.values()}
            )
            used = {cost.campaign_id: cost.currency_code for cost in kept}
            fresh = {name: code for name, code in used.items() if not campaigns[name].is_currency_fixed}
            if fresh:
                await ingestion_store.fix_currencies(connection, fresh)
            by_key = {cost.key: cost for cost in kept}
            changes, changed = await store.keep_costs(connection, list(by_key.values()))
            if changes:
                await count_cost_changes(connection, changes, slot=COST_SLOT)
        return kept, rejections, changed

    async def list_costs(
        self, campaign_id: str, start: date | None, end: date | None, page: CostPage
    ) -> tuple[Sequence[KeptCost], bool]:
        """Return a page of costs by campaign, day and channel, and whether there are more.

        Raises:
            InvalidArgumentError: the range is reversed or absurd.
        """
        check_range(start, end)
        async with self._database.acquire() as connection:
            costs = await store.list_costs(
                connection,
                campaign_id,
                start or EARLIEST_DAY,
                end or LATEST_DAY,
                CostPage(after=page.after, limit=page.limit + 1),
            )
        return costs[: page.limit], len(costs) > page.limit
