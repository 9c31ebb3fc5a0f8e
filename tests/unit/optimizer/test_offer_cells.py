"""Outcomes by audience, and what becomes of those that nobody can tell apart any more."""

from datetime import date, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.optimizer.domain.features import DailyTable, daily_table
from services.optimizer.domain.response.offer_cells import (
    UNSEGMENTED,
    CampaignAudience,
    CellRow,
    DrawnOffers,
    OfferCells,
    _hand_over,
    offer_cells,
    sample_campaigns,
    survey_drawn_offers,
)

DAY = date(2026, 3, 2)
UNIT = 1_000_000
TABLE = daily_table(
    [
        ("a", DAY, 5 * UNIT, 200, 100, 20, 1, 3),
        ("b", DAY, 9 * UNIT, 90, 40, 4, 2, 3),
        ("b", DAY, None, 90, 40, 4, 2, 3),
    ]
)


def as_rows(cells: OfferCells) -> list[tuple[int, int, int, float, int, int, int]]:
    columns = (
        cells.campaign,
        cells.offer_micros // UNIT,
        cells.segment_set_id,
        cells.propensity,
        cells.views,
        cells.conversions,
        cells.campaign_type,
    )
    return sorted(zip(*(column.tolist() for column in columns), strict=True))


def test_without_events_everybody_is_unsegmented() -> None:
    assert as_rows(offer_cells((), TABLE)) == [
        (0, 5, UNSEGMENTED, 0.0, 100, 20, 1),
        (1, 9, UNSEGMENTED, 0.0, 40, 4, 2),
    ]


def test_cells_add_up_to_the_table() -> None:
    """What events no longer tell stays as unsegmented; campaigns and days beside the table are left out."""
    rows: list[CellRow] = [
        ("a", DAY, 5 * UNIT, 7, 0.5, 60, 15, 5 * UNIT),
        ("a", DAY, 5 * UNIT, None, None, 30, 2, 5 * UNIT),
        ("b", DAY, 9 * UNIT, 7, None, 50, 9, 9 * UNIT),
        ("b", DAY, 11 * UNIT, 7, None, 50, 9, 11 * UNIT),
        ("c", DAY, 9 * UNIT, 7, None, 50, 9, 9 * UNIT),
    ]
    cells = offer_cells(rows, TABLE)
    assert as_rows(cells) == [
        (0, 5, UNSEGMENTED, 0.0, 10, 3, 1),
        (0, 5, UNSEGMENTED, 0.0, 30, 2, 1),
        (0, 5, 7, 0.5, 60, 15, 1),
        (1, 9, 7, 0.0, 50, 9, 2),
    ]
    assert cells.is_randomised.sum() == 1


def test_conversions_of_views_that_came_earlier_are_no_cell_of_their_own() -> None:
    rows: list[CellRow] = [
        ("a", DAY, 5 * UNIT, 7, None, 0, 3, 5 * UNIT),
        ("a", DAY, 5 * UNIT, 8, None, 100, 120, 5 * UNIT),
    ]
    assert as_rows(offer_cells(rows, TABLE))[0] == (0, 5, 8, 0.0, 100, 100, 1)


def test_conversions_that_do_not_repeat_what_was_offered_count_where_it_was_viewed() -> None:
    """Of one day and propensity before other days; what the table does not know the views of is not lost."""
    table = daily_table(
        [
            ("a", DAY, 5 * UNIT, 200, 100, 20, 1, 3),
            ("a", DAY, 8 * UNIT, 200, 60, 0, 1, 3),
            ("a", DAY, 9 * UNIT, 0, 0, 6, 1, 3),
            ("a", DAY + timedelta(days=1), 8 * UNIT, 0, 0, 12, 1, 3),
        ]
    )
    rows: list[CellRow] = [
        ("a", DAY, 5 * UNIT, 7, None, 100, 20, 5 * UNIT),
        ("a", DAY, 8 * UNIT, 7, 0.5, 20, 0, 8 * UNIT),
        ("a", DAY, 8 * UNIT, 8, 0.5, 40, 0, 8 * UNIT),
        ("a", DAY, 8 * UNIT, 8, 0.5, 0, 6, 9 * UNIT),  # says the catalog's offer
        ("a", DAY + timedelta(days=1), 8 * UNIT, 7, None, 0, 12, 8 * UNIT),  # a day after the view
    ]
    assert as_rows(offer_cells(rows, table)) == [
        (0, 5, 7, 0.0, 100, 20, 1),
        (0, 8, 7, 0.5, 20, 4, 1),  # of the 12, 20 of 54 that have room
        (0, 8, 8, 0.5, 40, 14, 1),
    ]


@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 40), st.integers(0, 40)), min_size=1, max_size=30)
)
def test_no_conversion_is_lost_while_there_is_room(cells: list[tuple[int, int, int]]) -> None:
    """And no group ends with more or fewer, and no cell with more than its views where there is room."""
    groups, views, conversions = (np.array(column) for column in zip(*cells, strict=True))
    moved = _hand_over(conversions, views, groups[:, np.newaxis])
    for group in np.unique(groups):
        own = groups == group
        assert moved[own].sum() == conversions[own].sum()
        if conversions[own].sum() <= views[own].sum():
            assert (moved[own] <= views[own]).all()
    assert (moved >= np.minimum(conversions, views)).all()


def test_a_large_table_is_learned_from_by_whole_campaigns() -> None:
    table = daily_table([(f"c{index % 10}", DAY, 5 * UNIT, 9, 9, 1, 1, 1) for index in range(100)])
    sampled = sample_campaigns(table, most_rows=35)
    names, counts = np.unique(sampled.campaign, return_counts=True)
    assert len(names) == 3
    assert set(counts) == {10}
    assert sampled.campaign_ids == table.campaign_ids
    kept: DailyTable = sample_campaigns(table, most_rows=100)
    assert kept is table


def test_an_offer_that_few_saw_counts_as_sent_to_everybody() -> None:
    audience = CampaignAudience(views={(5, 1): 60, (5, 2): 20, (9, 2): 20})
    shares = audience.at_offers((5, 9, 20), {1: 0.4, 3: 9.0})
    assert shares.effects.tolist() == [0.4, 0.0]
    assert shares.shares == pytest.approx([0.6, 0.4])
    # 20 views of the whole audience beside each offer's own.
    assert shares.anchor_shares == pytest.approx(
        np.array([[72 / 100, 28 / 100], [12 / 40, 28 / 40], [0.6, 0.4]])
    )


def test_drawn_offers_are_counted_by_type() -> None:
    rows: list[CellRow] = [
        ("a", DAY, 5 * UNIT, 7, 0.5, 60, 15, 5 * UNIT),
        ("b", DAY, 9 * UNIT, 7, 1.0, 40, 4, 9 * UNIT),
    ]
    surveyed = survey_drawn_offers(offer_cells(rows, TABLE))
    assert surveyed == {1: DrawnOffers(views=100, drawn_views=60), 2: DrawnOffers(views=40, drawn_views=0)}
    assert surveyed[1].share == 0.6
    assert DrawnOffers(views=0, drawn_views=0).share == 0.0
