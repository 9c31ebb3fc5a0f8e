"""Sends a simulated world to a gateway through the public RPCs."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime
from typing import Self

from examples.ingestion import Ingestion, Totals
from examples.simulated_world.columns import EventColumns, Kind
from examples.simulated_world.events import generate_days
from examples.simulated_world.messages import (
    campaign_messages,
    event_messages,
    merchant_messages,
    user_messages,
)
from examples.simulated_world.world import World
from gen.campaigns.analytics.v1.events_pb2 import Event


@dataclass(frozen=True, kw_only=True)
class History:
    """A world's events up to a moment, by their public names."""

    world: World
    as_of: datetime
    scale: float

    @classmethod
    def build(cls, *, seed: int, as_of: datetime, end_date: date | None = None, scale: float = 1.0) -> Self:
        """Draw the world that ends on `end_date` (default: the UTC day of `as_of`, which must be aware)."""
        world = World.build(seed=seed, end_date=end_date or as_of.date())
        return cls(world=world, as_of=as_of, scale=scale)

    @property
    def prefix(self) -> str:
        """What every event_id begins with: worlds that differ share no event."""
        name = f"{self.world.seed}.{self.world.dates[-1]:%Y%m%d}"
        return name if self.scale == 1.0 else f"{name}.x{self.scale:g}"

    def days(self) -> Iterator[EventColumns]:
        """Yield the events day by day, none of them after `as_of`."""
        last_second = int(self.as_of.timestamp())
        for columns in generate_days(self.world, scale=self.scale):
            yield columns.take(columns.at <= last_second)

    def counts(self) -> dict[Kind, int]:
        """Number of events by kind."""
        counts = dict.fromkeys(Kind, 0)
        for columns in self.days():
            for kind in Kind:
                counts[kind] += int((columns.kind == kind).sum())
        return counts

    def events(self, *, refunds: bool) -> Iterator[Event]:
        """Yield the refunds, or everything else, as messages."""
        for columns in self.days():
            wanted = (columns.kind == Kind.REFUNDED) == refunds
            yield from event_messages(columns.take(wanted), prefix=self.prefix)


async def load(history: History, ingestion: Ingestion) -> Totals:
    """Send the catalog, then the events, then the refunds: a refund needs its original to be there."""
    world = history.world
    merchants = await ingestion.upsert_merchants(merchant_messages(world))
    users = await ingestion.upsert_users(user_messages(world))
    campaigns = await ingestion.upsert_campaigns(campaign_messages(world))
    print(f"catalog: {merchants} merchants, {users:,} users, {campaigns} campaigns", flush=True)
    counts = history.counts()
    refunds = counts[Kind.REFUNDED]
    sent = await ingestion.send(
        history.events(refunds=False), total=sum(counts.values()) - refunds, label="simulated world"
    )
    returned = await ingestion.send(history.events(refunds=True), total=refunds, label="refunds")
    return sent + returned
