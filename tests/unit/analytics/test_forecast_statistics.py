"""What forecasts do at their edges: short, ended, sparse and repeating series, and how they are scored."""

import math

import numpy as np
import pytest
from scipy import stats

from services.analytics.forecasting import paths as ways
from services.analytics.forecasting.forecast import ENDED, backtest_origins, forecast
from services.analytics.forecasting.quantiles import (
    LEVELS,
    count_quantiles,
    payment_quantiles,
    predict_quantiles,
    weighted_quantiles,
)
from services.analytics.forecasting.schedule import Schedule, campaign_schedule
from services.analytics.forecasting.scores import covers, judge, weighted_interval_scores
from services.analytics.forecasting.series import (
    HORIZON,
    MINIMUM_DAYS,
    WEEK,
    Floats,
    Series,
    always,
    coming,
    targets_of,
)

WEEKDAYS = np.array([0.7, 0.8, 0.9, 1.0, 1.3, 1.5, 0.8])


def draw(days: int, mean: float, seed: int = 1) -> Floats:
    rng = np.random.default_rng(seed)
    return rng.poisson(mean * WEEKDAYS[np.arange(days) % WEEK]).astype(np.float64)


def series_of(values: Floats, presence: Floats | None = None, *, is_count: bool = True) -> Series:
    return Series(
        name="s",
        values=values,
        presence=always(len(values)) if presence is None else presence,
        is_count=is_count,
    )


def test_presence_must_reach_to_the_end_of_the_forecast() -> None:
    with pytest.raises(ValueError, match="28 days more"):
        Series(name="s", values=np.zeros(20), presence=np.ones(20), is_count=True)


def test_targets_and_presence_are_those_of_the_days_ahead() -> None:
    values = np.arange(40, dtype=np.float64)
    targets = targets_of(values)
    assert targets.shape == (40, HORIZON)
    assert targets[5, 0] == 6
    assert targets[11, 27] == 39
    assert np.isnan(targets[12, 27])
    presence = np.append(np.ones(50), np.zeros(18))
    assert coming(presence)[30].sum() == 19, "days 31 to 49 of 28 ahead"


def test_the_interval_score_is_that_of_the_paper() -> None:
    """Bracher et al. 2021, equation 2, by hand: m = 10, 80 % [8, 12], 95 % [6, 14], y = 15."""
    quantiles = np.array([[6.0, 8.0, 10.0, 12.0, 14.0]])
    interval_80 = 4 + 2 / 0.2 * 3
    interval_95 = 8 + 2 / 0.05 * 1
    expected = (5 / 2 + 0.2 / 2 * interval_80 + 0.05 / 2 * interval_95) / 2.5
    assert weighted_interval_scores(np.array([15.0]), quantiles)[0] == pytest.approx(expected)
    assert not covers(np.array([15.0]), quantiles, interval=1)[0]
    assert covers(np.array([12.0]), quantiles, interval=0)[0], "ends belong to it"


def test_scores_leave_the_scaled_error_out_where_every_week_is_the_same() -> None:
    history = np.tile(WEEKDAYS, 4)
    quantiles = np.tile(LEVELS, (7, 1))
    assert judge(history, WEEKDAYS, quantiles).mean_absolute_scaled_error is None
    scores = judge(np.arange(28.0), np.full(7, 0.5), quantiles)
    assert scores.mean_absolute_scaled_error == 0, "the median is 0.5"
    assert (scores.points, scores.coverage_80) == (7, 1.0)


def test_days_that_are_sure_to_be_nothing_are_no_merit_of_an_interval() -> None:
    """Two days sure to be 0, of which one is not; two open days, of which one is covered."""
    sure, open_day = np.zeros(5), np.array([0.0, 1.0, 2.0, 4.0, 5.0])
    quantiles = np.stack([sure, sure, open_day, open_day])
    scores = judge(np.arange(28.0), np.array([0.0, 3.0, 3.0, 5.0]), quantiles)
    assert scores.points == 4
    assert scores.coverage_80 == pytest.approx(1 / 3)
    assert scores.coverage_95 == pytest.approx(2 / 3)
    nothing = judge(np.arange(28.0), np.zeros(2), np.zeros((2, 5)))
    assert (nothing.coverage_80, nothing.coverage_95) == (None, None)


def test_weighted_quantiles_follow_their_weights() -> None:
    values = np.arange(1001, dtype=np.float64)
    assert weighted_quantiles(values, np.ones(1001)) == pytest.approx(LEVELS * 1000, abs=1)
    half = np.where(values >= 500, 1.0, 0.0)
    assert weighted_quantiles(values, half)[2] == pytest.approx(750, abs=1)


def test_quantiles_of_counts_are_those_of_the_negative_binomial() -> None:
    found = count_quantiles(np.array([[20.0]]), np.array([[60.0]]))[0]
    assert found.tolist() == stats.nbinom.ppf(LEVELS, 10, 1 / 3).tolist()
    nearly_poisson = count_quantiles(np.array([[20.0]]), np.array([[1.0]]))[0]
    assert nearly_poisson.tolist() == stats.poisson.ppf(LEVELS, 20).tolist()


def test_quantiles_of_payments_have_a_mass_at_zero_and_the_moments_given() -> None:
    mean, variance = 10.0, 100.0
    zero = math.exp(-1)  # mean² / variance = 1
    found = payment_quantiles(np.array([[mean]]), np.array([[variance]]))[0]
    assert found[:2].tolist() == [0.0, 0.0], "both below the mass at zero"
    positive = mean / (1 - zero)
    spread = (variance + mean**2) / (1 - zero) - positive**2
    gamma = stats.gamma(positive**2 / spread, scale=spread / positive)
    assert found[2:] == pytest.approx(gamma.ppf((LEVELS[2:] - zero) / (1 - zero)))


def test_no_path_knows_the_days_after_its_own() -> None:
    values = draw(120, 40)
    changed = np.append(values[:80], 10 * values[80:])
    for way in (ways.seasonal_naive, ways.weekday_average):
        assert np.array_equal(way(values).mean[:80], way(changed).mean[:80], equal_nan=True)
    refits = [60, 80, 120]
    before, after = ways.ets(values, refits).mean[:80], ways.ets(changed, refits).mean[:80]
    assert np.allclose(before[:79], after[:79], equal_nan=True)


def test_quantiles_at_an_origin_do_not_change_with_what_comes_after_it() -> None:
    values = draw(150, 60)
    changed = np.append(values[:100], 5 * values[100:])
    origins = np.array([60, 99])
    before, after = (
        predict_quantiles(series_of(one), ways.weekday_average(one), origins) for one in (values, changed)
    )
    assert np.allclose(before, after)


def test_a_series_of_too_few_days_is_refused_and_the_shortest_has_no_backtest() -> None:
    with pytest.raises(ValueError, match="13 days are too few"):
        forecast(series_of(draw(MINIMUM_DAYS - 1, 20)))
    found = forecast(series_of(draw(MINIMUM_DAYS, 20)))
    assert found.backtest is None
    assert found.method == ways.WEEKDAY_AVERAGE
    assert found.expected.shape == (HORIZON,)
    assert (found.expected > 0).all()


@pytest.mark.parametrize("days", [14, 27, 28, 29, 60, 200, 400])
def test_origins_are_even_and_leave_a_week_to_judge(days: int) -> None:
    origins = backtest_origins(days)
    if days < 28:
        assert len(origins) == 0
        return
    assert 1 <= len(origins) <= 24
    assert origins[-1] == days - 1 - WEEK
    assert origins[0] >= 20
    assert len(set(np.diff(origins).tolist())) <= 1


def test_a_dense_series_beats_the_baseline_with_ordered_quantiles() -> None:
    found = forecast(series_of(draw(200, 80)))
    assert found.backtest is not None
    assert found.backtest.beats_baseline
    assert found.backtest.served is found.backtest.scores
    assert found.backtest.scores.points >= 200
    assert 0 < found.backtest.days <= 200
    assert (np.diff(found.quantiles, axis=1) >= 0).all()
    expected = np.resize(np.roll(80 * WEEKDAYS, -200 % WEEK), HORIZON)
    assert found.expected == pytest.approx(expected, rel=0.15)


def test_a_week_that_repeats_itself_is_not_beaten_and_the_baseline_is_served() -> None:
    found = forecast(series_of(np.tile(np.arange(10.0, 17.0), 12)))
    assert found.backtest is not None
    assert not found.backtest.beats_baseline
    assert found.method == ways.SEASONAL_NAIVE
    assert found.backtest.served is found.backtest.baseline
    assert found.expected == pytest.approx(np.tile(np.arange(10.0, 17.0), 4), abs=0.01)


def test_an_ended_campaign_is_expected_to_do_nothing_and_is_judged_until_its_end() -> None:
    values = np.append(draw(60, 40), np.zeros(20))
    presence = np.append(np.ones(60), np.zeros(20 + HORIZON))
    found = forecast(series_of(values, presence))
    assert found.method == ENDED
    assert not found.expected.any()
    assert not found.quantiles.any()
    assert found.backtest is not None
    assert found.backtest.days <= 60 - 21


def test_a_campaign_that_ends_soon_is_zero_from_its_end_on() -> None:
    presence = np.append(np.ones(90), np.zeros(18))
    presence[89] = 0.5
    found = forecast(series_of(draw(80, 40), presence))
    assert (found.expected[:9] > 10).all()
    assert 0 < found.expected[9] < found.expected[2]
    assert not found.quantiles[10:].any()


def test_sparse_counts_get_whole_quantiles_and_a_mean_between_them() -> None:
    found = forecast(series_of(draw(120, 0.4)))
    assert np.array_equal(found.quantiles, np.rint(found.quantiles))
    assert (found.quantiles[:, 0] == 0).all()
    assert found.expected.mean() == pytest.approx(0.4, rel=0.5)
    assert ((found.expected > 0) & (found.expected < 1.5)).all(), "means, not medians"


def test_a_series_of_nothing_is_expected_to_stay_so() -> None:
    for is_count in (True, False):
        found = forecast(series_of(np.zeros(60), is_count=is_count))
        assert not found.expected.any()
        assert np.isfinite(found.quantiles).all()
        assert found.quantiles.max() < 1e-3


def test_intervals_widen_where_errors_last() -> None:
    """The same noise, once from day to day and once in runs of a fortnight."""
    rng = np.random.default_rng(3)
    noise = rng.normal(0, 10, 280)
    lasting = np.repeat(rng.normal(0, 10, 20), 14)
    widths = [
        np.diff(forecast(series_of(200 + errors, is_count=False)).quantiles[:, [1, 3]], axis=1).mean()
        for errors in (noise, lasting)
    ]
    assert widths[0] == pytest.approx(2 * 1.2816 * 10, rel=0.25)
    assert widths[1] > widths[0]


def test_the_schedule_knows_that_campaigns_begin_and_end() -> None:
    """Ten campaigns of 10 a day; two end with day 69, one more begins on day 65, known from the start."""
    days, campaigns = 60, 11
    values = np.full((campaigns, days), 10.0)
    values[10] = 0.0
    presence = np.ones((campaigns, days + HORIZON))
    presence[:2, 70:] = 0.0
    starts = np.zeros(campaigns)
    starts[10] = 65
    known = np.full(campaigns, -1.0)
    mean = campaign_schedule(Schedule(values=values, presence=presence, starts=starts, known=known)).mean[-1]
    assert mean[:5] == pytest.approx(np.full(5, 100.0), rel=0.01)
    assert mean[5:10] == pytest.approx(np.full(5, 110.0), rel=0.01)
    assert mean[10:] == pytest.approx(np.full(18, 90.0), rel=0.01)
    known[10] = 60
    unknown = campaign_schedule(Schedule(values=values, presence=presence, starts=starts, known=known)).mean[
        -1
    ]
    assert unknown[5:10] == pytest.approx(np.full(5, 100.0), rel=0.01)


def test_a_day_that_is_over_as_soon_as_it_begins_has_a_forecast() -> None:
    """A campaign that ends a millionth of a second after midnight, after few and large payments."""
    values = np.zeros(60)
    values[[3, 20, 41, 55]] = [1e7, 9e8, 1e3, 1e8]
    presence = always(60)
    presence[70] = 1e-6 / 86_400
    presence[71:] = 0.0
    made = forecast(series_of(values, presence, is_count=False))
    assert np.isfinite(made.quantiles).all()
    assert np.isfinite(payment_quantiles(np.array([[1e-6]]), np.array([[1e12]]))).all()
