"""Use case: take events in, each once, counted in every rollup before it is acknowledged."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from random import Random
from zoneinfo import ZoneInfo

from services.analytics.domain.events import (
    EARLIEST_MICROS,
    REFUNDED,
    EventColumns,
    IngestionLimits,
    Rejection,
    find_rejections,
)
from services.analytics.domain.ingestion import (
    StampedEvents,
    first_occurrences,
    judge_repeats,
    plan_refunds,
    stamp_events,
)
from services.analytics.domain.retention import first_open_moment, last_expired_day, later_day
from services.analytics.operations.changes import Changes
from services.analytics.operations.retries import Retries
from services.analytics.settings import AnalyticsSettings
from services.analytics.store import ingestion as store
from services.analytics.store import retention as retention_store
from services.common.database import Connection, Database
from services.common.errors import ResourceExhaustedError, invalid_field
from services.common.waiting_room import WaitingRoom


@dataclass(frozen=True, kw_only=True)
class IngestionResult:
    """What became of a batch; every event is accepted, a duplicate or rejected."""

    accepted: int = 0
    duplicates: int = 0
    rejections: Sequence[Rejection] = field(default_factory=tuple)


class IngestionOperations:
    """Takes batches in, a few at a time.

    Args:
        database: where events live.
        settings: limits.
        clock: the present, aware.
        random: picks the portfolio slot of a batch, and waits after collisions.
        changes: is told which campaigns changed.
    """

    def __init__(
        self,
        database: Database,
        settings: AnalyticsSettings,
        *,
        clock: Callable[[], datetime],
        random: Random,
        changes: Changes,
    ) -> None:
        self._database = database
        self._settings = settings
        self._clock = clock
        self._random = random
        self._changes = changes
        self._zone = ZoneInfo(settings.reporting_time_zone)
        self._retries = Retries(random)
        self._room = WaitingRoom(
            "batches", at_once=settings.concurrent_batches, waiting=settings.waiting_batches
        )

    def check_size(self, size: int) -> None:
        """Refuse a batch with too many events; called before anything is read from it."""
        if size > self._settings.max_batch_events:
            raise ResourceExhaustedError(
                f"a batch holds at most {self._settings.max_batch_events} events, this one has {size}",
                reason="BATCH_TOO_LARGE",
                metadata={"limit": str(self._settings.max_batch_events)},
            )

    async def ingest(self, events: EventColumns) -> IngestionResult:
        """Take a batch in; what is accepted is durable and counted when this returns.

        Raises:
            InvalidArgumentError: no events.
            ResourceExhaustedError: too many of them, or too many batches wait.
            AbortedError: collisions with other batches did not end.
        """
        if not len(events):
            raise invalid_field("events", "must hold at least one event", "FIELD_REQUIRED")
        self.check_size(len(events))
        async with self._room.turn():
            result = await self._retries.run(lambda: self._transact(events))
        if result.accepted:
            self._changes.mark_campaigns({campaign for campaign in events.campaign_id if campaign})
        return result

    async def _transact(self, events: EventColumns) -> IngestionResult:
        async with self._database.transaction() as connection:
            await store.open_batch(connection)
            earliest_micros = await self._fetch_earliest(connection)
            stamped, rejections = await self._prepare(connection, events, earliest_micros)
            slot = self._random.randrange(self._settings.portfolio_slots)
            accepted, repeats, refused = await _write(connection, stamped, earliest_micros, slot=slot)
            duplicates, conflicts = await _judge(connection, repeats)
        rejections = sorted([*rejections, *refused, *conflicts], key=lambda rejection: rejection.index)
        return IngestionResult(accepted=accepted, duplicates=duplicates, rejections=rejections)

    async def _fetch_earliest(self, connection: Connection) -> int:
        """Return the earliest time taken: older events are, or may be, kept as sums only."""
        expired = last_expired_day(self._clock(), self._zone, self._settings.retention_days)
        sealed = await retention_store.fetch_sealed_through(connection)
        opening = first_open_moment(later_day(expired, sealed), self._zone)
        return (
            EARLIEST_MICROS
            if opening is None
            else max(EARLIEST_MICROS, round(opening.timestamp()) * 1_000_000)
        )

    async def _prepare(
        self, connection: Connection, events: EventColumns, earliest_micros: int
    ) -> tuple[StampedEvents, Sequence[Rejection]]:
        """Return the fit events, stamped, and the rejections of the others."""
        # A name with a NUL cannot be stored; the database would refuse the question.
        named = {c for c in events.campaign_id if c and "\0" not in c}
        campaigns = await store.list_campaign_stamps(connection, sorted(named))
        latest = self._clock().timestamp() + self._settings.max_future_seconds
        limits = IngestionLimits(
            campaigns=frozenset(campaigns),
            latest_micros=round(latest * 1_000_000),
            earliest_micros=earliest_micros,
        )
        rejections = find_rejections(events, limits)
        positions = list(range(len(events)))
        if rejections:
            unfit = {rejection.index for rejection in rejections}
            positions = [position for position in positions if position not in unfit]
            events = events.keep([position not in unfit for position in range(len(events))])
        currencies = await store.list_merchant_currencies(connection, events.merchants_without_campaign())
        used = set(events.campaign_id)
        fresh = {c.campaign_id: c.currency_code for c in campaigns.values() if not c.is_currency_fixed}
        if fresh := {campaign: code for campaign, code in fresh.items() if campaign in used}:
            await store.fix_currencies(connection, fresh)
        return stamp_events(events, positions, campaigns, currencies), rejections


async def _write(
    connection: Connection, events: StampedEvents, earliest_micros: int, *, slot: int
) -> tuple[int, list[StampedEvents], Sequence[Rejection]]:
    """Insert a batch; return how many events were new, those that were not, and refused refunds.

    Refunds come second, so that they find originals of their own batch.
    """
    is_refund = [event_type == REFUNDED for event_type in events.event_type]
    others = events.keep([not refund for refund in is_refund]) if any(is_refund) else events
    accepted, repeats = await _insert(connection, others, slot=slot)
    if not any(is_refund):
        return accepted, [repeats], ()
    refunds = events.keep(is_refund)
    sources = sorted(set(refunds.originals()))
    await store.lock_events(connection, sources)
    originals = await store.list_stored_events(connection, sources)
    plan = plan_refunds(
        refunds,
        {source: event for source, event in originals.items() if event.counted_micros >= earliest_micros},
        await store.list_refunds_of_originals(connection, sources),
    )
    await store.clear_batch(connection)
    accepted_refunds, repeated_refunds = await _insert(connection, plan.events, slot=slot)
    return accepted + accepted_refunds, [repeats, plan.known, repeated_refunds], plan.rejections


async def _insert(connection: Connection, events: StampedEvents, *, slot: int) -> tuple[int, StampedEvents]:
    """Insert events; return how many were new, and those that were not."""
    firsts = first_occurrences(events)
    candidates = events if all(firsts) else events.keep(firsts)
    if not len(candidates):
        return 0, candidates
    known = await store.insert_events(connection, candidates, slot=slot)
    is_repeated = [
        not first or identity in known for first, identity in zip(firsts, events.identities(), strict=True)
    ]
    return len(candidates) - len(known), events.keep(is_repeated)


async def _judge(connection: Connection, repeats: Sequence[StampedEvents]) -> tuple[int, list[Rejection]]:
    """Return how many repeated events are known with the same content, and the others' rejections.

    This is a statement after the insert: only now the rows of a concurrent sender are visible.
    """
    duplicates, conflicts = 0, []
    for events in repeats:
        if not len(events):
            continue
        stored = await store.list_stored_events(connection, sorted(set(events.identities())))
        same, others = judge_repeats(events, stored)
        duplicates += same
        conflicts += others
    return duplicates, conflicts
