"""The simulated world as the affinity job reads it: contacts by day, and the merchants."""

from dataclasses import dataclass
from datetime import date
from typing import Final

import numpy as np

from examples.simulated_world.events import Kind, generate_days
from examples.simulated_world.population import CATEGORIES
from examples.simulated_world.world import World
from services.optimizer.domain.affinity_contacts import Contact, Contacts
from services.optimizer.domain.affinity_features import Merchants

CONTACTS: Final = {
    Kind.PURCHASED: Contact.VISIT,
    Kind.CONVERTED: Contact.REDEMPTION,
    Kind.GEOFENCE_ENTERED: Contact.PASSING,
}
_UNIX_EPOCH: Final = date(1970, 1, 1).toordinal()


@dataclass(frozen=True, kw_only=True)
class AffinityWorld:
    """A world; `today` is the first UTC day after its last whole one."""

    world: World
    contacts: Contacts
    merchants: Merchants
    today: int

    @property
    def user_count(self) -> int:
        return len(self.world.users.city)


def read_world(seed: int, end_date: date) -> AffinityWorld:
    """Return the world of a seed whose last local day is `end_date`."""
    world = World.build(seed=seed, end_date=end_date)
    parts = []
    for events in generate_days(world):
        chosen = events.take(np.isin(events.kind, list(CONTACTS)))
        kinds = np.select([chosen.kind == kind for kind in CONTACTS], list(CONTACTS.values()))
        days = chosen.at // 86_400 + _UNIX_EPOCH
        parts.append(np.column_stack([chosen.user, chosen.merchant, kinds, days]))
    rows = np.unique(np.concatenate(parts), axis=0).astype(np.int64)
    merchants = world.merchants
    return AffinityWorld(
        world=world,
        contacts=Contacts(user=rows[:, 0], merchant=rows[:, 1], kind=rows[:, 2], day=rows[:, 3]),
        merchants=Merchants(
            ids=np.arange(1, len(merchants.names) + 1, dtype=np.int64),
            names=merchants.names,
            categories=tuple(category.name for category in CATEGORIES),
            category=merchants.category.astype(np.int64),
            latitude=merchants.latitude,
            longitude=merchants.longitude,
        ),
        today=end_date.toordinal() + 1,
    )
