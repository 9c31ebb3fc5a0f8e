"""What timing claims to gain against what is true, in small worlds whose equations are known.

`python -m examples.simulated_world.gains` does it for more and larger worlds.
"""

from dataclasses import fields, replace

import numpy as np
import pytest

from examples.simulated_world.gains import LUCKY_DAYS, NO_HOURS, SMALL, JudgedGain, judge_gains
from examples.simulated_world.hours_world import Equations, HoursWorld
from services.optimizer.domain.send_time import calibration as calibrating
from services.optimizer.domain.send_time.calibration import (
    PRIOR_CENTRE,
    PRIOR_DEVIATION,
    calibrate_gains,
)
from services.optimizer.domain.send_time.counts import Sendings
from services.optimizer.domain.send_time.profile import SendTimeProfile, fit_profile


def judge(equations: Equations, seeds: range) -> list[JudgedGain]:
    return [gain for seed in seeds for gain in judge_gains(HoursWorld.build(seed, equations))]


def test_gains_of_own_hours_are_told_as_they_are() -> None:
    # 4 worlds of 5 campaigns, which share their users: the truth is 0.8, values alone promise a tenth less.
    found = judge(SMALL, range(30_011, 30_015))
    assert len(found) == 20
    assert all(gain.choice.hour is None and gain.truth > 0.3 for gain in found)
    assert np.mean([gain.is_held for gain in found]) >= 0.8
    assert abs(np.mean([gain.choice.measured_effect - gain.truth for gain in found])) < 0.15
    assert all(gain.choice.effect <= gain.choice.measured_effect for gain in found)
    assert np.mean([gain.choice.interval.upper - gain.choice.interval.lower for gain in found]) < 1.1
    assert np.mean([gain.is_recommended for gain in found]) >= 0.9


@pytest.mark.parametrize(
    ("equations", "seeds"), [(NO_HOURS, range(30_021, 30_025)), (LUCKY_DAYS, range(30_061, 30_066))]
)
def test_where_hours_make_no_difference_few_are_recommended(equations: Equations, seeds: range) -> None:
    # One world in ten may be, with all of its campaigns.
    found = judge(equations, seeds)
    assert len(found) == 5 * len(seeds)
    assert all(gain.truth == pytest.approx(0.0) for gain in found)
    assert np.mean([gain.is_recommended for gain in found]) <= 0.2
    assert np.mean([gain.is_held for gain in found]) >= 0.8


def test_an_hour_that_is_best_for_all_is_found() -> None:
    found = judge(replace(NO_HOURS, of_all=1.2), range(30_031, 30_033))
    assert np.mean([gain.choice.best_single_hour == 19 for gain in found]) >= 0.9
    assert np.mean([gain.is_held for gain in found]) >= 0.8


def test_few_conversions_calibrate_nothing() -> None:
    assert judge(replace(NO_HOURS, users=40, deliveries=4), range(30_041, 30_042)) == []


def test_two_campaigns_calibrate_nothing() -> None:
    assert judge(replace(SMALL, campaigns=2), range(30_051, 30_052)) == []


def test_users_of_one_campaign_each_say_not_how_users_differ() -> None:
    world = HoursWorld.build(30_071, replace(SMALL, users=60, campaigns=3, deliveries=60))
    own = world.sendings.user % 3 == world.sendings.campaign
    sendings = Sendings(**{each.name: getattr(world.sendings, each.name)[own] for each in fields(Sendings)})
    profile = fit_profile(world.history, sendings, world.segment_set_ids)
    calibration = calibrate_gains(profile, world.history, sendings, world.segment_set_ids)
    assert calibration is not None
    assert calibration.conversions == sendings.conversions.sum()
    assert calibration.user_variance == 0.0


def test_values_that_are_alike_leave_the_calibration_to_its_prior(monkeypatch: pytest.MonkeyPatch) -> None:
    # All is sent at noon, and nobody's value differs from another's: no view tells of a coefficient.
    world = HoursWorld.build(30_081, replace(SMALL, users=60, campaigns=3, deliveries=60))
    sendings = replace(world.sendings, hour=np.full_like(world.sendings.hour, 12))
    monkeypatch.setattr(calibrating, "refit_answers", lambda profile, *_: profile)
    monkeypatch.setattr(calibrating, "hour_values", lambda *_: np.ones((60, 24)))
    calibration = calibrate_gains(SendTimeProfile.unlearned(), world.history, sendings, world.segment_set_ids)
    assert calibration is not None
    assert calibration.coefficients == pytest.approx(PRIOR_CENTRE)
    assert np.diag(calibration.covariance) == pytest.approx(np.square(PRIOR_DEVIATION))
