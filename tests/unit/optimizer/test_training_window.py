"""Which days are fitted, which held out, and when there are too few."""

from datetime import date, timedelta

import numpy as np
import pytest

from services.common.errors import FailedPreconditionError
from services.optimizer.domain.features import DailyRow, daily_table
from services.optimizer.domain.training_window import split_by_time, window_before
from tests.unit.optimizer.synthetic import END_DAY, build_world


def test_the_window_is_the_ninety_days_before_and_history_is_read_for_its_first() -> None:
    window = window_before(date(2026, 5, 1))
    assert window.first_day == date(2026, 1, 31)
    assert window.end_day == date(2026, 5, 1)
    assert window.history_day == date(2026, 1, 3)


def test_the_last_fifth_of_the_days_is_held_out_and_nothing_else_overlaps() -> None:
    world = build_world(campaigns=10, days=130)
    split = split_by_time(world.table, window_before(END_DAY))
    fitted, held_out = world.table.day[split.fitted], world.table.day[split.held_out]
    assert fitted.max() < held_out.min() == split.split_day.toordinal()
    assert len(np.unique(held_out)) == 18
    assert len(np.unique(fitted)) == 72
    assert fitted.min() == (END_DAY - timedelta(days=90)).toordinal()
    assert held_out.max() == END_DAY.toordinal() - 1


def test_rows_without_an_offer_are_named_where_data_is_missing() -> None:
    rows: list[DailyRow] = [
        ("a", END_DAY - timedelta(days=back), None, 50, 20, 3, 1, 1) for back in range(1, 60)
    ]
    with pytest.raises(FailedPreconditionError) as refused:
        split_by_time(daily_table(rows), window_before(END_DAY))
    assert refused.value.reason == "DATA_INSUFFICIENT"
    assert "0 of 14 days" in refused.value.message
    assert "0 of 50 conversions" in refused.value.message
    assert "59 viewed rows lack the offer" in refused.value.message
    assert refused.value.metadata["rows"] == "0"


def test_an_empty_table_is_refused_not_a_crash() -> None:
    with pytest.raises(FailedPreconditionError):
        split_by_time(daily_table([]), window_before(END_DAY))
