"""What other hours truly gain: of what the service says it estimates, from the equations.

Conversions of the deliveries that a campaign made in the whole days its hours are judged by, had they been
sent at the hours recommended, over those at the hours they were sent at: the same users, as often, on the
same days, at the same offers. Each user's own hour is the one that the system answers and not the user's
truly best one, which nobody knows: all who follow the advice send at the former. The luck of days and of
single views is left out.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Final, Self

import numpy as np

from examples.simulated_world import response
from examples.simulated_world.columns import EventColumns, Kind
from examples.simulated_world.events import conversion_probability, generate_days
from examples.simulated_world.population import (
    DAYS,
    FIRST_WAKING_HOUR,
    HOURS,
    LAST_WAKING_HOUR,
    BoolArray,
    IntArray,
)
from examples.simulated_world.world import World
from services.optimizer.domain.recommendations.timing import REACHED_DAYS

OWN_HOUR: Final = "own_best_hour"
QUIET_FROM: Final = 22
"""No hour is recommended from here on, nor before the waking ones."""
NO_HOUR: Final = -1
_HOURS: Final = np.arange(HOURS)
ALLOWED: Final[BoolArray] = (
    (_HOURS >= FIRST_WAKING_HOUR) & (_HOURS <= LAST_WAKING_HOUR) & (_HOURS < QUIET_FROM)
)


@dataclass(frozen=True, kw_only=True)
class LateDeliveries:
    """What campaigns sent in the whole days that their hours are judged by, by campaign.

    The days are the 28 before the world's last, on which the service is asked.
    """

    world: World
    sent: Mapping[int, EventColumns]

    @classmethod
    def of(cls, world: World) -> Self:
        """Generate the deliveries anew, as the same seed gives them."""
        today = DAYS - 1
        sent = EventColumns.concatenate(
            [
                columns.take(
                    (columns.kind == Kind.DELIVERED)
                    & (columns.day >= today - REACHED_DAYS)
                    & (columns.day < today)
                )
                for columns in generate_days(world)
            ]
        )
        order = np.argsort(sent.campaign, kind="stable")
        bounds = np.searchsorted(sent.campaign[order], np.arange(len(world.campaigns.names) + 1))
        return cls(
            world=world,
            sent={
                campaign: sent.take(order[first:end])
                for campaign, (first, end) in enumerate(pairwise(bounds.tolist()))
                if end > first
            },
        )

    def users_of(self, campaigns: set[int]) -> list[int]:
        """Return the users that any of the campaigns reached, rising."""
        reached = [self.sent[campaign].user for campaign in campaigns if campaign in self.sent]
        return np.unique(np.concatenate(reached)).tolist() if reached else []

    def gain(self, campaign: int, choice: str, own_hours: IntArray) -> float:
        """Return what a choice gains; `own_hours` are the users' own ones as the system answers them.

        Of users for whom it answers none nothing is told (`NO_HOUR`), so that they do not count. A campaign
        without late deliveries gains nothing.
        """
        if campaign not in self.sent:
            return 0.0
        sent = self.sent[campaign]
        hours = own_hours[sent.user] if choice == OWN_HOUR else np.full(len(sent), int(choice))
        known = hours != NO_HOUR
        then = self._conversions(sent.take(known), hours[known])
        return then / self._conversions(sent.take(known), self.world.local_hours(sent)[known]) - 1.0

    def most(self, campaign: int) -> float:
        """Return what the best choice gains: each user's truly best hour, which nobody knows."""
        return self.gain(campaign, OWN_HOUR, truly_best_hours(self.world))

    def _conversions(self, sent: EventColumns, hours: IntArray) -> float:
        profile = self.world.users.hour_profile[sent.user, hours]
        rates = conversion_probability(self.world, sent, profile, np.zeros(len(sent)))
        return float(response.view_probability(profile) @ rates)


def truly_best_hours(world: World) -> IntArray:
    """Return each user's best hour at which something may be sent."""
    return np.asarray(np.where(ALLOWED, world.users.hour_profile, -1.0).argmax(axis=1), dtype=np.intp)
