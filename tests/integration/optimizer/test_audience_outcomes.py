"""Outcomes belong to the delivery that they answer, whatever the events themselves repeat of it."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from deploy.local.bootstrap import DatabaseAddresses
from services.common.database import Database
from services.optimizer.domain.features import daily_table
from services.optimizer.domain.response.offer_cells import CellRow, offer_cells
from services.optimizer.store import audiences
from tests.contract.optimizer.event_log import (
    CONVERTED,
    DELIVERED,
    VIEWED,
    Event,
    insert_campaigns,
    insert_events,
    insert_segment_sets,
)

START = datetime(2026, 3, 2, tzinfo=UTC)
END = START + timedelta(days=10)
DAY = START.date()
UNIT = 1_000_000
CATALOG_OFFER = 5.0


async def read_rows(database: DatabaseAddresses) -> list[CellRow]:
    opened = await Database.open(database.optimizer, application_name="test", max_size=1)
    try:
        async with opened.transaction(readonly=True) as connection:
            rows = await audiences.list_audience_outcomes(
                connection, ["c1"], start=START, end=END, time_zone="UTC"
            )
    finally:
        await opened.close()
    return sorted(rows, key=repr)


def answered(
    user: str, *, at: datetime, offer: float, segment: int, views: int, converts: bool
) -> list[Event]:
    """A delivery of an offer drawn with probability 0.25, and what answers it on the same day."""
    sent = Event(
        user_id=user,
        event_id=f"{at:%d%H}",
        event_type=DELIVERED,
        at=at,
        offer=offer,
        propensity=0.25,
        segment_set=segment,
    )
    seen = [
        replace(
            sent, event_id=f"{sent.event_id}v{view}", event_type=VIEWED, at=at + timedelta(hours=1 + view)
        )
        for view in range(views)
    ]
    bought = replace(sent, event_id=f"{sent.event_id}c", event_type=CONVERTED, at=at + timedelta(hours=8))
    return [sent, *seen, *([bought] if converts else [])]


def draw_log(loyal: int, lapsed: int) -> list[Event]:
    """Two deliveries for u1 (the second at another offer), one for u2, one for u3 a day before the first."""
    return [
        *answered("u1", at=START, offer=8.0, segment=loyal, views=2, converts=True),
        *answered("u1", at=START + timedelta(days=1), offer=12.0, segment=loyal, views=1, converts=False),
        *answered("u2", at=START, offer=8.0, segment=lapsed, views=1, converts=True),
        *answered("u3", at=START - timedelta(hours=6), offer=8.0, segment=lapsed, views=0, converts=True),
    ]


def tell_less(event: Event, kept: str, other_segment: int) -> Event:
    """An event as a sender logs it who repeats nothing of the delivery but what is `kept`."""
    if event.event_type == DELIVERED or kept == "all":
        return event
    if kept == "views" and event.event_type == VIEWED:
        return event
    if kept == "offers":
        return replace(event, propensity=None, segment_set=other_segment)
    return replace(event, propensity=None, segment_set=other_segment, offer=CATALOG_OFFER)


@pytest.mark.parametrize("kept", ["all", "views", "offers", "deliveries"])
async def test_answers_count_for_their_delivery(database: DatabaseAddresses, kept: str) -> None:
    """Users change their segments after it, and answers say the catalog's offer and no propensity."""
    await insert_campaigns(database.admin, ["c1"], offer=int(CATALOG_OFFER))
    loyal, lapsed = await insert_segment_sets(database.admin, [["loyal"], ["lapsed"]])
    log = [tell_less(event, kept, lapsed) for event in draw_log(loyal, lapsed)]
    await insert_events(database.admin, log)
    rows = await read_rows(database)
    told: dict[tuple[object, ...], tuple[int, int]] = {}
    for row in rows:
        views, conversions = told.get(row[1:5], (0, 0))
        told[row[1:5]] = (views + row[5], conversions + row[6])
    assert told == {
        (DAY, 8 * UNIT, loyal, 0.25): (2, 1),
        (DAY, 8 * UNIT, lapsed, 0.25): (1, 2),
        (DAY + timedelta(days=1), 12 * UNIT, loyal, 0.25): (1, 0),
    }
    answer = CATALOG_OFFER if kept in {"deliveries", "views"} else 8.0
    assert {row[7] for row in rows if row[6] > 0} == {answer * UNIT}


async def test_cells_hold_every_conversion_of_drawn_offers(database: DatabaseAddresses) -> None:
    """The table counts conversions under the catalog's offer, which nobody was shown; the cells do not."""
    await insert_campaigns(database.admin, ["c1"], offer=int(CATALOG_OFFER))
    loyal, lapsed = await insert_segment_sets(database.admin, [["loyal"], ["lapsed"]])
    await insert_events(
        database.admin, [tell_less(event, "views", lapsed) for event in draw_log(loyal, lapsed)]
    )
    table = daily_table(
        [
            ("c1", DAY, 8 * UNIT, 2, 3, 0, 1, 1),
            ("c1", DAY, 5 * UNIT, 0, 0, 3, 1, 1),
            ("c1", DAY + timedelta(days=1), 12 * UNIT, 1, 1, 0, 1, 1),
        ]
    )
    cells = offer_cells(await read_rows(database), table)
    assert cells.is_randomised.all()
    assert cells.views.sum() == 4
    assert cells.conversions[cells.offer_micros == 8 * UNIT].sum() == 3
    assert cells.conversions.sum() == 3


async def test_what_answers_no_delivery_says_so_itself(database: DatabaseAddresses) -> None:
    await insert_campaigns(database.admin, ["c1"])
    (loyal,) = await insert_segment_sets(database.admin, [["loyal"]])
    (_, view), late = (
        answered("u1", at=START, offer=8.0, segment=loyal, views=1, converts=False),
        answered("u1", at=START + timedelta(days=2), offer=12.0, segment=loyal, views=1, converts=False),
    )
    plain = Event(user_id="u2", event_id="v", event_type=VIEWED, at=START, offer=9.0)
    await insert_events(database.admin, [view, *late, plain])
    assert [row[1:5] for row in await read_rows(database)] == [
        (DAY, 8 * UNIT, loyal, 0.25),
        (DAY, 9 * UNIT, None, None),
        (DAY + timedelta(days=2), 12 * UNIT, loyal, 0.25),
    ]
