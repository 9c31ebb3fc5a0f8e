"""What SQL adds up of drawn deliveries, against the same added up one by one."""

import json
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import asyncpg
import numpy as np
import pytest

from deploy.local.bootstrap import DatabaseAddresses
from services.common.database import Connection, Database
from services.common.statements import load_statements
from services.optimizer.domain.response.drawn_offers import DrawnCell, OfferSide, find_sides, latest_days
from services.optimizer.domain.segments.uplift import OfferMoments
from services.optimizer.store.segments import DrawnWindow, list_drawn_cells, list_offer_moments
from tests.contract.optimizer.event_log import insert_campaigns, insert_segment_sets
from tests.plans import rows_thrown_away, walk_plan
from tests.unit.optimizer.drawn_log import moments_of

STATEMENTS = load_statements("services.optimizer")
NEW_YORK = ZoneInfo("America/New_York")
START = datetime(2026, 3, 2, 5, tzinfo=UTC)
DAYS = 6
OUTCOME = timedelta(hours=72)
WINDOW = DrawnWindow(
    campaign_id="c1", start=START, end=START + timedelta(days=DAYS), time_zone="America/New_York"
)
SETS: tuple[tuple[str, ...], ...] = (("loyal",), ("loyal", "city"), ("lapsed",))
Row = tuple[str, str, int, datetime, int | None, float | None, str | None, int | None]
"""User, event, type, time, offer, propensity, logging policy, set of segments."""


def draw_log(numbers: Sequence[int]) -> list[Row]:
    """Deliveries and conversions of 150 users, by the half hour, so that many fall together or on an edge."""
    rng = np.random.default_rng(8)
    rows: list[Row] = []
    for user in range(150):
        for place in range(int(rng.integers(1, 9))):
            at = START + timedelta(hours=0.5) * int(rng.integers(-20, 48 * (DAYS + 3)))
            kind = int(rng.choice([1, 1, 4]))
            arm = int(rng.choice(3, p=[0.5, 0.25, 0.25]))
            is_drawn = kind == 1 and rng.random() < 0.9
            rows.append(
                (
                    f"u{user}",
                    f"e{place}",
                    kind,
                    at,
                    (5, 10, 20)[arm] * 1_000_000 if rng.random() < 0.95 else None,
                    (0.5, 0.25, 0.25)[arm] if is_drawn else None,
                    ("even", None)[user % 2],
                    numbers[int(rng.integers(3))] if rng.random() < 0.9 else None,
                )
            )
    # Exactly at the end of an outcome, at the moment of its delivery, and just before the end.
    for name, hours in (("late", 72.0), ("at once", 0.0), ("in time", 71.75)):
        rows += [
            (name, "d", 1, START, 20_000_000, 0.25, "even", numbers[0]),
            (name, "b", 4, START + timedelta(hours=hours), None, None, None, None),
        ]
    return rows


@pytest.fixture
async def log(database: DatabaseAddresses) -> list[Row]:
    await insert_campaigns(database.admin, ["c1", "c2"])
    rows = draw_log(await insert_segment_sets(database.admin, SETS))
    connection = await asyncpg.connect(database.admin)
    try:
        for campaign in ("c1", "c2"):  # what is done in another campaign counts for nothing here
            chosen = rows if campaign == "c1" else rows[::3]
            await connection.executemany(
                "insert into analytics.events (user_id, event_id, campaign_id, event_type, event_at,"
                " counted_at, offer_amount_micros, propensity, policy_version, segment_set_id,"
                " stamped_fields, is_machine_open, currency_code)"
                " values ($1, $2, $3, $4, $5, $5, $6, $7, $8, $9, 0, false, 'USD')",
                [(row[0], f"{campaign}-{row[1]}", campaign, *row[2:]) for row in chosen],
            )
    finally:
        await connection.close()
    return rows


@pytest.fixture
async def connection(database: DatabaseAddresses) -> AsyncIterator[Connection]:
    opened = await Database.open(database.optimizer, application_name="test", max_size=1)
    try:
        async with opened.transaction(readonly=True) as held:
            yield held
    finally:
        await opened.close()


def is_drawn(row: Row) -> bool:
    return row[2] == 1 and WINDOW.start <= row[3] < WINDOW.end and row[4] is not None and row[5] is not None


async def test_draws_are_told_by_day_offer_and_propensity(connection: Connection, log: list[Row]) -> None:
    expected: dict[tuple[object, ...], int] = defaultdict(int)
    for row in log:
        if is_drawn(row):
            expected[row[6] or "", row[3].astimezone(NEW_YORK).date(), row[4], row[5]] += 1
    cells = await list_drawn_cells(connection, WINDOW)
    assert {
        (cell.policy_version, cell.day, cell.offer_micros, cell.propensity): cell.deliveries for cell in cells
    } == expected
    assert len(expected) > 3 * DAYS


async def test_sums_over_users_are_those_of_single_deliveries(connection: Connection, log: list[Row]) -> None:
    sides = find_sides(await list_drawn_cells(connection, WINDOW))
    assert {side.is_high for side in sides} == {True, False}
    assert {side.policy_version for side in sides} == {"even", ""}
    numbers = sorted({row[7] for row in log if row[7] is not None})
    found = await list_offer_moments(connection, WINDOW, OUTCOME, sides)
    wanted = expect_moments(log, sides, dict(zip(numbers, SETS, strict=True)))
    assert [each.segment_name for each in found] == ["city", "lapsed", "loyal"]
    for each in found:
        assert asdict(each) == pytest.approx(asdict(wanted[each.segment_name]))


def expect_moments(
    log: Sequence[Row], sides: Sequence[OfferSide], names: dict[int, tuple[str, ...]]
) -> dict[str, OfferMoments]:
    """Go through every delivery of every user."""
    ends = {(side.policy_version, side.day, side.offer_micros): side.is_high for side in sides}
    sums: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(lambda: [0.0] * 4))
    for user in {row[0] for row in log}:
        own = [row for row in log if row[0] == user and row[3] >= WINDOW.start]
        own.sort(key=lambda row: (row[3], row[2], row[1]))
        sent = [row for row in own if row[2] == 1]
        never = WINDOW.end + 2 * OUTCOME
        for row, upto in pairwise([*((row, row[3]) for row in sent), (None, never)]):
            delivery = row[0]
            assert delivery is not None
            day = delivery[3].astimezone(NEW_YORK).date()
            is_high = ends.get((delivery[6] or "", day, delivery[4] or 0))
            if not is_drawn(delivery) or is_high is None or delivery[7] is None:
                continue
            until = min(upto[1], delivery[3] + OUTCOME)
            conversions = sum(each[2] == 4 and delivery[3] <= each[3] < until for each in own)
            weight = 1.0 / (delivery[5] or 0.0)
            for name in names[delivery[7]]:
                at = 0 if is_high else 2
                sums[name][user][at] += weight
                sums[name][user][at + 1] += weight * conversions
    return {name: moments_of(name, np.array(list(users.values()))) for name, users in sums.items()}


def test_no_more_than_the_latest_days_are_looked_at() -> None:
    day = START.date()
    cells = [
        DrawnCell(
            policy_version="",
            day=day + timedelta(days=place),
            offer_micros=5_000_000,
            propensity=0.5,
            deliveries=40,
        )
        for place in range(5)
    ]
    assert [cell.day for cell in latest_days(cells, most=100)] == [cell.day for cell in cells[3:]]
    assert latest_days(cells, most=10) == cells[4:]
    assert latest_days(cells) == cells
    assert latest_days([]) == []
    assert find_sides([]) == []


@pytest.mark.parametrize("analyzed", [True, False], ids=["analyzed", "never-analyzed"])
async def test_what_is_thrown_away_grows_with_the_rows(database: DatabaseAddresses, analyzed: bool) -> None:
    """No list is compared with another pair by pair, whatever the planner knows."""
    users = 4000
    numbers = await insert_segment_sets(database.admin, SETS)
    await insert_campaigns(database.admin, ["c1"])
    connection = await asyncpg.connect(database.admin)
    try:
        await connection.execute(
            "insert into analytics.events (user_id, event_id, campaign_id, event_type, event_at, counted_at,"
            " offer_amount_micros, propensity, segment_set_id, stamped_fields, is_machine_open,"
            " currency_code) select 'u' || u, kind || '-' || d, 'c1', kind, at, at,"
            " 5000000 * (1 + (u + d) % 2), case kind when 1 then 0.5 end, $1, 0, false, 'USD'"
            " from generate_series(1, $2::integer) u, generate_series(1, 3) d, unnest(array[1, 4]) kind,"
            " lateral (select now() - (10 + d) * interval '1 day' + kind * interval '1 hour') as moment (at)",
            numbers[0],
            users,
        )
        await connection.execute("analyze")
        if not analyzed:
            await connection.execute("delete from pg_statistic")
        await connection.execute("set search_path = optimizer; set plan_cache_mode = force_generic_plan")
        await connection.execute(f"prepare moments as {STATEMENTS['list_offer_moments'].sql}")
        async with connection.transaction():
            await connection.execute(STATEMENTS["join_by_hashes"].sql)
            plan = await connection.fetchval(
                "explain (analyze, format json) execute moments ('c1', now() - interval '20 days',"
                " now() - interval '3 days', interval '3 days', 'UTC', array['', ''],"
                " array[(now() - interval '12 days')::date, (now() - interval '12 days')::date],"
                " array[5000000, 10000000], array[false, true])"
            )
    finally:
        await connection.close()
    root = json.loads(plan)[0]["Plan"]
    assert root["Actual Rows"] == 1
    assert rows_thrown_away(root) <= 10 * users
    assert max(node["Actual Loops"] * node["Actual Rows"] for node in walk_plan(root)) <= 10 * users
