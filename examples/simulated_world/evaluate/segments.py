"""What segments truly convert more than everybody: what the service says it estimates, from the equations.

Of all campaigns of a type: conversions per view of the segment's deliveries as they were sent, over those
that everybody's deliveries of the same campaigns (the segment's among them) would have had at the same
offers. The luck of days and of single views is left out.
"""

from collections.abc import Mapping
from dataclasses import replace
from itertools import pairwise
from typing import Final

import numpy as np

from examples.simulated_world import response
from examples.simulated_world.columns import EventColumns, Kind
from examples.simulated_world.events import conversion_probability, generate_days
from examples.simulated_world.population import LIFECYCLES, BoolArray
from examples.simulated_world.response import FloatArray
from examples.simulated_world.world import World

HIGH_VALUE: Final = "high_value"
SEGMENTS: Final = (*LIFECYCLES, HIGH_VALUE)


def segment_gains(world: World) -> Mapping[tuple[int, str], float]:
    """Return what sending to a segment instead of to everybody gains, by campaign type and segment."""
    sent = EventColumns.concatenate(
        [columns.take(columns.kind == Kind.DELIVERED) for columns in generate_days(world)]
    )
    own, everybody = np.zeros((2, len(response.TYPE_INTERCEPT), len(SEGMENTS)))
    order = np.argsort(sent.campaign, kind="stable")
    bounds = np.searchsorted(sent.campaign[order], np.arange(len(world.campaigns.names) + 1))
    for campaign, (first, end) in enumerate(pairwise(bounds.tolist())):
        if end > first:
            kind = world.campaigns.campaign_type[campaign]
            of_campaign = _compare(world, sent.take(order[first:end]))
            own[kind] += of_campaign[0]
            everybody[kind] += of_campaign[1]
    gains = own / everybody - 1.0
    return {
        (kind, name): float(gains[kind, place])
        for kind in range(len(gains))
        for place, name in enumerate(SEGMENTS)
    }


def _compare(world: World, sent: EventColumns) -> tuple[FloatArray, FloatArray]:
    """Return a campaign's conversions expected of segments (5), and of as many views of everybody."""
    profile = world.users.hour_profile[sent.user, world.local_hours(sent)]
    views, no_luck = response.view_probability(profile), np.zeros(len(sent))
    offers, at = np.unique(sent.offer_micros, return_inverse=True)
    rates = np.array(
        [
            conversion_probability(
                world, replace(sent, offer_micros=np.full(len(sent), offer)), profile, no_luck
            )
            for offer in offers
        ]
    )
    everybody = rates @ views / views.sum()
    inside = np.array([_members(world, sent, name) for name in SEGMENTS])
    return inside @ (views * rates[at, np.arange(len(sent))]), inside @ (views * everybody[at])


def _members(world: World, sent: EventColumns, segment: str) -> BoolArray:
    if segment == HIGH_VALUE:
        return world.users.high_value[sent.user]
    return np.asarray(world.users.lifecycle[sent.user] == LIFECYCLES.index(segment), dtype=np.bool_)
