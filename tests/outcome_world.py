"""A small world of assigned users and what they did, kept as the services keep it, and counted by hand."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from random import Random
from zoneinfo import ZoneInfo

import asyncpg

from services.abtest.domain.metrics import Measure, MeasureSource
from services.abtest.domain.model import ABTest, DecisionMethod, Group, Status, TestDesign, WeightEpoch

ZONE = ZoneInfo("America/New_York")
BEGIN = datetime(2026, 3, 2, 3, 30, tzinfo=UTC)
CAMPAIGNS = ("c0", "c1", "c2")
SEGMENT_SETS = ({"a"}, {"b"}, {"a", "b"})
REFUNDED, CUSTOM = 5, 10
_TYPES = (1, 2, 3, 4, 4, 10, 10)


@dataclass(frozen=True, kw_only=True)
class User:
    user_id: str
    group: int
    epoch: int
    assigned_at: datetime
    segment_set: int | None


@dataclass(frozen=True, kw_only=True)
class Event:
    """An event of a user; a refund's `counted_at` is its original's time."""

    user_id: str
    campaign_id: str
    event_type: int
    event_at: datetime
    counted_at: datetime
    revenue_micros: int | None
    name: str | None


@dataclass(frozen=True, kw_only=True)
class World:
    users: tuple[User, ...]
    events: tuple[Event, ...]
    activity: tuple[tuple[str, date, tuple[int, int, int]], ...]
    """User, day, and of that day: acts, purchases, revenue in micros."""

    def amount(self, user: User, measure: Measure, window: timedelta | None) -> int:
        """Add up what a user did after the assignment on the own group's campaign."""
        return sum(
            _value(event, measure)
            for event in self.events
            if event.user_id == user.user_id
            and event.campaign_id == CAMPAIGNS[user.group]
            and event.counted_at > user.assigned_at
            and (window is None or event.counted_at <= user.assigned_at + window)
        )

    def past(self, user: User, source: MeasureSource, days: int) -> int:
        """Add up what a user did in so many days before the day of the assignment."""
        today = user.assigned_at.astimezone(ZONE).date()
        column = {MeasureSource.REVENUE: 2, MeasureSource.CONVERTED: 1}.get(source, 0)
        return sum(
            counts[column]
            for user_id, day, counts in self.activity
            if user_id == user.user_id and today - timedelta(days=days) <= day < today
        )


def _value(event: Event, measure: Measure) -> int:
    if measure.source is MeasureSource.REVENUE:
        sign = -1 if event.event_type == REFUNDED else 1
        return sign * (event.revenue_micros or 0)
    return int(event.event_type == measure.source and event.name == measure.custom_event_name)


def make_world(seed: int, *, users: int = 90) -> World:
    """Return users of three groups and two weight epochs, some of whom do a lot."""
    random = Random(seed)  # noqa: S311 (makes a world; nothing secret)
    people, events, activity = [], [], []
    for number in range(users):
        user = User(
            user_id=f"u{number}",
            group=random.randrange(3),
            epoch=1 + (number >= users // 2),
            assigned_at=BEGIN + timedelta(hours=number),
            segment_set=random.choice([None, 0, 1, 2]),
        )
        people.append(user)
        for _ in range(random.randrange(8)):
            events += _events(random, user)
        activity += [
            (
                user.user_id,
                user.assigned_at.astimezone(ZONE).date() - timedelta(days=day),
                (random.randrange(5), random.randrange(3), random.randrange(-5, 40) * 1_000_000),
            )
            for day in random.sample(range(-2, 10), 4)
        ]
    return World(users=tuple(people), events=tuple(events), activity=tuple(activity))


def _events(random: Random, user: User) -> list[Event]:
    """Return an event on some campaign, before, at or after the assignment; maybe with its refund."""
    kind = random.choice(_TYPES)
    at = user.assigned_at + timedelta(hours=random.choice([-5, -1, 0, 0, 1, 5, 24, 48, 100]))
    event = Event(
        user_id=user.user_id,
        campaign_id=random.choice([CAMPAIGNS[user.group]] * 3 + [CAMPAIGNS[(user.group + 1) % 3]]),
        event_type=kind,
        event_at=at,
        counted_at=at,
        revenue_micros=random.randrange(10_000_000_000) if kind == MeasureSource.CONVERTED else None,
        name=random.choice(["share", "save"]) if kind == CUSTOM else None,
    )
    if event.revenue_micros is None or random.random() < 0.6:
        return [event]
    refund = Event(
        user_id=event.user_id,
        campaign_id=event.campaign_id,
        event_type=REFUNDED,
        event_at=at + timedelta(days=random.randrange(1, 30)),
        counted_at=at,
        revenue_micros=event.revenue_micros // 2,
        name=None,
    )
    return [event, refund]


def the_test(method: DecisionMethod = DecisionMethod.ANYTIME, target: int = 10) -> ABTest:
    """The test whose users these are."""
    return ABTest(
        test_id="t",
        design=TestDesign(
            test_name="t",
            groups=tuple(
                Group(name=name, campaign_id=campaign)
                for name, campaign in zip(("control", "variant_1", "variant_2"), CAMPAIGNS, strict=True)
            ),
            target_sample_size=target,
            confidence_level=0.95,
            decision_method=method,
            minimum_detectable_effect=None,
            seed="t",
        ),
        status=Status.RUNNING,
        epoch=WeightEpoch(number=2, weights=(0.2, 0.4, 0.4), coverage=1.0),
        created_at=BEGIN - timedelta(days=1),
        started_at=BEGIN - timedelta(days=1),
        ended_at=None,
    )


async def keep_world(admin_url: str, world: World) -> None:
    """Keep users and events in the tables of both services."""
    connection = await asyncpg.connect(admin_url)
    try:
        await connection.execute(
            "insert into analytics.reporting_settings (reporting_time_zone) values ($1)"
            " on conflict (singleton) do update set reporting_time_zone = excluded.reporting_time_zone",
            str(ZONE),
        )
        await _keep_test(connection, world.users)
        await connection.executemany(
            "insert into analytics.events (user_id, event_id, campaign_id, event_type, event_at, counted_at,"
            " revenue_micros, custom_event_name, stamped_fields, is_machine_open, currency_code)"
            " values ($1, $2, $3, $4, $5, $6, $7, $8, 0, false, 'USD')",
            [
                (
                    event.user_id,
                    f"e{number}",
                    event.campaign_id,
                    event.event_type,
                    event.event_at,
                    event.counted_at,
                    event.revenue_micros,
                    event.name,
                )
                for number, event in enumerate(world.events)
            ],
        )
        await connection.executemany(
            "insert into analytics.user_activity_daily (user_id, day, acts, purchases, revenue_micros,"
            " events, cost_micros, currency_code) values ($1, $2, $3, $4, $5, $3, 0, 'USD')",
            [(user_id, day, *counts) for user_id, day, counts in world.activity],
        )
    finally:
        await connection.close()


async def _keep_test(connection: "asyncpg.Connection[asyncpg.Record]", users: Iterable[User]) -> None:
    await connection.executemany(
        "insert into analytics.campaigns (campaign_id, counted_currency_code) values ($1, 'USD')",
        [(campaign,) for campaign in CAMPAIGNS],
    )
    sets = [
        await connection.fetchval(
            "insert into analytics.segment_sets (segments) values ($1) returning segment_set_id",
            sorted(names),
        )
        for names in SEGMENT_SETS
    ]
    await connection.execute(
        "insert into abtest.ab_tests (test_id, test_name, status, decision_method, target_sample_size,"
        " confidence_level, hash_seed, current_epoch, created_at, started_at)"
        " values ('t', 't', 1, 1, 10, 0.95, 't', 2, $1, $1)",
        BEGIN - timedelta(days=1),
    )
    await connection.executemany(
        "insert into abtest.ab_test_groups (test_id, group_index, group_name, campaign_id)"
        " values ('t', $1, $2, $2)",
        list(enumerate(CAMPAIGNS)),
    )
    await connection.executemany(
        "insert into abtest.ab_test_weight_epochs (test_id, epoch, weights, coverage, started_at)"
        " values ('t', $1, $2, 1, $3)",
        [(1, [0.5, 0.25, 0.25], BEGIN), (2, [0.2, 0.4, 0.4], BEGIN)],
    )
    people = list(users)
    await connection.executemany(
        "insert into abtest.ab_test_assignments (user_id, test_id, assigned_at, propensity, epoch,"
        " group_index, segment_set_id) values ($1, 't', $2, 0.5, $3, $4, $5)",
        [
            (
                user.user_id,
                user.assigned_at,
                user.epoch,
                user.group,
                None if user.segment_set is None else sets[user.segment_set],
            )
            for user in people
        ],
    )
    await connection.execute(
        "insert into abtest.ab_test_group_counters (test_id, epoch, group_index, slot, users)"
        " select test_id, epoch, group_index, 0, count(*) from abtest.ab_test_assignments group by 1, 2, 3"
    )
