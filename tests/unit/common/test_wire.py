from datetime import UTC, date, datetime, timedelta, timezone

import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import given
from hypothesis import strategies as st

from services.common.errors import InvalidArgumentError
from services.common.wire import (
    MAXIMUM_MONEY,
    datetime_to_timestamp,
    micros_to_money,
    money_to_micros,
    parse_date,
    timestamp_to_datetime,
)


@given(st.integers(min_value=-(10**15), max_value=10**15))
def test_money_survives_the_wire_exactly(micros: int) -> None:
    assert money_to_micros(micros_to_money(micros), "m") == micros


@pytest.mark.parametrize(
    ("value", "micros"), [(0.1, 100_000), (19.99, 19_990_000), (-5.0, -5_000_000), (0.0, 0)]
)
def test_money_is_read_as_the_decimal_it_prints_as(value: float, micros: int) -> None:
    assert money_to_micros(value, "m") == micros


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (float("nan"), "MONEY_NOT_FINITE"),
        (float("inf"), "MONEY_NOT_FINITE"),
        (0.0000001, "MONEY_TOO_PRECISE"),
        (1 / 3, "MONEY_TOO_PRECISE"),
        (MAXIMUM_MONEY * 2.0, "MONEY_OUT_OF_RANGE"),
    ],
)
def test_money_that_is_none_is_refused_by_field(value: float, reason: str) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        money_to_micros(value, "events[0].revenue")
    assert caught.value.reason == reason
    assert caught.value.violations[0].field == "events[0].revenue"


@given(st.datetimes(min_value=datetime(1900, 1, 1), max_value=datetime(2200, 1, 1), timezones=st.just(UTC)))  # noqa: DTZ001
def test_times_survive_the_wire(time: datetime) -> None:
    assert timestamp_to_datetime(datetime_to_timestamp(time), "t") == time


def test_a_time_of_another_zone_is_the_same_instant_on_the_wire() -> None:
    time = datetime(2026, 1, 1, 12, tzinfo=timezone(timedelta(hours=5)))
    assert datetime_to_timestamp(time).seconds == int(time.timestamp())


def test_a_time_outside_the_calendar_is_refused() -> None:
    with pytest.raises(InvalidArgumentError, match="between year 2 and 9998"):
        timestamp_to_datetime(Timestamp(seconds=10**15), "t")


@pytest.mark.parametrize(
    "text", ["0001-01-01T00:00:00Z", "9999-12-31T00:00:00Z", "9999-12-31T23:59:59.999999Z"]
)
def test_what_programs_send_for_none_and_for_ever_is_refused(text: str) -> None:
    timestamp = Timestamp()
    timestamp.FromJsonString(text)
    with pytest.raises(InvalidArgumentError) as caught:
        timestamp_to_datetime(timestamp, "t")
    assert caught.value.reason == "TIME_OUT_OF_RANGE"


def test_a_date_is_read() -> None:
    assert parse_date("2024-02-29", "start_date") == date(2024, 2, 29)


@pytest.mark.parametrize(
    "text", ["", "2023-02-29", "20230201", "2023-2-1", "2023-02-01T00:00:00", "2023-W01-1"]
)
def test_a_date_that_is_none_is_refused_by_field(text: str) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        parse_date(text, "start_date")
    assert caught.value.violations[0].field == "start_date"
