"""The simulated world as the affinity job reads it: contacts by day, views of campaigns, merchants."""

from dataclasses import dataclass
from datetime import date
from typing import Final

import numpy as np

from examples.simulated_world.columns import EventColumns, Kind
from examples.simulated_world.events import generate_days
from examples.simulated_world.population import CATEGORIES
from examples.simulated_world.world import World
from services.optimizer.affinity_training.pipeline import Fitted, fit_affinity
from services.optimizer.domain.affinity.answer import gather_for
from services.optimizer.domain.affinity.contacts import Contact, Contacts, FloatArray, IntArray
from services.optimizer.domain.affinity.features import Merchants
from services.optimizer.domain.affinity.model import score_users
from services.optimizer.domain.affinity.response import Exposures

CONTACTS: Final = {
    Kind.PURCHASED: Contact.VISIT,
    Kind.CONVERTED: Contact.REDEMPTION,
    Kind.GEOFENCE_ENTERED: Contact.PASSING,
}
_EXPOSED: Final = (Kind.VIEWED, Kind.CONVERTED)
_UNIX_EPOCH: Final = date(1970, 1, 1).toordinal()


@dataclass(frozen=True, kw_only=True)
class AffinityWorld:
    """A world; `today` is the first UTC day after its last whole one."""

    world: World
    contacts: Contacts
    exposures: Exposures
    merchants: Merchants
    today: int

    @property
    def user_count(self) -> int:
        """How many users there are."""
        return len(self.world.users.city)

    def fit(self) -> Fitted:
        """Return what the affinity job makes of it."""
        return fit_affinity(
            self.contacts,
            self.merchants,
            version=1,
            today=self.today,
            user_count=self.user_count,
            exposures=self.exposures,
        )

    def scores(self, fitted: Fitted) -> FloatArray:
        """Return the affinities (users, merchants), of far merchants too, as RecommendCampaigns has them."""
        evidence = gather_for(fitted.model, self.contacts, self.today + 1, self.user_count)
        scored = score_users(fitted.model, evidence, also=np.arange(len(self.merchants)))
        return scored.probability.reshape(self.user_count, -1)


def read_world(seed: int, end_date: date) -> AffinityWorld:
    """Return the world of a seed whose last local day is `end_date`."""
    world = World.build(seed=seed, end_date=end_date)
    met, exposed = [], []
    for events in generate_days(world):
        met.append(_met(events.take(np.isin(events.kind, list(CONTACTS)))))
        exposed.append(_exposed(events.take((events.campaign >= 0) & np.isin(events.kind, _EXPOSED))))
    rows = np.unique(np.concatenate(met), axis=0).astype(np.int64)
    merchants = world.merchants
    return AffinityWorld(
        world=world,
        contacts=Contacts(user=rows[:, 0], merchant=rows[:, 1], kind=rows[:, 2], day=rows[:, 3]),
        exposures=_count(world, np.concatenate(exposed).astype(np.int64)),
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


def _met(events: EventColumns) -> IntArray:
    kinds = np.select([events.kind == kind for kind in CONTACTS], list(CONTACTS.values()))
    return np.column_stack([events.user, events.merchant, kinds, _day_of(events)])


def _exposed(events: EventColumns) -> IntArray:
    is_view = events.kind == Kind.VIEWED
    return np.column_stack([events.user, events.campaign, events.offer_micros, _day_of(events), is_view])


def _day_of(events: EventColumns) -> IntArray:
    return np.asarray(events.at // 86_400 + _UNIX_EPOCH, dtype=np.int64)


def _count(world: World, rows: IntArray) -> Exposures:
    """Return the exposures of (user, campaign, offer, day, whether it is a view)."""
    keys, place = np.unique(rows[:, :4], axis=0, return_inverse=True)
    views, conversions = (
        np.bincount(place.reshape(-1)[rows[:, 4] == is_view], minlength=len(keys)).astype(np.int64)
        for is_view in (1, 0)
    )
    _, stratum = np.unique(keys[:, 1:3], axis=0, return_inverse=True)
    every = Exposures(
        user=keys[:, 0],
        merchant=world.campaigns.merchant[keys[:, 1]].astype(np.int64),
        stratum=stratum.reshape(-1).astype(np.int64),
        day=keys[:, 3],
        views=views,
        conversions=np.minimum(conversions, views),
    )
    return every.select(views > 0)
