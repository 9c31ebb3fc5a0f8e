"""What a sample of users says beside their hours: how users recur, and how far view rates are off."""

import json
from dataclasses import replace

import numpy as np
import pytest

from services.optimizer.domain.send_time.counts import (
    TYPES,
    CycleCounts,
    FloatArray,
    History,
    IntArray,
    Sendings,
)
from services.optimizer.domain.send_time.documents import profile_from_document, profile_to_document
from services.optimizer.domain.send_time.profile import SendTimeProfile, ViewShift, fit_profile
from services.optimizer.domain.send_time.recurrence import measure_recurrence
from services.optimizer.domain.send_time.send_time import QuietHours, recommend
from services.optimizer.domain.send_time.view_calibration import calibrate_views

HOURS = np.arange(24)


def sendings(user: IntArray, campaign: IntArray, views: FloatArray, conversions: FloatArray) -> Sendings:
    zeros = np.zeros(len(user), dtype=np.intp)
    return Sendings(
        user=user,
        campaign=campaign,
        campaign_type=zeros + 1,
        weekday=zeros,
        hour=zeros,
        deliveries=views,
        views=views,
        conversions=conversions,
    )


def met(campaigns: int, users: int, spread: float, seed: int = 7) -> Sendings:
    """Each user views each campaign once, at a rate of the user's own (mean 0.3)."""
    rng = np.random.default_rng(seed)
    rate = np.clip(0.3 + spread * rng.choice([-1.0, 1.0], users), 0.0, 1.0)
    user, campaign = np.repeat(np.arange(users), campaigns), np.tile(np.arange(campaigns), users)
    return sendings(user, campaign, np.ones(len(user)), (rng.random(len(user)) < rate[user]).astype(float))


def test_users_who_convert_alike_in_all_campaigns_inflate_the_variance() -> None:
    """By hand: views vary by 0.21 each, two of a user together by 0.2^2; 1 + 9 x 0.04 / 0.21 for ten."""
    nobody = [None] * 4_000
    assert measure_recurrence(met(10, 4_000, 0.2), nobody)[1] == pytest.approx(1 + 9 * 0.04 / 0.21, rel=0.06)
    alike = measure_recurrence(met(10, 4_000, 0.0), nobody)[1]
    assert alike is not None
    assert 1.0 <= alike < 1.06


def test_campaigns_with_few_of_the_sample_hide_no_recurrence() -> None:
    """By hand: each meets 10 of 2,500 campaigns, with seven others of the sample in each."""
    rng, chosen = np.random.default_rng(11), np.arange(2_000)
    user = np.repeat(chosen, 10)
    campaign = np.concatenate([rng.choice(2_500, 10, replace=False) for _ in chosen])
    rate = 0.3 + 0.2 * rng.choice([-1.0, 1.0], len(chosen))
    converted = (rng.random(len(user)) < rate[user]).astype(float)
    found = measure_recurrence(sendings(user, campaign, np.ones(len(user)), converted), [None] * len(chosen))
    assert found[1] == pytest.approx(1 + 9 * 0.04 / 0.21, rel=0.03)


def test_what_sets_of_segments_differ_in_is_no_recurrence() -> None:
    """Users of the set 0 convert at 0.1 and those of 1 at 0.5: within a set nobody differs."""
    told = met(10, 4_000, 0.2, seed=8)
    first = np.bincount(told.user, told.conversions) > 3.0
    rng = np.random.default_rng(9)
    chance = np.where(first[told.user], 0.5, 0.1)
    told = replace(told, conversions=(rng.random(len(chance)) < chance).astype(float))
    by_set = measure_recurrence(told, first.astype(int).tolist())[1]
    together = measure_recurrence(told, [None] * 4_000)[1]
    assert by_set is not None
    assert together is not None
    assert by_set < 1.06 < together


@pytest.mark.parametrize(("users", "spread"), [(199, 0.2), (400, -0.3)])
def test_too_small_a_sample_says_nothing(users: int, spread: float) -> None:
    told = met(3, users, max(spread, 0.0))
    if spread < 0.0:
        told = replace(told, conversions=np.zeros(len(told.user)))
    assert measure_recurrence(told, [None] * users) == (None,) * TYPES


def viewed_world(users: int, misfit: float, seed: int = 5) -> tuple[History, Sendings]:
    """Users buy at 9 or at 18 and view what comes then more often; at 18 by `misfit` more on the logit."""
    rng = np.random.default_rng(seed)
    own = rng.choice([9, 18], users)
    acts = rng.poisson(np.where(own[:, np.newaxis] == HOURS, 8.0, 0.3)).astype(float)
    user, hour = np.repeat(np.arange(users), 24), np.tile(HOURS[6:22], users * 2)[: users * 24]
    logit = -0.5 + 1.2 * (hour == own[user]) + misfit * ((hour == own[user]) & (hour == 18))
    views = (rng.random(len(user)) < 1 / (1 + np.exp(-logit))).astype(float)
    told = replace(sendings(user, user % 5, np.ones(len(user)), views), hour=hour, views=views)
    told = replace(told, conversions=views * (rng.random(len(user)) < 0.3))
    counts = np.zeros((3, users, TYPES, 24))
    for total, answers in zip(counts, (told.deliveries, told.views, told.conversions), strict=True):
        np.add.at(total, (told.user, told.campaign_type, told.hour), answers)
    hours = CycleCounts(acts=acts, deliveries=counts[0], views=counts[1], conversions=counts[2])
    days = CycleCounts(
        acts=acts[:, :7],
        deliveries=counts[0][..., :7],
        views=counts[1][..., :7],
        conversions=counts[2][..., :7],
    )
    return History(user_ids=tuple(str(each) for each in range(users)), hours=hours, days=days), told


def test_view_rates_are_moved_to_what_was_seen_of_deliveries_left_out() -> None:
    """The best hours' rates are 0.67 and 0.85; shrunk means are too low at the upper end, and moved up."""
    history, told = viewed_world(200, 1.0)
    nobody: list[int | None] = [None] * 200
    profile = fit_profile(history, told, nobody)
    shift = calibrate_views(profile, history, told, nobody)
    assert shift is not None
    assert np.all(np.diff(shift.rates) > 0.0)
    assert np.all(shift.variances > 0.0)
    quiet = QuietHours(start=0, end=0)
    plain = recommend(profile, history, nobody, campaign_type=0, quiet=quiet)
    moved = recommend(replace(profile, view_shift=shift), history, nobody, campaign_type=0, quiet=quiet)
    for entry, before in zip(moved, plain, strict=True):
        assert entry.hours.values == before.hours.values  # the ranking is as it was
        assert entry.ranked_hours == before.ranked_hours
    rates, deviations = shift.moved(np.array([0.5]), np.array([0.1]))
    assert rates[0] == pytest.approx(1 / (1 + np.exp(-np.interp(0.0, shift.rates, shift.shifts))))
    assert deviations[0] > 0.1
    kept = profile_from_document(
        json.loads(json.dumps(profile_to_document(replace(profile, view_shift=shift))))
    )
    assert isinstance(kept.view_shift, ViewShift)
    np.testing.assert_allclose(kept.view_shift.shifts, shift.shifts, atol=1e-6)


def test_where_nobody_can_tell_views_nothing_is_moved() -> None:
    history, told = viewed_world(40, 0.0)
    nobody: list[int | None] = [None] * 40
    assert calibrate_views(SendTimeProfile.unlearned(), history, told, nobody) is None
