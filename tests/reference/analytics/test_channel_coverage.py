"""What the 95 % intervals of a channel cover beside a channel of many more users who come once; seeded.

Users of the channel have 20 views each, those of the other one; all convert at rates of their own, Beta with
mean 0.2 and a correlation of a user's events of a third.
"""

import numpy as np
import pytest

from services.analytics.domain.channels import ChannelTotals, measure_channels
from services.analytics.domain.metrics import CampaignTotals, Counts, UserMoments

WORLDS = 1_500
RATE, VIEWS = 0.2, 20


def totals_of(users: int, conversions: int, squares: int, views: int) -> CampaignTotals:
    """Users of `views` views each; conversions and the sum of their squares over users."""
    return CampaignTotals(
        counts=Counts(impressions=users * views, views=users * views, conversions=conversions),
        moments=UserMoments(
            users=users,
            reached_users=users,
            impressions_impressions=users * views**2,
            views_views=users * views**2,
            views_conversions=views * conversions,
            conversions_conversions=squares,
        ),
    )


def add(one: CampaignTotals, other: CampaignTotals) -> CampaignTotals:
    return CampaignTotals(
        counts=one.counts + other.counts,
        moments=UserMoments(
            **{
                name: getattr(one.moments, name) + getattr(other.moments, name)
                for name in (
                    "users",
                    "views_views",
                    "views_conversions",
                    "conversions_conversions",
                )
            }
        ),
    )


def holds_rate(channel: CampaignTotals, life: CampaignTotals | None) -> bool:
    [measured] = measure_channels([ChannelTotals(channel=1, totals=channel)], life)
    interval = measured.conversion_rate.interval
    assert interval is not None
    return interval.lower <= RATE <= interval.upper


@pytest.mark.parametrize(("users", "others", "borrowed"), [(150, 3_000, 0.865), (100, 10_000, 0.713)])
def test_a_channels_own_users_cover_where_the_lifes_design_effect_does_not(
    users: int, others: int, borrowed: float
) -> None:
    random = np.random.default_rng(11)
    rates = random.beta(2 * RATE, 2 * (1 - RATE), (WORLDS, users))
    conversions = random.binomial(VIEWS, rates)
    elsewhere = random.binomial(others, RATE, WORLDS)  # one view a user: independent of each other
    own = by_life = 0
    for of_users, once in zip(conversions, elsewhere.tolist(), strict=True):
        channel = totals_of(users, int(of_users.sum()), int((of_users * of_users).sum()), VIEWS)
        life = add(channel, totals_of(others, once, once, 1))
        own += holds_rate(channel, None)
        by_life += holds_rate(channel, life)
    assert own / WORLDS >= 0.94
    assert by_life / WORLDS == pytest.approx(borrowed, abs=0.035)


def test_the_lifes_design_effect_covers_where_users_of_the_channel_come_once() -> None:
    random = np.random.default_rng(12)
    conversions = random.binomial(VIEWS, random.beta(2 * RATE, 2 * (1 - RATE), (WORLDS, 150)))
    hits = 0
    for of_users, once in zip(conversions, random.binomial(3_000, RATE, WORLDS).tolist(), strict=True):
        other = totals_of(150, int(of_users.sum()), int((of_users * of_users).sum()), VIEWS)
        channel = totals_of(3_000, once, once, 1)
        hits += holds_rate(channel, add(channel, other))
    assert hits / WORLDS >= 0.95
