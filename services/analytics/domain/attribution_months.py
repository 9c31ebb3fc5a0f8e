"""Which months a run of attribution has to count, from what was received since the one before."""

from collections.abc import Iterable, Iterator
from datetime import date, timedelta

_DAY = timedelta(days=1)


def month_of(day: date) -> date:
    """Return the first day of a day's month."""
    return day.replace(day=1)


def month_after(month: date) -> date:
    """Return the first day of the next month."""
    return month_of(month_of(month) + 31 * _DAY)


def last_day_of(month: date) -> date:
    """Return the last day of a month."""
    return month_after(month) - _DAY


def list_months(start: date, end: date) -> Iterator[date]:
    """Return the first days of the months that the days from `start` to `end`, both included, touch."""
    month = month_of(start)
    while month <= end:
        yield month
        month = month_after(month)


def find_stale_months(
    *,
    touch_days: Iterable[date],
    conversion_days: Iterable[date],
    refund_days: Iterable[date],
    lookback_days: int,
    last_day: date,
) -> set[date]:
    """Return the months whose credits change with touches, conversions and refunds of some days.

    A touch bears on conversions up to the window after it, a conversion on whether touches up to the window
    before it led to nothing, and a refund on its original's day alone. A day more on either side, because the
    window is so many times 24 hours and days are those of a zone. Months after `last_day` hold nothing yet.
    """
    window = (lookback_days + 1) * _DAY
    stale: set[date] = set()
    for day in touch_days:
        stale.update(list_months(day, day + window))
    for day in conversion_days:
        stale.update(list_months(day - window, day))
    stale.update(map(month_of, refund_days))
    return {month for month in stale if month <= last_day}


def is_countable(month: date, *, was_counted: bool, lookback_days: int, sealed_through: date | None) -> bool:
    """Return whether the raw events say enough to count a month (again).

    A month that was counted when it was over stays as it is once events of its window are dropped; another is
    counted from what is left, as long as its own days are whole.
    """
    if sealed_through is None:
        return True
    needed = month - (lookback_days + 1) * _DAY if was_counted else month
    return needed > sealed_through
