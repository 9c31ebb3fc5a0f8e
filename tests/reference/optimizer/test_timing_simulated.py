"""Timing's gains on a simulated world, and on the same one with all that hours do taken out."""

from dataclasses import replace
from datetime import date

import numpy as np
import pytest

from services.optimizer.domain.send_time import QuietHours, recommend
from services.optimizer.domain.send_time_counts import HOURS, TYPES, CycleCounts
from services.optimizer.domain.send_time_profile import fit_profile
from services.optimizer.domain.timing import (
    MINIMUM_USERS,
    SMALLEST_GAIN,
    ReachedUsers,
    TimingChoice,
    choose_timing,
)
from tests.reference.optimizer.send_time_world import CountedWorld

SEED = 20_267
END = date(2026, 11, 19)
QUIET = QuietHours(start=22, end=7)
USERS = np.arange(0, 5_000, 20)


@pytest.fixture(scope="module")
def counted() -> CountedWorld:
    return CountedWorld.build(SEED, END).only(USERS)


def without_hours(counted: CountedWorld) -> CountedWorld:
    """Return the world with its deliveries' hours shuffled, and its purchases at any hour alike."""
    rng = np.random.default_rng(1)
    sent = replace(counted.sendings, hour=rng.permutation(counted.sendings.hour))
    bought = counted.history.hours.acts.sum(axis=1).astype(np.int64)
    sums = np.zeros((3, len(bought), TYPES, HOURS))
    for total, answers in zip(sums, (sent.deliveries, sent.views, sent.conversions), strict=True):
        np.add.at(total, (sent.user, sent.campaign_type, sent.hour), answers)
    hours = CycleCounts(
        acts=rng.multinomial(bought, np.full(HOURS, 1 / HOURS)).astype(np.float64),
        deliveries=sums[0],
        views=sums[1],
        conversions=sums[2],
    )
    return replace(counted, sendings=sent, history=replace(counted.history, hours=hours))


def choose_all(counted: CountedWorld) -> list[TimingChoice]:
    """Return the choice of each campaign that reached enough users."""
    sent = counted.sendings
    profile = fit_profile(counted.history, sent, counted.segment_set_ids)
    times = recommend(profile, counted.history, counted.segment_set_ids, campaign_type=0, quiet=QUIET)
    values = np.array([each.hours.values for each in times])
    found = []
    for campaign in np.unique(sent.campaign):
        own = sent.campaign == campaign
        users, place = np.unique(sent.user[own], return_inverse=True)
        if len(users) < MINIMUM_USERS:
            continue
        sums = np.bincount(place, weights=values[sent.user[own], sent.hour[own]])
        reached = ReachedUsers(
            hour_values=values[users], current=sums / np.bincount(place), is_quiet=~QUIET.allowed
        )
        choice = choose_timing(reached)
        assert choice is not None
        found.append(choice)
    return found


def test_where_hours_matter_each_users_own_is_chosen(counted: CountedWorld) -> None:
    found = choose_all(counted)
    assert len(found) >= 50
    assert all(choice.hour is None and choice.effect >= SMALLEST_GAIN for choice in found)


def test_where_hours_do_not_matter_none_gains_enough(counted: CountedWorld) -> None:
    found = choose_all(without_hours(counted))
    assert len(found) >= 50
    assert max(choice.effect for choice in found) < SMALLEST_GAIN / 2
