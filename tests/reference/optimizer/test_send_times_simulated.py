"""Send times on a simulated world, every third of its 5,000 users, beside what simple answers reach.

The expected numbers are issue 5's (the best hour among the first three for 87 % of users) and the world's own
equations (examples/simulated_world/README.md). Seeds 1 and 11 were used in development; this one was not.
"""

import dataclasses
from datetime import date

import numpy as np
import pytest

from examples.simulated_world.columns import EventColumns, Kind
from examples.simulated_world.counted import CountedWorld
from examples.simulated_world.evaluate.hours import score_hours
from examples.simulated_world.evaluate.timing import LateDeliveries
from examples.simulated_world.events import conversion_probability, generate_days
from examples.simulated_world.population import FIRST_WAKING_HOUR, LAST_WAKING_HOUR
from examples.simulated_world.response import WEEKDAY_EFFECT, view_probability
from examples.simulated_world.timing_gains import judge_timing
from examples.simulated_world.truth import Truth
from examples.simulated_world.world import World
from services.optimizer.domain.send_time.send_time import QuietHours, SendTime

SEED = 20_262
END = date(2026, 11, 19)
QUIET = QuietHours(start=22, end=7)
USERS = np.arange(0, 5_000, 3)
ASKED = 300
"""Users whose true conversion rate is computed."""


@pytest.fixture(scope="module")
def counted() -> CountedWorld:
    return CountedWorld.build(SEED, END).only(USERS)


@pytest.fixture(scope="module")
def truth(counted: CountedWorld) -> Truth:
    return Truth.of(counted.world)


@pytest.fixture(scope="module")
def found(counted: CountedWorld) -> list[SendTime]:
    return counted.recommend(QUIET)


def test_the_best_hour_is_among_the_first_three(
    counted: CountedWorld, truth: Truth, found: list[SendTime]
) -> None:
    """Quiet hours cost those whose best hour is quiet; nothing else may cost much."""
    ours = score_hours([best.ranked_hours for best in found], USERS.tolist(), truth)
    quiet_share = np.mean(~QUIET.allowed[truth.best_hours[USERS, 0]])
    acts = counted.history.hours.acts
    frequency = score_hours(np.argsort(-acts, axis=1, kind="stable").tolist(), USERS.tolist(), truth)
    busiest = np.argsort(-acts.sum(axis=0), kind="stable").tolist()
    assert ours >= 0.95
    assert ours >= 1 - quiet_share - 0.02
    assert 0.84 <= frequency <= 0.91  # the user's own three most frequent hours
    assert score_hours([busiest] * len(USERS), USERS.tolist(), truth) < 0.35


def test_confidence_is_how_often_the_window_holds_the_best_hour(truth: Truth, found: list[SendTime]) -> None:
    """Within 0.12 of what happens at every level, on the careful side at the lower ones."""
    best = np.array(
        [next(hour for hour in hours if QUIET.allowed[hour]) for hours in truth.best_hours[USERS]]
    )
    hits = np.array([entry.optimal_hour for entry in found]) == best
    confidence = np.array([entry.confidence for entry in found])
    assert abs(confidence.mean() - hits.mean()) < 0.08
    for low, high in ((0.3, 0.5), (0.5, 0.7), (0.7, 0.9), (0.9, 1.01)):
        level = (confidence >= low) & (confidence < high)
        assert level.sum() > 80
        assert -0.05 < hits[level].mean() - confidence[level].mean() < 0.15


def test_the_best_day_is_the_one_that_converts_best(found: list[SendTime]) -> None:
    best = int(np.argmax(WEEKDAY_EFFECT))
    assert np.mean([entry.optimal_day == best for entry in found]) > 0.9


def test_rates_of_the_hours_shown_are_those_of_the_equations(
    counted: CountedWorld, found: list[SendTime]
) -> None:
    """True rates are those of the campaigns and offers that the user was sent, at each of the first hours.

    Of 300 users and three hours each, 90 % intervals of 87 to 94 % hold; a user's three go together.
    """
    world = counted.world
    sent = EventColumns.concatenate(
        [columns.take(columns.kind == Kind.DELIVERED) for columns in generate_days(world)]
    )
    asked = np.linspace(0, len(USERS) - 1, ASKED).astype(int)
    users, of_asked = USERS[asked], [found[position] for position in asked]
    own = [np.flatnonzero(sent.user == user) for user in users]
    owner = np.repeat(np.arange(ASKED), [len(positions) for positions in own])
    rows = sent.take(np.concatenate(own))
    count = np.bincount(owner, minlength=ASKED)
    reached = np.flatnonzero(count > 0)
    covered = {"conversions": list[bool](), "views": list[bool](), "score": list[bool]()}
    for place in range(3):
        hour = np.array([entry.ranked_hours[place] for entry in of_asked])
        profile = world.users.hour_profile[rows.user, hour[owner]]
        probability = conversion_probability(world, rows, profile, np.zeros(len(rows)))
        rate = np.bincount(owner, probability, ASKED) / np.maximum(count, 1)
        views = view_probability(world.users.hour_profile[users, hour])
        for user in reached:
            scores, at = of_asked[user].hours, int(hour[user])
            for name, interval, value in (
                ("conversions", scores.conversion_interval(at), rate[user]),
                ("views", scores.view_interval(at), views[user]),
                ("score", scores.value_interval(at), rate[user] * views[user]),
            ):
                covered[name].append(interval is not None and interval.lower <= value <= interval.upper)
        pairs = list(zip(of_asked, hour, strict=True))
        expected = np.array([entry.hours.conversion_rates[at] for entry, at in pairs])
        assert abs((expected - rate)[reached].mean()) < 0.03
        assert abs((np.array([entry.hours.view_rates[at] for entry, at in pairs]) - views).mean()) < 0.04
    assert all(0.85 <= np.mean(held) <= 0.955 for held in covered.values())
    best = [entry.hours.conversion_interval(entry.optimal_hour) for entry in found]
    assert [entry.conversion_rate_interval for entry in found] == best


def test_hours_at_which_nothing_was_sent_are_judged_by_what_users_do_then(counted: CountedWorld) -> None:
    """Nothing was sent after noon: the best hours of those who buy in the evening are found all the same."""
    history, sendings = counted.history, counted.sendings
    early = sendings.hour < 12
    kept = dataclasses.replace(
        sendings,
        **{field.name: getattr(sendings, field.name)[early] for field in dataclasses.fields(sendings)},
    )
    hours = history.hours
    before_noon = np.arange(24) < 12
    masked = dataclasses.replace(
        history,
        hours=dataclasses.replace(
            hours,
            deliveries=hours.deliveries * before_noon,
            views=hours.views * before_noon,
            conversions=hours.conversions * before_noon,
        ),
    )
    world = dataclasses.replace(counted, history=masked, sendings=kept)
    truth = Truth.of(counted.world)
    best = truth.best_hours[USERS, 0]
    evening = np.flatnonzero((best >= 12) & (best < 22))
    found = world.recommend(QUIET)
    hits = score_hours([found[at].ranked_hours for at in evening], USERS[evening].tolist(), truth)
    assert hits >= 0.90


def test_nothing_happens_in_the_worlds_night() -> None:
    """What the seven above is there for: the default quiet hours leave out hours that the world has."""
    waking = [hour for hour in range(FIRST_WAKING_HOUR, LAST_WAKING_HOUR + 1) if QUIET.allowed[hour]]
    assert waking == list(range(7, 22))
    assert World.build(seed=SEED, end_date=END).users.hour_profile[:, :7].max() == 0


def test_gains_of_timing_hold_what_those_gain_who_follow_them(counted: CountedWorld) -> None:
    """True of the users reached, at the hours answered: eight worlds hold 97 to 100 % of their campaigns.

    What users' truly best hours would gain is more, and no one's to have: intervals hold it far less often.
    """
    late = LateDeliveries.of(counted.world)
    known = LateDeliveries(
        world=late.world,
        sent={
            campaign: deliveries.take(np.isin(deliveries.user, USERS))
            for campaign, deliveries in late.sent.items()
        },
    )
    sample = np.linspace(0, len(USERS) - 1, 500).astype(np.intp)
    judged = judge_timing(counted, known, USERS, sample)
    assert len(judged) > 100
    assert all(gain.is_recommended for gain in judged.values())
    assert np.mean([gain.is_held for gain in judged.values()]) > 0.9
    told, truth = np.array([(gain.choice.effect, gain.truth) for gain in judged.values()]).T
    assert np.median(told) == pytest.approx(np.median(truth), abs=0.12)
    # Far above the bar selection takes nothing away.
    assert told == pytest.approx([gain.choice.measured_effect for gain in judged.values()], rel=1e-3)
    assert np.mean([known.most(campaign) - judged[campaign].truth for campaign in judged]) > 0.03
