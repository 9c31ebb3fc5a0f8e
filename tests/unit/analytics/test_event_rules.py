# ruff: noqa: ANN401 (values of any field of a message pass through here)
"""The rules an event must keep, one by one and by columns."""

import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.analytics.domain.events import (
    EARLIEST_MICROS,
    MISSING_TIME,
    EventColumns,
    IngestionLimits,
    explain_rejection,
    find_rejections,
    money_columns_to_micros,
)

LATEST = 1_800_000_000_000_000
LIMITS = IngestionLimits(campaigns=frozenset({"c1"}), latest_micros=LATEST)
FIT: dict[str, Any] = {
    "user_id": "u1",
    "event_id": "e1",
    "event_type": 1,
    "campaign_id": "c1",
    "merchant_id": None,
    "event_micros": EARLIEST_MICROS,
    "revenue": None,
    "cost": None,
    "offer_amount": None,
    "channel": 0,
    "original_event_id": "",
    "custom_event_name": "",
    "is_machine_open": False,
    "propensity": None,
    "policy_version": "",
}


def columns(*rows: dict[str, Any]) -> EventColumns:
    return EventColumns(**{name: [row[name] for row in rows] for name in FIT})


def rejection(**changes: Any) -> tuple[str, str] | None:
    found = find_rejections(columns(FIT, {**FIT, **changes}), LIMITS)
    assert len(found) <= 1
    assert all(one.index == 1 and one.message for one in found)
    return (found[0].field, found[0].reason) if found else None


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"user_id": ""}, ("user_id", "FIELD_REQUIRED")),
        ({"user_id": "x" * 129}, ("user_id", "TEXT_INVALID")),
        ({"event_id": "a\0b"}, ("event_id", "TEXT_INVALID")),
        ({"event_type": 0}, ("event_type", "VALUE_UNKNOWN")),
        ({"event_type": 11}, ("event_type", "VALUE_UNKNOWN")),
        ({"campaign_id": "nobody"}, ("campaign_id", "CAMPAIGN_UNKNOWN")),
        ({"campaign_id": ""}, ("campaign_id", "FIELD_REQUIRED")),
        ({"campaign_id": None}, ("campaign_id", "FIELD_REQUIRED")),
        ({"campaign_id": None, "event_type": 8, "merchant_id": 1}, ("campaign_id", "FIELD_REQUIRED")),
        ({"campaign_id": None, "event_type": 4}, ("merchant_id", "FIELD_REQUIRED")),
        ({"merchant_id": -1}, ("merchant_id", "VALUE_OUT_OF_RANGE")),
        ({"event_micros": MISSING_TIME}, ("event_time", "FIELD_REQUIRED")),
        ({"event_micros": EARLIEST_MICROS - 1}, ("event_time", "TIME_OUT_OF_RANGE")),
        ({"event_micros": LATEST + 1}, ("event_time", "TIME_OUT_OF_RANGE")),
        ({"event_micros": 10**30}, ("event_time", "TIME_OUT_OF_RANGE")),
        ({"cost": -0.01}, ("cost", "MONEY_OUT_OF_RANGE")),
        ({"cost": math.nan}, ("cost", "MONEY_NOT_FINITE")),
        ({"cost": math.inf}, ("cost", "MONEY_NOT_FINITE")),
        ({"cost": 0.1234567}, ("cost", "MONEY_TOO_PRECISE")),
        ({"offer_amount": 1e12}, ("offer_amount", "MONEY_OUT_OF_RANGE")),
        ({"offer_amount": -math.inf}, ("offer_amount", "MONEY_NOT_FINITE")),
        ({"revenue": 5.0}, ("revenue", "INVALID_FIELD")),
        ({"event_type": 4, "revenue": -5.0}, ("revenue", "MONEY_OUT_OF_RANGE")),
        ({"channel": 5}, ("channel", "VALUE_UNKNOWN")),
        ({"event_type": 5, "revenue": 1.0}, ("original_event_id", "FIELD_REQUIRED")),
        ({"event_type": 5, "original_event_id": "o"}, ("revenue", "FIELD_REQUIRED")),
        ({"event_type": 5, "original_event_id": "o", "revenue": 0.0}, ("revenue", "FIELD_REQUIRED")),
        ({"original_event_id": "o"}, ("original_event_id", "INVALID_FIELD")),
        ({"event_type": 10}, ("custom_event_name", "FIELD_REQUIRED")),
        ({"custom_event_name": "n"}, ("custom_event_name", "INVALID_FIELD")),
        ({"propensity": 0.0}, ("propensity", "VALUE_OUT_OF_RANGE")),
        ({"propensity": math.nan}, ("propensity", "VALUE_OUT_OF_RANGE")),
        ({"policy_version": "v" * 129}, ("policy_version", "TEXT_INVALID")),
    ],
)
def test_an_unfit_event_is_rejected_by_field_and_reason(
    changes: dict[str, Any], expected: tuple[str, str]
) -> None:
    assert rejection(**changes) == expected


@pytest.mark.parametrize(
    "changes",
    [
        {"campaign_id": None, "event_type": 4, "merchant_id": 7, "revenue": 16868.78},
        {"campaign_id": None, "event_type": 7, "merchant_id": 7},
        {"campaign_id": None, "event_type": 6},
        {"campaign_id": None, "event_type": 10, "custom_event_name": "opened the app"},
        {"campaign_id": None, "event_type": 5, "original_event_id": "o", "revenue": 1.0},
        {"event_type": 9, "is_machine_open": True},
        {"event_type": 4, "revenue": 0.000001, "cost": 1_000_000_000.0},
        {"revenue": 0.0},
        {"propensity": 1.0, "policy_version": "v" * 128, "channel": 4},
        {"event_micros": LATEST},
        {"user_id": "ü" * 128},
    ],
)
def test_a_fit_event_is_not_rejected(changes: dict[str, Any]) -> None:
    assert rejection(**changes) is None


texts = st.sampled_from(["", "a", "a\0", "x" * 128, "x" * 129])
money = st.one_of(st.none(), st.sampled_from([0.0, -1.0, 0.1, 0.1234567, 1e9, 1e9 + 1, math.nan, math.inf]))
rows = st.fixed_dictionaries(
    {
        "user_id": texts,
        "event_id": texts,
        "event_type": st.integers(-1, 12),
        "campaign_id": st.sampled_from([None, "", "c1", "c2"]),
        "merchant_id": st.sampled_from([None, -1, 0, 5]),
        "event_micros": st.sampled_from([MISSING_TIME, 0, EARLIEST_MICROS, LATEST, LATEST + 1, 2**80]),
        "revenue": money,
        "cost": money,
        "offer_amount": money,
        "channel": st.integers(-1, 5),
        "original_event_id": texts,
        "custom_event_name": texts,
        "is_machine_open": st.booleans(),
        "propensity": st.sampled_from([None, 0.0, 0.5, 1.0, 1.5, math.nan]),
        "policy_version": texts,
    }
)


@st.composite
def nearly_fit(draw: st.DrawFn) -> dict[str, Any]:
    """Fit rows with at most three fields drawn at random, so that each rule is met alone, too."""
    drawn = draw(rows)
    changed = draw(st.sets(st.sampled_from(sorted(FIT)), max_size=3))
    return {**FIT, **{name: drawn[name] for name in changed}}


@settings(max_examples=300, deadline=None)
@given(st.lists(st.one_of(rows, nearly_fit()), min_size=1, max_size=8))
def test_columns_find_what_the_rules_find_one_by_one(batch: list[dict[str, Any]]) -> None:
    events = columns(*batch)
    one_by_one = [explain_rejection(events, index, LIMITS) for index in range(len(batch))]
    assert find_rejections(events, LIMITS) == [found for found in one_by_one if found is not None]


@given(st.lists(st.one_of(st.none(), st.integers(0, 10**15)), max_size=20))
def test_money_becomes_exact_micros_and_unset_stays_unset(micros: list[int | None]) -> None:
    amounts = [None if value is None else value / 1_000_000 for value in micros]
    assert money_columns_to_micros(amounts) == micros


def test_keeping_by_a_mask_keeps_order_and_all_fields() -> None:
    events = columns({**FIT, "event_id": "a"}, {**FIT, "event_id": "b"}, {**FIT, "event_id": "c"})
    kept = events.keep([True, False, True])
    assert kept == columns({**FIT, "event_id": "a"}, {**FIT, "event_id": "c"})


def test_merchants_of_plain_purchases_are_listed_once() -> None:
    purchase = {**FIT, "campaign_id": None, "merchant_id": 3}
    assert columns(FIT).merchants_without_campaign() == []
    assert columns(FIT, purchase, purchase, {**purchase, "merchant_id": 1}).merchants_without_campaign() == [
        1,
        3,
    ]
