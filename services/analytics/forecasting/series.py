"""What is forecast: one measure of a campaign or of all of them, day by day."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]
Bools = NDArray[np.bool_]

HORIZON = 28
WEEK = 7
MINIMUM_DAYS = 14
"""Two of every weekday: with fewer there is neither a weekly pattern nor an error to learn from."""
LONGEST_HISTORY_DAYS = 400
DENSE_DAYS = 56
DENSE_ZERO_SHARE = 0.05


@dataclass(frozen=True, kw_only=True)
class Series:
    """Daily values of one measure, none of them missing.

    `values` (n) ends with the last whole day. `presence` (n + HORIZON) is the share of each day, of the
    history and of what comes, on which the subject runs: 1, and 0 once a campaign's end is past.
    """

    name: str
    values: Floats
    presence: Floats
    is_count: bool

    def __post_init__(self) -> None:
        if len(self.presence) != len(self.values) + HORIZON:
            raise ValueError(f"presence must have {HORIZON} days more than values")

    @property
    def days(self) -> int:
        """Number of days of history."""
        return len(self.values)

    @property
    def is_dense(self) -> bool:
        """Whether next to no day of the last eight weeks is without a value; false below four weeks."""
        recent = self.values[-DENSE_DAYS:]
        return self.days >= HORIZON and float(np.mean(recent <= 0)) <= DENSE_ZERO_SHARE


def always(days: int) -> Floats:
    """Return the presence of a subject without an end."""
    return np.ones(days + HORIZON)


def targets_of(values: Floats) -> Floats:
    """Return (n, HORIZON) the value that came h days after each day; nan where it is still to come."""
    padded = np.concatenate([values, np.full(HORIZON, np.nan)])
    windows = np.lib.stride_tricks.sliding_window_view(padded[1:], HORIZON)
    return np.asarray(windows, dtype=np.float64)


def coming(presence: Floats) -> Floats:
    """Return (n, HORIZON) the presence on the day h days after each day of the history."""
    return np.asarray(np.lib.stride_tricks.sliding_window_view(presence[1:], HORIZON), dtype=np.float64)
