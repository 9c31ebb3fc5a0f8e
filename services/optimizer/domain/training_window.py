"""Which days a training reads, which of them it holds out, and how much data is enough."""

from dataclasses import dataclass
from datetime import date, datetime, time, timedelta, tzinfo
from typing import Final

import numpy as np

from services.common.errors import FailedPreconditionError
from services.optimizer.domain.features import HISTORY_DAYS, BoolArray, DailyTable

WINDOW_DAYS: Final = 90
HELD_OUT_SHARE: Final = 0.2
MINIMUM_DAYS: Final = 14
MINIMUM_ROWS: Final = 100
MINIMUM_CONVERSIONS: Final = 50


@dataclass(frozen=True, kw_only=True)
class TrainingWindow:
    """The whole days [first_day, end_day) of the reporting time zone that a training learns from.

    Rows from `history_day` on are read, because the first days need their history.
    """

    first_day: date
    end_day: date

    @property
    def history_day(self) -> date:
        """The first day that is read."""
        return self.first_day - timedelta(days=HISTORY_DAYS)

    def times(self, zone: tzinfo) -> tuple[datetime, datetime]:
        """Return when the window's days begin and end in the reporting zone, history days apart."""
        return (
            datetime.combine(self.first_day, time(), zone),
            datetime.combine(self.end_day, time(), zone),
        )


def window_before(end_day: date) -> TrainingWindow:
    """Return the last `WINDOW_DAYS` whole days before `end_day`."""
    return TrainingWindow(first_day=end_day - timedelta(days=WINDOW_DAYS), end_day=end_day)


@dataclass(frozen=True, kw_only=True)
class Split:
    """Which rows are fitted and which held out: the held-out ones are the later ones, from `split_day` on."""

    fitted: BoolArray
    held_out: BoolArray
    split_day: date


def split_by_time(table: DailyTable, window: TrainingWindow) -> Split:
    """Hold out the last fifth of the window's days that have usable rows.

    Raises:
        FailedPreconditionError: DATA_INSUFFICIENT; the message says what there is and what is needed.
    """
    inside = table.is_usable & (table.day >= window.first_day.toordinal())
    inside &= table.day < window.end_day.toordinal()
    days = np.unique(table.day[inside])
    _require_enough(table, window, inside, len(days))
    first_held_out = int(days[-max(1, round(HELD_OUT_SHARE * len(days)))])
    return Split(
        fitted=inside & (table.day < first_held_out),
        held_out=inside & (table.day >= first_held_out),
        split_day=date.fromordinal(first_held_out),
    )


def _require_enough(table: DailyTable, window: TrainingWindow, inside: BoolArray, days: int) -> None:
    rows = int(inside.sum())
    conversions = int(table.conversions[inside].sum())
    wanted = (
        (days, MINIMUM_DAYS, "days"),
        (rows, MINIMUM_ROWS, "rows (campaign, day and offer)"),
        (conversions, MINIMUM_CONVERSIONS, "conversions"),
    )
    missing = [f"{there} of {least} {what}" for there, least, what in wanted if there < least]
    if not missing:
        return
    viewed = table.views > 0
    unknown = int((viewed & (table.offer_micros < 0)).sum())
    hint = f"; {unknown} viewed rows lack the offer that was sent" if unknown else ""
    raise FailedPreconditionError(
        f"not enough data to train on between {window.first_day} and {window.end_day} (excluded): with views"
        f" and a known offer there are {', '.join(missing)}{hint}",
        reason="DATA_INSUFFICIENT",
        metadata={"days": str(days), "rows": str(rows), "conversions": str(conversions)},
    )
