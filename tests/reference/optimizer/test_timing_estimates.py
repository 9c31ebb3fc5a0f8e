"""Hours against numbers worked by hand, and what is told of a chosen one against simulated truths."""

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy import optimize, stats

from services.optimizer.domain.features import FloatArray
from services.optimizer.domain.recommendations.timing import ReachedUsers, TimingChoice, choose_timing
from services.optimizer.domain.recommendations.winners import given_selection
from services.optimizer.domain.send_time.timing_gain import AT_THEIR_WORD, GainCalibration

NOBODY_QUIET = np.zeros(24, dtype=np.bool_)


def reached(values: FloatArray, *sent_at: int) -> ReachedUsers:
    sent = np.tile(np.bincount(sent_at, minlength=24), (len(values), 1)).astype(np.float64)
    return ReachedUsers(hour_values=values, sent=sent, is_quiet=NOBODY_QUIET)


def timed(users: ReachedUsers, calibration: GainCalibration = AT_THEIR_WORD) -> TimingChoice:
    choice = choose_timing(users, calibration)
    assert choice is not None
    return choice


def evenings(users: int = 40) -> FloatArray:
    values = np.full((users, 24), 1.0)
    values[:, 19] = 3.0
    return values


def test_one_hour_for_all_by_hand() -> None:
    choice = timed(reached(evenings(), 9, 9, 9, 19))
    assert (choice.hour, choice.best_single_hour, choice.users) == (19, 19, 40)
    assert choice.effect == pytest.approx(3.0 / 1.5 - 1.0)
    assert choice.confidence == 0.99
    assert choice.interval.lower == pytest.approx(choice.effect)
    nothing = timed(reached(np.ones((40, 24)), 9))
    assert nothing.effect == 0.0
    assert nothing.confidence == pytest.approx(0.01)


def test_each_users_own_hour_by_hand() -> None:
    # Half are best at 9:00, where all are sent to. Deliveries count: the others get two each.
    values = np.full((40, 24), 1.0)
    values[:20, 9], values[20:, 19] = 3.0, 3.0
    sent = np.zeros((40, 24))
    sent[:20, 9], sent[20:, 9] = 1.0, 2.0
    choice = timed(ReachedUsers(hour_values=values, sent=sent, is_quiet=NOBODY_QUIET))
    assert (choice.hour, choice.best_single_hour) == (None, 19)
    assert choice.effect == pytest.approx(9.0 / 5.0 - 1.0)
    assert choice.own_hour_effect == choice.effect


EARLY, LATE = math.log(24 / 26), math.log(72 / 26)
"""Of `evenings`, 9:00 and 19:00: the logs of 1 and 3 over the mean, 26 / 24."""
GAIN = 0.8 * (LATE - EARLY) + (0.3 + 0.1 + 0.05) * LATE
OF_CALIBRATION = 0.02 * (LATE - EARLY) ** 2 + (0.03 + 0.04 + 0.05 + 2 * 0.001) * LATE**2


def calibrated(hour_variance: float) -> tuple[GainCalibration, float, float]:
    """A calibration, and what it makes the standard error and the degrees of freedom by hand."""
    calibration = GainCalibration(
        coefficients=(0.8, 0.3, 0.1, 0.05),
        covariance=(
            (0.02, 0.0, 0.0, 0.0),
            (0.0, 0.03, 0.0, 0.0),
            (0.0, 0.0, 0.04, 0.001),
            (0.0, 0.0, 0.001, 0.05),
        ),
        campaign_variance=0.06,
        user_variance=0.07,
        hour_variance=hour_variance,
        hour_variance_error=0.06,
        conversions=500,
    )
    # Ten hours apart hours have next to nothing in common.
    variance = OF_CALIBRATION + (0.06 + 0.07 / 40) * GAIN**2 + hour_variance * 2
    return calibration, math.sqrt(variance), 2 * (variance / (0.06 * 2)) ** 2


def test_a_gain_is_calibrated_and_its_variances_add_up_by_hand() -> None:
    # All are sent at 9:00 and best at 19:00, both for each user and for all.
    calibration, error, degrees = calibrated(0.4)
    choice = timed(reached(evenings(), 9), calibration)
    assert choice.confidence == pytest.approx(stats.t.cdf((GAIN - math.log(1.1)) / error, degrees))
    assert choice.confidence < 0.9
    assert choice.effect == choice.measured_effect == pytest.approx(math.expm1(GAIN))
    half = stats.t.ppf(0.95, degrees) * error
    assert choice.interval.lower == pytest.approx(math.expm1(GAIN - half), rel=1e-5)
    assert choice.interval.upper == pytest.approx(math.expm1(GAIN + half), rel=1e-5)


def test_a_gain_that_is_recommended_is_told_as_what_selection_leaves_by_hand() -> None:
    calibration, error, degrees = calibrated(0.08)
    choice = timed(reached(evenings(), 9), calibration)
    assert choice.confidence == pytest.approx(stats.t.cdf((GAIN - math.log(1.1)) / error, degrees))
    assert choice.confidence > 0.9
    own = math.sqrt(OF_CALIBRATION)
    bar = math.log(1.1) + stats.t.ppf(0.9, degrees) * error

    def given(probability: float) -> float:
        """The mean of a normal estimate cut off at the bar that is exceeded so often (scipy's truncnorm)."""

        def beyond(mean: float) -> float:
            return float(stats.truncnorm.sf(GAIN, (bar - mean) / own, np.inf, mean, own)) - probability

        return max(float(optimize.brentq(beyond, GAIN - 8 * own, GAIN)), GAIN - stats.norm.ppf(0.995) * own)

    told = given(0.5)
    assert told < GAIN - 0.05
    assert choice.measured_effect == pytest.approx(math.expm1(GAIN))
    assert choice.effect == choice.own_hour_effect == pytest.approx(math.expm1(told), rel=1e-4)
    quantile = stats.t.ppf(0.95, degrees)
    below = math.hypot(told - given(0.05), quantile * math.sqrt(error**2 - own**2))
    assert choice.interval.lower == pytest.approx(math.expm1(told - below), rel=1e-4)
    assert choice.interval.upper == pytest.approx(math.expm1(GAIN + quantile * error), rel=1e-4)


def test_an_hour_close_to_todays_says_nothing_of_the_others() -> None:
    # Sent at 19:00 nine times in ten, where all are best: going there wholly gains 1 %, known to a tenth of
    # what hours of a campaign differ by, 0.2 of the log. 3:00 is expected to lose 10 %, and may gain 30 %.
    calibration = GainCalibration(
        coefficients=(0.1, 0.0, 0.0, 0.0),
        covariance=((0.0,) * 4,) * 4,
        campaign_variance=0.0,
        user_variance=0.0,
        hour_variance=0.04,
        hour_variance_error=0.0,
        conversions=500,
    )
    choice = timed(reached(evenings(), *[19] * 9, 9), calibration)
    at_best, elsewhere = 3.0**0.1, 1.0
    today = 0.9 * at_best + 0.1 * elsewhere
    moved = 0.1 * elsewhere / today
    assert choice.hour == 19
    assert choice.effect == pytest.approx(at_best / today - 1.0)
    reach = stats.norm.ppf(0.95) * 0.2 * moved * math.sqrt(2.0)
    assert choice.interval.upper == pytest.approx(math.expm1(math.log(at_best / today) + reach), rel=1e-3)
    assert choice.interval.upper < 0.1
    # At 3:00, hours apart from both: shifts of 1, of -0.9 and of -0.1 or so.
    apart = math.sqrt(1.0 + (1.0 - moved) ** 2 + moved**2)
    far = math.expm1(math.log(elsewhere / today) + stats.norm.ppf(0.95) * 0.2 * apart)
    assert choice.most_effect == pytest.approx(far, rel=1e-2)
    assert choice.most_effect > 0.3
    assert choice.most_hour is not None
    assert choice.most_hour not in {9, 19}


def test_what_passes_a_bar_is_told_without_its_luck() -> None:
    # Of 20,000 normal estimates with an error of 1, those of 1.5 or more: half of what is told is above the
    # truth and 95 % of the lower ends below it, whether few pass or most; the estimates are above it in all,
    # all and 54 % of cases.
    normal = np.random.default_rng(20_269).standard_normal(20_000)
    for truth, share in ((0.5, 0.159), (1.0, 0.309), (3.0, 0.933)):
        passed = (truth + normal)[truth + normal >= 1.5]
        assert len(passed) / len(normal) == pytest.approx(share, abs=0.01)
        sample = passed[:400]
        told = np.array([given_selection(each, 1.0, 1.5, 0.5) for each in sample])
        lower = np.array([given_selection(each, 1.0, 1.5, 0.05) for each in sample])
        assert np.all(lower >= sample - 2.576)
        assert np.mean(told >= truth) == pytest.approx(0.5, abs=0.08)
        assert np.mean(lower <= truth) >= 0.92
        assert np.mean(sample >= truth) == pytest.approx(min(0.5 / share, 1.0), abs=0.06)
    assert given_selection(2.0, 0.0, 1.5, 0.5) == 2.0


def test_quiet_hours_are_not_recommended() -> None:
    values = evenings()
    values[:, 18] = 2.0
    quiet = NOBODY_QUIET.copy()
    quiet[19:] = True
    users = replace(reached(values, 9), is_quiet=quiet)
    choice = timed(users)
    assert choice.hour == 18
    assert choice.effect == pytest.approx(1.0)
    assert choose_timing(replace(users, is_quiet=~NOBODY_QUIET), AT_THEIR_WORD) is None


def test_too_few_users_say_nothing_of_hours() -> None:
    assert choose_timing(reached(np.ones((29, 24)), 9), AT_THEIR_WORD) is None
