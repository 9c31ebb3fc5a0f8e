"""Between the wire's types and Python's: times, dates and money, each refused by its field path."""

import math
import re
from datetime import UTC, date, datetime, timedelta

from google.protobuf.timestamp_pb2 import Timestamp

from services.common.errors import invalid_field

MICROS_PER_UNIT = 1_000_000
MAXIMUM_MONEY = 1_000_000_000
"""Largest amount taken, in currency units: its micros stay exact in a double and far inside an int64."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_FIRST_TIME, _END_OF_TIME = datetime(2, 1, 1, tzinfo=UTC), datetime(9999, 1, 1, tzinfo=UTC)
_DATE = re.compile(r"^\d{4}-\d{2}-\d{2}$")


def timestamp_to_datetime(timestamp: Timestamp, field: str) -> datetime:
    """Return the UTC time of `timestamp`, to the microsecond (finer parts are cut off).

    Years 1 and 9999 are refused: programs send their ends for "none" and "for ever", asyncpg takes those for
    infinity, and they have no day in some time zones.
    """
    try:
        time = _EPOCH + timedelta(seconds=timestamp.seconds, microseconds=timestamp.nanos // 1000)
    except OverflowError as error:
        raise _off_the_calendar(field) from error
    if not _FIRST_TIME <= time < _END_OF_TIME:
        raise _off_the_calendar(field)
    return time


def _off_the_calendar(field: str) -> Exception:
    return invalid_field(
        field, "is not a time between year 2 and 9998; leave it unset for none", "TIME_OUT_OF_RANGE"
    )


def datetime_to_timestamp(time: datetime) -> Timestamp:
    """Return the wire form of an aware time."""
    since = time - _EPOCH
    return Timestamp(seconds=since.days * 86_400 + since.seconds, nanos=since.microseconds * 1000)


def money_to_micros(value: float, field: str) -> int:
    """Return an amount in currency units as exact micros.

    A double is read as the shortest decimal that it prints as, so 0.1 is 100,000 micros and nothing else.
    Refused: what is not finite, more than six decimals, more than `MAXIMUM_MONEY` either way.
    """
    if not math.isfinite(value):
        raise invalid_field(field, "must be a finite number", "MONEY_NOT_FINITE")
    if abs(value) > MAXIMUM_MONEY:
        raise invalid_field(field, f"must be at most {MAXIMUM_MONEY}", "MONEY_OUT_OF_RANGE")
    micros = round(value * MICROS_PER_UNIT)
    if micros / MICROS_PER_UNIT != value:
        raise invalid_field(field, "must have at most six decimals", "MONEY_TOO_PRECISE")
    return micros


def micros_to_money(micros: int) -> float:
    """Return exact micros in currency units."""
    return micros / MICROS_PER_UNIT


def parse_date(text: str, field: str) -> date:
    """Return the calendar date of `YYYY-MM-DD`."""
    try:
        if _DATE.match(text):
            return date.fromisoformat(text)
    except ValueError:
        pass
    raise invalid_field(field, "must be a calendar date as YYYY-MM-DD", "DATE_INVALID")
