"""Send times of users made by hand: quiet hours, whose history answers, and what is kept."""

import json
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from services.optimizer.domain.send_time.activity import Influence
from services.optimizer.domain.send_time.cell_scores import CellScores
from services.optimizer.domain.send_time.counts import TYPES, CellCount, History, list_sendings
from services.optimizer.domain.send_time.documents import profile_from_document, profile_to_document
from services.optimizer.domain.send_time.profile import CycleProfile, SendTimeProfile, fit_profile
from services.optimizer.domain.send_time.send_response import Response
from services.optimizer.domain.send_time.send_time import QuietHours, SendTime, Source, recommend
from services.optimizer.domain.send_time.timing_gain import AT_THEIR_WORD

NO_QUIET = QuietHours(start=0, end=0)


def act(user: str, hour: int, acts: int = 1, weekday: int = 0) -> CellCount:
    return CellCount(
        user_id=user,
        campaign_id=None,
        campaign_type=0,
        weekday=weekday,
        hour=hour,
        acts=acts,
        deliveries=0,
        views=0,
        conversions=0,
    )


def sent(user: str, hour: int, answers: tuple[int, int, int], campaign: str = "c1") -> CellCount:
    deliveries, views, conversions = answers
    return CellCount(
        user_id=user,
        campaign_id=campaign,
        campaign_type=1,
        weekday=hour % 7,
        hour=hour,
        acts=0,
        deliveries=deliveries,
        views=views,
        conversions=conversions,
    )


def ask(
    counts: Sequence[CellCount], user: str, profile: SendTimeProfile | None = None, segment: int | None = None
) -> SendTime:
    return recommend(
        profile or SendTimeProfile.unlearned(),
        History.of([user], [count for count in counts if count.user_id == user]),
        [segment],
        campaign_type=0,
        quiet=NO_QUIET,
    )[0]


@pytest.mark.parametrize(
    ("start", "end", "allowed"),
    [
        (22, 7, set(range(7, 22))),
        (1, 3, set(range(24)) - {1, 2}),
        (5, 5, set(range(24))),
        (13, 12, {12}),
    ],
)
def test_quiet_hours_may_run_over_midnight(start: int, end: int, allowed: set[int]) -> None:
    assert set(np.flatnonzero(QuietHours(start=start, end=end).allowed).tolist()) == allowed


def test_a_users_own_hours_count() -> None:
    found = ask([act("u", 19, 8, weekday=4), act("u", 18, 2, weekday=4)], "u")
    assert found.optimal_hour == 19
    assert found.ranked_hours[1] == 18
    assert found.optimal_day == 4
    assert (found.source, found.evidence) == (Source.USER, 10)
    assert found.conversion_rate is None
    assert found.conversion_rate_interval is None


def test_no_number_of_draws_makes_a_cell_certain_or_another_impossible() -> None:
    """A year of one hour and weekday: all 300 draws agree, which leaves others a chance of 1 % (3 / 300)."""
    found = ask([act("u", 19, 400, weekday=4)], "u")
    for scores in (found.hours, found.days):
        assert sum(scores.probabilities) == pytest.approx(1.0)
        assert min(scores.probabilities) > 0
        assert 0.985 < max(scores.probabilities) < 0.992
    quiet = recommend(
        SendTimeProfile.unlearned(),
        History.of(["u"], [act("u", 19, 400)]),
        [None],
        campaign_type=0,
        quiet=QuietHours(start=22, end=7),
    )[0]
    assert [hour for hour, each in enumerate(quiet.hours.probabilities) if each == 0] == [*range(7), 22, 23]


def test_neighbouring_hours_support_each_other() -> None:
    """Nine acts around 19:00 outweigh three at 9:00, though no single hour of theirs has more."""
    counts = [act("u", hour, 3) for hour in (18, 19, 20)] + [act("u", 9, 3)]
    assert ask(counts, "u").optimal_hour == 19


def test_midnight_has_neighbours_on_both_sides() -> None:
    counts = [act("u", hour, 3) for hour in (23, 0, 1)] + [act("u", 12, 3)]
    assert ask(counts, "u").optimal_hour == 0


def test_nobodys_history_is_no_better_than_a_guess() -> None:
    found = ask([], "u")
    assert found.source is Source.POPULATION
    assert found.confidence < 0.15


def test_segments_differ_where_their_users_do() -> None:
    """Segment 1 buys in the morning, 2 in the evening; a newcomer of either is answered for by its own."""
    rng = np.random.default_rng(8)
    counts, users, segments = [], [], list[int | None]()
    for number in range(120):
        segment = number % 2 + 1
        user = f"u{number}"
        users.append(user)
        segments.append(segment)
        for hour in rng.normal(9 if segment == 1 else 19, 1.5, 12).astype(int).tolist():
            counts.append(act(user, hour % 24))
    profile = fit_profile(History.of(users, counts), list_sendings(users, counts), segments)
    assert set(profile.hours.segment_means) == {1, 2}
    morning, evening = (ask([], "new", profile, segment) for segment in (1, 2))
    assert morning.source is evening.source is Source.SEGMENT
    assert abs(morning.optimal_hour - 9) <= 1
    assert abs(evening.optimal_hour - 19) <= 1
    assert ask([], "new", profile, 3).source is Source.POPULATION
    assert ask([act("own", 14, 10)], "own", profile, 1).optimal_hour == 14


def test_segments_that_do_not_differ_are_left_out() -> None:
    rng = np.random.default_rng(9)
    users = [f"u{number}" for number in range(120)]
    counts = [act(user, hour % 24) for user in users for hour in rng.normal(15, 3, 12).astype(int).tolist()]
    history = History.of(users, counts)
    same = fit_profile(history, list_sendings(users, counts), [number % 40 for number in range(120)])
    assert not same.hours.segment_means


def answered_world() -> tuple[list[str], list[CellCount]]:
    """Users who view and buy most at 18:00, less at 12:00, least at 8:00; three campaigns send at all."""
    rng = np.random.default_rng(10)
    users = [f"u{number}" for number in range(80)]
    counts = []
    for user in users:
        for hour, view, buy in ((8, 0.3, 0.1), (12, 0.5, 0.2), (18, 0.8, 0.4)):
            for campaign in ("c1", "c2", "c3"):
                views = int(rng.binomial(6, view))
                counts.append(sent(user, hour, (6, views, int(rng.binomial(views, buy))), campaign))
    return users, counts


def test_rates_are_those_that_were_seen() -> None:
    users, counts = answered_world()
    profile = fit_profile(History.of(users, counts), list_sendings(users, counts), [None] * len(users))
    newcomer = ask([], "new", profile)
    assert newcomer.optimal_hour == 18
    hours = newcomer.hours
    assert hours.view_rates is not None
    assert hours.conversion_rates is not None
    for hour, view, buy in ((8, 0.3, 0.1), (12, 0.5, 0.2), (18, 0.8, 0.4)):
        assert hours.view_rates[hour] == pytest.approx(view, abs=0.08)
        assert hours.conversion_rates[hour] == pytest.approx(buy, abs=0.08)
    assert hours.values[18] < hours.view_rates[18]
    keen = ask([sent("keen", 18, (10, 10, 10))], "keen", profile)
    idle = ask([sent("idle", 18, (10, 10, 0))], "idle", profile)
    assert keen.conversion_rate is not None
    assert idle.conversion_rate is not None
    assert keen.conversion_rate >= idle.conversion_rate


def test_a_kept_profile_answers_alike() -> None:
    users, counts = answered_world()
    segments: list[int | None] = [number % 2 for number in range(len(users))]
    profile = fit_profile(History.of(users, counts), list_sendings(users, counts), segments)
    profile = replace(profile, gain=AT_THEIR_WORD)
    kept = profile_from_document(json.loads(json.dumps(profile_to_document(profile), allow_nan=False)))
    assert kept.gain == AT_THEIR_WORD
    before, after = ask(counts, "u3", profile), ask(counts, "u3", kept)
    assert before.ranked_hours == after.ranked_hours
    np.testing.assert_allclose(before.hours.values, after.hours.values, rtol=1e-4)
    unlearned = SendTimeProfile.unlearned()
    again = profile_from_document(json.loads(json.dumps(profile_to_document(unlearned))))
    assert ask([act("u", 19, 8)], "u", again).optimal_hour == 19


def test_what_all_users_share_is_no_surer_than_it_is_known() -> None:
    """Day 2 is better by 0.1 on the logit, give or take 0.1 a day: the best one as often as said."""
    views = Response(
        offset=np.tile(0.1 * (np.arange(7) == 2), (TYPES, 1)),
        influence=Influence(of_log=0.0, of_share=0.0),
        uncertainty=np.tile(0.01 * np.eye(7), (TYPES, 1, 1)),
    )
    unlearned = SendTimeProfile.unlearned()
    alike = CycleProfile(mean=np.zeros(7), covariance=1e-9 * np.eye(7), views=views)
    known = ask([], "nobody", replace(unlearned, days=alike))
    taken_for_exact = replace(alike, views=replace(views, uncertainty=None))
    exact = ask([], "nobody", replace(unlearned, days=taken_for_exact))
    drawn = views.offset[1] + np.random.default_rng(1).normal(0.0, 0.1, (100_000, 7))
    share = float(np.mean(drawn.argmax(axis=1) == 2))
    assert 0.3 < share < 0.6
    assert known.days.probabilities[2] == pytest.approx(share, abs=0.09)  # three deviations of 300 draws
    assert exact.days.probabilities[2] > 0.99
    assert known.optimal_day == exact.optimal_day == 2


def test_weekdays_that_occurred_more_often_are_no_better_ones() -> None:
    """Ten days of purchases that fall on any: three weekdays came twice, and are the best of 3 in 7 users.

    Of 400 users 171 then, with a deviation of 10; without exposure they were nearly all.
    """
    rng = np.random.default_rng(8)
    users = [f"u{number}" for number in range(400)]
    counts = []
    for user in users:
        bought = np.bincount(rng.integers(10, size=rng.poisson(5)) % 7, minlength=7)
        counts += [
            replace(act(user, 12, int(bought[day]), weekday=day), days=2 if day < 3 else 1)
            for day in range(7)
        ]
    history = History.of(users, counts)
    profile = fit_profile(history, list_sendings(users, counts), [None] * len(users))
    found = recommend(profile, history, [None] * len(users), campaign_type=0, quiet=NO_QUIET)
    often = sum(each.optimal_day < 3 for each in found)
    unexposed = replace(history, days=replace(history.days, exposure=None))
    before = fit_profile(unexposed, list_sendings(users, counts), [None] * len(users))
    misled = recommend(before, unexposed, [None] * len(users), campaign_type=0, quiet=NO_QUIET)
    assert sum(each.optimal_day < 3 for each in misled) > 350
    assert 100 < often < 250


def test_equal_values_are_ranked_by_the_hour() -> None:
    scores = CellScores(
        values=(0.1, 0.3, 0.3), view_rates=None, conversion_rates=None, probabilities=(0, 0.5, 0.5)
    )
    assert scores.ranked() == (1, 2, 0)
    assert scores.ranked(np.array([True, False, True])) == (2, 0)


def test_a_profile_of_nobody_is_the_prior() -> None:
    profile = fit_profile(History.of([], []), list_sendings([], []), [])
    assert profile.users == 0
    assert profile.hours.views is None
    assert ask([act("u", 7, 6)], "u", profile).optimal_hour == 7
