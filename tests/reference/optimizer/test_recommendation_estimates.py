"""Channels, hours and outcomes against numbers worked by hand, and what they claim against simulated
truths.
"""

import math
import statistics
from dataclasses import replace

import numpy as np
import pytest
from scipy import optimize, special, stats

from examples.simulated_world.channel_worlds import Case, judge
from services.optimizer.domain.features import FloatArray
from services.optimizer.domain.recommendations.channel_means import MeanLaw
from services.optimizer.domain.recommendations.channels import ChannelChoice, ChannelSums, choose_channel
from services.optimizer.domain.recommendations.outcomes import (
    DayCounts,
    OutcomeCounts,
    compare_counts,
    count_days,
)
from services.optimizer.domain.recommendations.timing import ReachedUsers, TimingChoice, choose_timing
from services.optimizer.domain.recommendations.winners import given_selection
from services.optimizer.domain.send_time.timing_gain import AT_THEIR_WORD, GainCalibration

NOBODY_QUIET = np.zeros(24, dtype=np.bool_)


def channel_sums(channel: int, conversions: list[int], impressions: int = 1000) -> list[ChannelSums]:
    return [
        ChannelSums(
            campaign_id=f"{channel}-{place}",
            channel=channel,
            impressions=impressions,
            conversions=each,
            cost_micros=2_000_000,
        )
        for place, each in enumerate(conversions)
    ]


def chosen(sums: list[ChannelSums], current: int = 1) -> ChannelChoice:
    choice = choose_channel(sums, current)
    assert choice is not None
    return choice


def log_mean_variance(rates: list[float]) -> float:
    """The jackknife's, a campaign left out at a time."""
    means = [statistics.mean(rates[:place] + rates[place + 1 :]) for place in range(len(rates))]
    whole = statistics.mean(rates)
    return (len(rates) - 1) / len(rates) * sum(math.log(whole / mean) ** 2 for mean in means)


def test_two_channels_are_compared_by_hand() -> None:
    # Means of 40 and 60 in 1000. Rates of the first four vary less than counting alone gives, 40 / 1000^2,
    # and less than both channels' pooled do, which counts instead, with 3 + 2 degrees.
    choice = chosen([*channel_sums(1, [34, 40, 40, 46]), *channel_sums(2, [40, 60, 80])])
    own, second = 0.040 / 1000 / 4 / 0.040**2, log_mean_variance([0.04, 0.06, 0.08])
    assert log_mean_variance([0.034, 0.04, 0.04, 0.046]) < own
    first = (3 * 4 * own + 2 * 3 * second) / 5 / 4
    assert first > own
    error, degrees = math.sqrt(first + second), (first + second) ** 2 / (first**2 / 5 + second**2 / 2)
    assert (choice.channel, choice.current_channel) == (2, 1)
    assert choice.effect == pytest.approx(0.5)
    half = stats.t.ppf(0.95, degrees) * error
    few, many = MeanLaw.of([1000] * 3, [40, 60, 80]), MeanLaw.of([1000] * 4, [34, 40, 40, 46])
    upper = max(half + math.log(1.5), few.quantile_over(many, 0.95))
    assert choice.interval.lower == pytest.approx(1.5 * math.exp(-half) - 1)
    assert choice.interval.upper == pytest.approx(math.expm1(upper))
    assert choice.most_effect == choice.interval.upper
    by_means = stats.t.cdf(math.log(1.5) / error, degrees)
    assert choice.confidence == pytest.approx(min(by_means, 1.0 - few.probability_below(many)))
    assert choice.costs is not None
    assert choice.costs.per_impression == pytest.approx(0.002)
    assert choice.costs.per_conversion == pytest.approx(0.002 / 0.06)
    assert choice.costs.current_per_conversion == pytest.approx(0.002 / 0.04)


def test_the_law_of_a_mean_is_the_integral_over_levels_and_spread() -> None:
    # The same by brute force: weights of mean and log deviation on a fine grid, campaigns' levels integrated
    # out on another, the mean rate of each by 400 quantiles.
    impressions, conversions = np.array([400, 2_000, 9_000]), np.array([12, 150, 260])
    deviations = np.exp(np.linspace(math.log(0.01), math.log(4.0), 60))
    means = np.linspace(-8.0, 2.0, 400)
    normal = stats.norm.ppf((np.arange(400) + 0.5) / 400)
    logs = np.log(deviations) - np.log1p(deviations**2) + stats.norm.logpdf(means[:, np.newaxis], 0.0, 5.0)
    rates = np.empty_like(logs)
    for place, deviation in enumerate(deviations):
        levels = special.expit(means[:, np.newaxis] + deviation * normal)
        rates[:, place] = levels.mean(axis=1)
        for trials, successes in zip(impressions, conversions, strict=True):
            logs[:, place] += np.log(stats.binom.pmf(successes, trials, levels).mean(axis=1) + 1e-300)
    weights = np.exp(logs - logs.max()).ravel()
    order = np.argsort(rates.ravel())
    reached = np.cumsum(weights[order]) / weights.sum()
    law = MeanLaw.of(impressions.tolist(), conversions.tolist())
    for probability in (0.1, 0.5, 0.9):
        expected = math.log(rates.ravel()[order][np.searchsorted(reached, probability)])
        assert law.probabilities[law.values <= expected].sum() == pytest.approx(probability, abs=0.04)


def test_costs_are_compared_where_both_are_known_in_one_currency() -> None:
    current, other = channel_sums(1, [34, 40, 40, 46]), channel_sums(2, [40, 60, 80])
    assert chosen([*current, *(replace(each, cost_micros=0) for each in other)]).costs is None
    assert chosen([*current, *(replace(each, currency_code="EUR") for each in other)]).costs is None
    dear = chosen([*current, *(replace(each, cost_micros=4_000_000) for each in other)]).costs
    assert dear is not None
    assert not dear.gains


def test_the_best_of_several_channels_pays_for_being_chosen() -> None:
    two = chosen([*channel_sums(1, [50, 80, 65]), *channel_sums(2, [90, 70, 110])])
    three = chosen(
        [*channel_sums(1, [50, 80, 65]), *channel_sums(2, [90, 70, 110]), *channel_sums(3, [60, 61, 62])]
    )
    assert three.effect == two.effect
    assert 1 - three.confidence >= 2 * (1 - two.confidence) - 1e-9  # channels may pool differently, too
    assert three.interval.lower < two.interval.lower


@pytest.mark.parametrize(
    ("sums", "current"),
    [
        ([], 1),
        (channel_sums(1, [50, 80, 65]), 1),
        ([*channel_sums(1, [50, 80]), *channel_sums(2, [90, 70, 110])], 1),
        ([*channel_sums(1, [50, 80, 65]), *channel_sums(2, [90, 70, 110], impressions=99)], 1),
        ([*channel_sums(1, [50, 80, 65]), *channel_sums(2, [90, 70, 110])], 3),
        ([*channel_sums(1, [50, 80, 65]), *channel_sums(2, [0, 0, 0])], 1),
        ([*channel_sums(1, [0, 0, 0]), *channel_sums(2, [90, 70, 110])], 1),
        ([*channel_sums(1, [50, 80, 65]), *channel_sums(2, [0, 9, 0])], 1),
    ],
)
def test_too_few_campaigns_compare_nothing(sums: list[ChannelSums], current: int) -> None:
    assert choose_channel(sums, current) is None


@pytest.mark.parametrize(
    ("campaigns", "spreads", "most"),
    [
        ((3, 3), (0.4, 0.4), 0.12),
        ((3, 8), (1.0, 0.2), 0.2),
        ((30, 4), (1.0, 1.0), 0.15),
    ],
)
def test_channels_that_do_not_differ_are_seldom_recommended(
    campaigns: tuple[int, ...], spreads: tuple[float, ...], most: float
) -> None:
    # 80 worlds leave four points of chance. Of 1,000 by the jackknife alone three campaigns that spread five
    # times as much as the others' were left for those in 22 % (`examples.simulated_world.channel_worlds`).
    rng = np.random.default_rng(20261)
    case = Case(campaigns=campaigns, spreads=spreads)
    recommended, held = np.mean([judge(case, 1.0, rng) for _ in range(80)], axis=0)
    assert recommended < most
    assert held > 0.8


def test_a_better_channel_is_found() -> None:
    # Twice the rate on 12 campaigns against 12, with a spread of 0.4 of the log.
    rng = np.random.default_rng(20268)
    found = []
    for _ in range(50):
        counts = rng.poisson(1500 * 0.05 * np.exp(rng.normal(0, 0.4, (2, 12))) * np.array([[1.0], [2.0]]))
        choice = chosen(
            [each for row in (0, 1) for each in channel_sums(row + 1, counts[row].tolist(), impressions=1500)]
        )
        found.append((choice.confidence >= 0.9, choice.interval.lower <= 1.0 <= choice.interval.upper))
    assert np.mean(found, axis=0) == pytest.approx([0.99, 0.92], abs=0.05)


@pytest.mark.parametrize(("rate", "sizes"), [(0.003, (5000, 200)), (0.01, (120, 5000)), (0.01, (5000, 150))])
def test_small_campaigns_are_not_favoured(rate: float, sizes: tuple[int, int]) -> None:
    # Two channels alike, 30 campaigns each, of the sizes given: a tenth at most is recommended, and 90 % of
    # the intervals hold 0.
    rng = np.random.default_rng(20266)
    recommended, held = [], []
    for _ in range(40):
        rates = rate * np.exp(rng.normal(0, 0.2, (2, 30)))
        sums = [
            each
            for channel, size in enumerate(sizes)
            for each in channel_sums(
                channel + 1, rng.poisson(size * rates[channel]).tolist(), impressions=size
            )
        ]
        choice = chosen(sums)
        recommended.append(choice.confidence >= 0.9)
        held.append(choice.interval.lower <= 0.0 <= choice.interval.upper)
    assert np.mean(recommended) <= 0.2
    assert np.mean(held) >= 0.8


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


def days(views: list[int], conversions: list[int]) -> list[DayCounts]:
    return [
        DayCounts(impressions=2 * x, views=x, conversions=y) for x, y in zip(views, conversions, strict=True)
    ]


def test_a_rate_over_days_by_hand() -> None:
    counts = count_days(days([100, 200, 0, 100], [10, 30, 0, 20]))
    # Residuals of the rate 60 / 400: -5, 0, 5; variance 3 / 2 * 50 / 60^2 of the log.
    assert (counts.trials, counts.conversions, counts.days) == (400, 60, 3)
    assert counts.rate == pytest.approx(0.15)
    assert counts.relative_variance == pytest.approx(1.5 * 50 / 3600)
    assert counts.interval is not None
    half = stats.t.ppf(0.95, 2) * math.sqrt(1.5 * 50 / 3600)
    assert counts.interval.upper == pytest.approx(0.15 * math.exp(half))
    assert counts.interval.lower == pytest.approx(0.15 * math.exp(-half))


@pytest.mark.parametrize(
    ("views", "conversions", "rate"),
    [([], [], None), ([0], [0], None), ([9], [3], 1 / 3), ([9, 9], [0, 0], 0.0)],
)
def test_days_that_tell_too_little_have_no_interval(
    views: list[int], conversions: list[int], rate: float | None
) -> None:
    counts = count_days(days(views, conversions))
    assert counts.rate == rate
    assert counts.interval is None


def test_what_cannot_be_compared_is_not() -> None:
    good, none = count_days(days([100, 100], [10, 12])), count_days([])
    nobody = count_days(days([100, 100], [0, 0]))
    assert compare_counts(good, none) == (None, None)
    assert compare_counts(none, good) == (None, None)
    assert compare_counts(good, nobody) == (None, None)
    assert compare_counts(nobody, good) == (-1.0, None)
    assert compare_counts(good, count_days(days([50], [5])))[1] is None


def simulate_days(rng: np.random.Generator, count: int, rate: float) -> OutcomeCounts:
    views = rng.poisson(120, count)
    own = rng.beta(rate * 200, (1 - rate) * 200, count)
    return count_days(days(views.tolist(), rng.binomial(views, own).tolist()))


def test_outcomes_and_effects_are_covered_nine_times_in_ten() -> None:
    rng = np.random.default_rng(20264)
    hits = []
    for _ in range(1000):
        after, before = simulate_days(rng, 14, 0.25), simulate_days(rng, 20, 0.2)
        effect, interval = compare_counts(after, before)
        assert effect is not None
        assert interval is not None
        assert after.interval is not None
        hits.append(
            (
                after.interval.lower <= 0.25 <= after.interval.upper,
                interval.lower <= 0.25 / 0.2 - 1 <= interval.upper,
            )
        )
    assert np.mean(hits, axis=0) == pytest.approx([0.9, 0.9], abs=0.035)
