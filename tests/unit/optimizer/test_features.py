"""Features: what a row may know, and that training and serving build the same."""

from dataclasses import replace
from datetime import date, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.optimizer.domain.features import (
    CROSS_FITTED_FOLDS,
    FEATURE_NAMES,
    HISTORY_DAYS,
    UNKNOWN_OFFER,
    DailyRow,
    Encoding,
    Situation,
    cross_fit_merchants,
    daily_table,
    fit_encoding,
    situation_features,
    table_features,
    trailing_history,
)
from tests.unit.optimizer.synthetic import build_world

DAY = date(2026, 3, 2)  # a Monday


def row(
    campaign: str,
    day: date,
    *,
    offer: int | None = 10_000_000,
    conversions: int = 5,
    merchant: int | None = 1,
) -> DailyRow:
    return (campaign, day, offer, 100, 50, conversions, 1, merchant)


def test_history_is_of_the_campaigns_days_strictly_before_the_rows_own() -> None:
    table = daily_table(
        [
            row("a", DAY, conversions=1),
            row("a", DAY, offer=12_000_000, conversions=2),  # the same day under another offer
            row("a", DAY + timedelta(days=1), conversions=4),
            row("b", DAY, conversions=8),
            row("a", DAY + timedelta(days=HISTORY_DAYS), conversions=16),
            row("a", DAY + timedelta(days=HISTORY_DAYS + 1), conversions=32),
        ]
    )
    history = trailing_history(table)
    assert history.conversions.tolist() == [0, 0, 3, 0, 7, 20]
    assert history.impressions.tolist() == [0, 0, 200, 0, 300, 200]


def test_changing_a_days_outcomes_changes_no_feature_of_that_day_or_before() -> None:
    """The leak test: a row's features do not depend on its own day's outcomes."""
    table = build_world(campaigns=6, days=40).table
    day = int(np.median(table.day))
    that_day = table.day == day
    spoiled = replace(
        table,
        impressions=np.where(that_day, 10_000, table.impressions),
        conversions=np.where(that_day, 9_999, table.conversions),
    )
    encoding = fit_encoding(table.select(table.day < day))
    before = table_features(table, trailing_history(table), encoding)
    after = table_features(spoiled, trailing_history(spoiled), encoding)
    upto = table.day <= day
    np.testing.assert_array_equal(before[upto], after[upto])
    next_day = table.day == day + 1
    assert (before[next_day, 5] != after[next_day, 5]).all()


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 70), st.integers(0, 9)), max_size=40))
def test_history_equals_a_count_by_definition(entries: list[tuple[str, int, int]]) -> None:
    rows = [row(name, DAY + timedelta(days=days), conversions=count) for name, days, count in entries]
    history = trailing_history(daily_table(rows))
    expected = [
        sum(
            other[5]
            for other in rows
            if other[0] == own[0] and timedelta(0) < own[1] - other[1] <= timedelta(days=HISTORY_DAYS)
        )
        for own in rows
    ]
    assert history.conversions.tolist() == expected


def test_columns_are_in_the_order_of_their_names() -> None:
    situation = Situation(
        day=DAY, campaign_type=4, merchant_id=9, historical_impressions=1000, historical_conversions=30
    )
    encoding = Encoding(merchant_codes={9: 3.0}, unknown_merchant_code=1.5)
    features = situation_features(situation, [5_000_000, 12_500_000], encoding)
    assert dict(zip(FEATURE_NAMES, features[1].tolist(), strict=True)) == {
        "offer_amount": 12.5,
        "day_of_week": 0.0,
        "month": 3.0,
        "campaign_type": 4.0,
        "merchant": 3.0,
        "historical_impressions": 1000.0,
        "historical_conversions": 30.0,
    }
    assert features[0, 0] == 5.0
    assert features.dtype == np.float32


def test_days_of_the_week_run_from_monday_and_months_from_one() -> None:
    encoding = Encoding(merchant_codes={}, unknown_merchant_code=1.0)
    for days in range(400):
        day = DAY + timedelta(days=days)
        situation = Situation(
            day=day, campaign_type=1, merchant_id=1, historical_impressions=0, historical_conversions=0
        )
        features = situation_features(situation, [5_000_000], encoding)
        assert features[0, 1] == day.weekday()
        assert features[0, 2] == day.month


def test_serving_builds_the_row_that_training_built() -> None:
    table = build_world(campaigns=4, days=40).table
    encoding = fit_encoding(table)
    history = trailing_history(table)
    trained = table_features(table, history, encoding)
    for place in (0, 57, len(table) - 1):
        situation = Situation(
            day=date.fromordinal(int(table.day[place])),
            campaign_type=int(table.campaign_type[place]),
            merchant_id=int(table.merchant_id[place]),
            historical_impressions=int(history.impressions[place]),
            historical_conversions=int(history.conversions[place]),
        )
        served = situation_features(situation, [int(table.offer_micros[place])], encoding)
        np.testing.assert_array_equal(served[0], trained[place])


def test_merchants_are_coded_by_their_rate_and_strangers_stand_in_the_middle() -> None:
    """One row each, so that what varies within merchants is what chance alone would have."""
    table = daily_table(
        [
            row("a", DAY, conversions=40, merchant=7),
            row("b", DAY, conversions=5, merchant=2),
            row("c", DAY, conversions=10, merchant=5),
            row("d", DAY, conversions=20, merchant=None),
        ]
    )
    rates = {2: 0.1, 5: 0.2, 0: 0.4, 7: 0.8}  # of 50 views each
    mean, chance = 0.375, 0.375 * 0.625
    between = sum(50 * (rate - mean) ** 2 for rate in rates.values()) / (200 - 4 * 50**2 / 200)
    between -= 3 * chance / (200 - 4 * 50**2 / 200)
    kept = between / (between + chance / 50)
    encoding = fit_encoding(table)
    assert encoding.merchant_codes == pytest.approx(
        {merchant: mean + kept * (rate - mean) for merchant, rate in rates.items()}
    )
    assert encoding.merchant(999) == pytest.approx(mean)


def test_a_merchants_code_is_as_far_from_the_mean_as_its_views_can_tell() -> None:
    """Merchant 1 has one view that converted; that says little, though its rate is the highest of all."""
    many = [(f"m{each}", DAY, 5_000_000, 400, 400, 40 + each % 80, 1, 2 + each) for each in range(100)]
    encoding = fit_encoding(daily_table([("a", DAY, 5_000_000, 1, 1, 1, 1, 1), *many]))
    assert encoding.merchant(1) - encoding.unknown_merchant_code < 0.05
    assert encoding.merchant(81) == pytest.approx(119 / 400, abs=0.02)


def test_no_rows_code_knows_an_outcome_of_its_own_day() -> None:
    table = build_world(campaigns=12, days=30).table
    day = int(np.median(table.day))
    own = table.day == day
    spoiled = replace(table, conversions=np.where(own, table.views, table.conversions))
    codes, after = cross_fit_merchants(table), cross_fit_merchants(spoiled)
    np.testing.assert_array_equal(codes[own], after[own])
    others = table.day % CROSS_FITTED_FOLDS != day % CROSS_FITTED_FOLDS
    assert (codes[others] != after[others]).all()


def test_rows_of_a_single_day_have_no_others_to_learn_from() -> None:
    codes = cross_fit_merchants(daily_table([row("a", DAY, merchant=1), row("b", DAY, merchant=2)]))
    assert codes[0] == codes[1]


def test_rows_without_a_known_offer_or_a_view_teach_nothing() -> None:
    table = daily_table([row("a", DAY), row("a", DAY, offer=None), ("a", DAY, 5_000_000, 10, 0, 0, 1, 1)])
    assert table.is_usable.tolist() == [True, False, False]
    assert table.offer_micros[1] == UNKNOWN_OFFER


def test_more_conversions_than_views_count_as_all_views() -> None:
    table = daily_table([("a", DAY, 5_000_000, 10, 4, 9, 1, 1), ("a", DAY, 5_000_000, 10, 0, 0, 1, 1)])
    assert table.conversion_rate.tolist() == [1.0, 0.0]
