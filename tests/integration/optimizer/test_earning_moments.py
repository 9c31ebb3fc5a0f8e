"""What the database adds up of earnings, beside the same events added up in Python."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import asyncpg
import numpy as np
import pytest

from deploy.local.bootstrap import DatabaseAddresses
from services.common.database import Connection, Database
from services.optimizer.domain.features import FloatArray
from services.optimizer.domain.recommendations.outcomes import EffectMetric
from services.optimizer.domain.recommendations.terms import Terms
from services.optimizer.domain.recommendations.worth import (
    Clustering,
    EarningMoments,
    Level,
    Worth,
)
from services.optimizer.operations import outcome_worth
from services.optimizer.operations.outcome_worth import Span, fetch_worth
from services.optimizer.store.outcome_worth import Side, fetch_earning_moments
from tests.contract.optimizer.event_log import (
    CONVERTED,
    REFUNDED,
    VIEWED,
    Event,
    insert_campaigns,
    insert_events,
)

ZONE = ZoneInfo("America/New_York")
DAY = timedelta(days=1)
START = datetime(2026, 3, 2, tzinfo=ZONE)
UNIT = 1_000_000
CHANGED = START.date() + 2 * DAY
BEFORE = Span(campaign_id="c1", first_day=START.date(), end_day=CHANGED, offer_micros=10 * UNIT)
AFTER = Span(campaign_id="c1", first_day=CHANGED, end_day=CHANGED + 2 * DAY, offer_micros=12 * UNIT)
TERMS = Terms(currency_code="USD", gross_margin_rate=0.5, predicted_profit=4.0, previous_profit=3.0)
RATE = EffectMetric.CONVERSION_RATE


def view(user: str, day: int, offer: float = 12.0, *, hour: int = 12, number: int = 0) -> Event:
    at = START + day * DAY + timedelta(hours=hour)
    return Event(user_id=user, event_id=f"v{day}.{hour}.{number}", event_type=VIEWED, at=at, offer=offer)


def bought(user: str, day: int, revenue: float | None, offer: float | None = 12.0) -> Event:
    at = START + day * DAY + timedelta(hours=23, minutes=30)  # the next day in UTC
    return Event(user_id=user, event_id=f"c{day}", event_type=CONVERTED, at=at, offer=offer, revenue=revenue)


def refund(original: Event, revenue: float, *, days_later: int) -> Event:
    return Event(
        user_id=original.user_id,
        event_id=f"r{original.event_id}",
        event_type=REFUNDED,
        at=original.at + days_later * DAY,
        counted_at=original.at,
        revenue=revenue,
        original=original.event_id,
    )


SALE = bought("u2", 2, 50.0)
LOG = (
    *(view("u1", 0, 10.0), view("u1", 0, 10.0, hour=13), bought("u1", 0, 40.0, 10.0)),
    *(view("u2", 1, 10.0), view("u1", 2), view("u2", 2), SALE, refund(SALE, 20.0, days_later=9)),
    *(view("u3", 3), bought("u3", 3, 30.0), view("u3", 3, 10.0, hour=14)),
    *(view("u1", -1, 10.0), view("u1", 4)),
)
"""Views and revenue at 10 before: u1 2, 40 on the first day; u2 1 on the second. At 12 since: u1 1, u2 1 with
50 less 20 on the first day; u3 1 with 30 on the second. Another offer, and the days around, do not count.
"""
DAILY = ((0, 10, 2, 1, 40), (1, 10, 1, 0, 0), (2, 12, 2, 1, 30), (3, 12, 1, 1, 30), (3, 10, 1, 0, 0))


@pytest.fixture
async def connection(database: DatabaseAddresses) -> AsyncIterator[Connection]:
    await insert_campaigns(database.admin, ["c1"])
    pool = await Database.open(database.optimizer, application_name="test")
    try:
        async with pool.acquire() as open_connection:
            yield open_connection
    finally:
        await pool.close()


async def insert_daily(url: str) -> None:
    admin = await asyncpg.connect(url)
    try:
        await admin.executemany(
            "insert into analytics.campaign_delivery_daily values"
            " ('c1', $1, $2, 1, 1, 9, $3, 0, $4, $5, 0, 0, 0, 0, 0)",
            [
                (START.date() + day * DAY, offer * UNIT, views, conversions, revenue * UNIT)
                for day, offer, views, conversions, revenue in DAILY
            ],
        )
    finally:
        await admin.close()


async def fetch(
    connection: Connection, *, by_user: bool, metric: EffectMetric = RATE
) -> EarningMoments | None:
    return await fetch_earning_moments(
        connection, BEFORE.side(ZONE), AFTER.side(ZONE), zone=ZONE.key, metric=metric, by_user=by_user
    )


def matrix(rows: Sequence[Sequence[float]]) -> FloatArray:
    cells = np.array(rows, dtype=np.float64)
    return np.asarray(cells.T @ cells)


async def test_events_are_added_up_by_user_and_by_day(
    connection: Connection, database: DatabaseAddresses
) -> None:
    await insert_events(database.admin, LOG)
    found = await fetch(connection, by_user=True)
    assert found is not None
    assert (found.trials, found.conversions, found.unpriced, found.users) == ((3, 3), (1, 2), (0, 0), (2, 3))
    sums = [3, 40, 10, 3, 60, 24]
    for level in Level:
        assert found.levels[level].sums.tolist() == sums
    users = [[2, 40, 10, 1, 0, 0], [1, 0, 0, 1, 30, 12], [0, 0, 0, 1, 30, 12]]
    assert found.levels[Level.USER].products == pytest.approx(matrix(users))
    days = [[2, 40, 10, 0, 0, 0], [1, 0, 0, 0, 0, 0], [0, 0, 0, 2, 30, 12], [0, 0, 0, 1, 30, 12]]
    assert found.levels[Level.DAY].products == pytest.approx(matrix(days))
    assert found.levels[Level.DAY].clusters == (2, 2)
    cells = [
        *([2, 40, 10, 0, 0, 0], [1, 0, 0, 0, 0, 0]),
        *([0, 0, 0, 1, 0, 0], [0, 0, 0, 1, 30, 12], [0, 0, 0, 1, 30, 12]),
    ]
    assert found.levels[Level.USER_DAY].products == pytest.approx(matrix(cells))


async def test_days_alone_are_the_same_sums(connection: Connection, database: DatabaseAddresses) -> None:
    assert await fetch(connection, by_user=False) is None
    await insert_daily(database.admin)
    await insert_events(database.admin, LOG)
    by_day, by_user = await fetch(connection, by_user=False), await fetch(connection, by_user=True)
    assert by_day is not None
    assert by_user is not None
    assert set(by_day.levels) == {Level.DAY}
    assert by_day.users is None
    assert by_day.levels[Level.DAY].products == pytest.approx(by_user.levels[Level.DAY].products)
    impressions = await fetch(connection, by_user=False, metric=EffectMetric.CONVERSIONS_PER_IMPRESSION)
    assert impressions is not None
    assert impressions.trials == (18, 18)


async def test_users_count_where_every_event_is_kept(
    connection: Connection, database: DatabaseAddresses, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Profit a view: before (0.5 x 40 - 10) / 3, since (0.5 x 60 - 24) / 3."""

    async def fetch_told() -> Worth:
        worth = await fetch_worth(connection, BEFORE, AFTER, zone=ZONE, metric=RATE, terms=TERMS)
        assert worth is not None
        assert worth.profit is not None
        return worth

    assert await fetch_worth(connection, BEFORE, AFTER, zone=ZONE, metric=RATE, terms=TERMS) is None
    await insert_daily(database.admin)
    await insert_events(database.admin, LOG[1:])
    without = await fetch_told()
    await insert_events(database.admin, LOG[:1])
    whole = await fetch_told()
    monkeypatch.setattr(outcome_worth, "MOST_TRIALS", 5)
    too_many = await fetch_told()
    assert too_many.clustering is Clustering.DAYS
    assert (without.clustering, without.observed_users) == (Clustering.DAYS, None)
    assert (whole.clustering, whole.previous_users, whole.observed_users) == (Clustering.USERS_AND_DAYS, 2, 3)
    for worth in (without, whole):
        profit = worth.profit
        assert profit is not None
        assert profit.previous is not None
        assert profit.observed is not None
        assert (profit.previous.value, profit.observed.value) == pytest.approx((10 / 3, 2.0))
        assert (profit.previous.interval, profit.observed.interval) == (None, None)  # too few conversions
        assert (worth.predicted_profit, worth.previous_predicted_profit) == (4.0, 3.0)


async def test_events_that_cannot_be_read_in_time_leave_the_days(
    connection: Connection, database: DatabaseAddresses, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The transaction, with what was done in it, goes on."""

    async def fetch_slowly(within: Connection, *sides: Side, by_user: bool, **asked: Any) -> Any:  # noqa: ANN401
        if by_user:
            await within.execute("select pg_sleep(60)")
        return await fetch_earning_moments(within, *sides, by_user=by_user, **asked)

    await insert_daily(database.admin)
    await insert_events(database.admin, LOG)
    monkeypatch.setattr(outcome_worth, "fetch_earning_moments", fetch_slowly)
    async with connection.transaction():
        await connection.execute("set local statement_timeout = '2s'")
        worth = await fetch_worth(connection, BEFORE, AFTER, zone=ZONE, metric=RATE, terms=TERMS)
        assert await connection.fetchval("select current_setting('statement_timeout')") == "2s"
    assert worth is not None
    assert worth.clustering is Clustering.DAYS


async def test_a_conversion_without_an_offer_leaves_profit_unsaid(
    connection: Connection, database: DatabaseAddresses
) -> None:
    whole_campaign = [replace(span, offer_micros=None) for span in (BEFORE, AFTER)]
    await insert_daily(database.admin)
    admin = await asyncpg.connect(database.admin)
    await admin.execute(
        "update analytics.campaign_delivery_daily set offer_amount_micros = -1 where views = 2"
    )
    await admin.close()
    worth = await fetch_worth(connection, *whole_campaign, zone=ZONE, metric=RATE, terms=TERMS)
    assert worth is not None
    assert worth.profit is None
    assert worth.revenue is not None
