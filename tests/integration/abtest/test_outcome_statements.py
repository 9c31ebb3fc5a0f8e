"""What users did after they were assigned: PostgreSQL's answers against a count by hand."""

import math
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import asyncpg
import numpy as np
import pytest

from deploy.local.bootstrap import DatabaseAddresses
from services.abtest.domain.assignment import bucket_shares
from services.abtest.domain.contrasts import Sample
from services.abtest.domain.exposure_days import count_days
from services.abtest.domain.metrics import (
    CONVERSION_RATE,
    CONVERSIONS,
    REVENUE,
    Measure,
    MeasureSource,
    Metric,
    MetricKind,
    MetricRole,
)
from services.abtest.domain.model import GroupCounts
from services.abtest.domain.samples import CovariateSample, MeanSample, RatioSample
from services.abtest.store import outcomes
from services.abtest.store.outcomes import ALL, Cell, Cut
from services.common.database import Connection, Database
from tests.outcome_world import BEGIN, SEGMENT_SETS, User, World, keep_world, make_world, the_test

CLICKS = Measure(source=MeasureSource.CLICKED)
IMPRESSIONS = Measure(source=MeasureSource.DELIVERED)
SHARES = Measure(source=MeasureSource.CUSTOM, custom_event_name="share")
TWO_DAYS = timedelta(days=2)


def metric(
    kind: MetricKind,
    numerator: Measure,
    denominator: Measure | None = None,
    **more: Any,  # noqa: ANN401 (a metric's fields)
) -> Metric:
    return Metric(
        name="m", role=MetricRole.PRIMARY, kind=kind, numerator=numerator, denominator=denominator, **more
    )


METRICS = {
    "conversion": CONVERSION_RATE,
    "conversion within two days": metric(MetricKind.PROPORTION, CONVERSIONS, window=TWO_DAYS),
    "custom event": metric(MetricKind.PROPORTION, SHARES),
    "custom event count": metric(MetricKind.MEAN, SHARES, window=TWO_DAYS),
    "revenue": metric(MetricKind.MEAN, REVENUE),
    "revenue within two days": metric(MetricKind.MEAN, REVENUE, window=TWO_DAYS),
    "revenue with its past": metric(MetricKind.MEAN, REVENUE, covariate_days=7),
    "conversions with their past": metric(MetricKind.MEAN, CONVERSIONS, covariate_days=7),
    "shares with their past": metric(MetricKind.MEAN, SHARES, covariate_days=3),
    "clicks over impressions": metric(MetricKind.RATIO, CLICKS, IMPRESSIONS),
    "revenue over conversions": metric(MetricKind.RATIO, REVENUE, CONVERSIONS, window=TWO_DAYS),
    "shares over saves": metric(
        MetricKind.RATIO, SHARES, Measure(source=MeasureSource.CUSTOM, custom_event_name="save")
    ),
}
CUTS = (ALL, Cut(assigned_until=BEGIN + timedelta(hours=60)), Cut(by_segment=True))


@dataclass(frozen=True)
class Kept:
    world: World
    connection: Connection


@pytest.fixture
async def kept(database: DatabaseAddresses) -> AsyncIterator[Kept]:
    """A seeded world in the database, and a connection of the service's own role."""
    world = make_world(7)
    await keep_world(database.admin, world)
    own = await Database.open(database.abtest, application_name="test")
    try:
        async with own.transaction(readonly=True) as connection:
            yield Kept(world, connection)
    finally:
        await own.close()


def expected(world: World, measured: Metric, users: Sequence[User]) -> Sample:
    """The sample of these users, from their values."""
    unit = 1e6 if measured.numerator == REVENUE else 1.0
    first = [world.amount(user, measured.numerator, measured.window) / unit for user in users]
    if measured.kind is MetricKind.PROPORTION:
        return GroupCounts(users=len(users), conversions=sum(value > 0 for value in first))
    if measured.denominator is not None:
        second = [world.amount(user, measured.denominator, measured.window) for user in users]
        sample = CovariateSample.from_values(first, second)
        return RatioSample(
            numerator=sample.outcome, denominator=sample.covariate, cross_deviations=sample.cross_deviations
        )
    if measured.covariate_days is None:
        return MeanSample.from_values(first)
    past = [world.past(user, measured.numerator.source, measured.covariate_days) / unit for user in users]
    return CovariateSample.from_values(first, past)


def numbers(sample: Sample) -> list[float]:
    match sample:
        case GroupCounts():
            return [sample.users, sample.conversions]
        case MeanSample():
            return [sample.users, sample.total, sample.squared_deviations]
        case CovariateSample():
            return [*numbers(sample.outcome), *numbers(sample.covariate), sample.cross_deviations]
    return [*numbers(sample.numerator), *numbers(sample.denominator), sample.cross_deviations]


async def segment_numbers(connection: Connection) -> dict[int | None, int | None]:
    """The database's numbers of the world's sets of segments."""
    rows = await connection.fetch("select segment_set_id, segments from analytics_v1.segment_sets")
    found: dict[int | None, int | None] = {
        SEGMENT_SETS.index(set(row["segments"])): row["segment_set_id"] for row in rows
    }
    return found | {None: None}


@pytest.mark.parametrize("name", METRICS)
async def test_samples_are_what_a_count_by_hand_gives(kept: Kept, name: str) -> None:
    measured, numbered = METRICS[name], await segment_numbers(kept.connection)
    for cut in CUTS:
        users = await outcomes.fetch_users(kept.connection, the_test(), cut)
        found = await outcomes.fetch_samples(
            kept.connection, the_test(), measured, users, cut, currency_code="USD"
        )
        people: dict[Cell, list[list[User]]] = {}
        for user in kept.world.users:
            if cut.assigned_until is None or user.assigned_at <= cut.assigned_until:
                cell = (user.epoch, numbered[user.segment_set] if cut.by_segment else None)
                people.setdefault(cell, [[], [], []])[user.group].append(user)
        assert set(found.samples) == set(people)
        for cell, groups in people.items():
            for sample, own in zip(found.samples[cell], groups, strict=True):
                by_hand = numbers(expected(kept.world, measured, own))
                assert numbers(sample) == pytest.approx(by_hand, rel=1e-9, abs=1e-9)


async def test_some_of_everything_happened(kept: Kept) -> None:
    # The tests above compare nothing with nothing otherwise.
    totals = [
        sum(kept.world.amount(user, measured.numerator, measured.window) != 0 for user in kept.world.users)
        for measured in METRICS.values()
    ]
    assert min(totals) > 5


async def test_users_come_with_the_shares_they_were_drawn_in(kept: Kept) -> None:
    users = await outcomes.fetch_users(kept.connection, the_test())
    assert users.weights == {
        1: bucket_shares((0.5, 0.25, 0.25), 1.0),
        2: bucket_shares((0.2, 0.4, 0.4), 1.0),
    }
    assert sum(sum(groups) for groups in users.cells.values()) == len(kept.world.users)


async def test_a_winsorised_mean_is_capped_at_one_amount_for_all_groups(kept: Kept) -> None:
    capped = metric(MetricKind.MEAN, REVENUE, winsorize_quantile=0.9)
    users = await outcomes.fetch_users(kept.connection, the_test())
    found = await outcomes.fetch_samples(kept.connection, the_test(), capped, users)
    amounts = {user: kept.world.amount(user, REVENUE, None) for user in kept.world.users}
    cap = np.quantile([each for each in amounts.values() if each > 0], 0.9, method="inverted_cdf")
    assert found.winsorize_cap == pytest.approx(cap / 1e6)
    for (epoch, _), groups in found.samples.items():
        for group, sample in enumerate(groups):
            own = [
                min(amount, cap) / 1e6
                for user, amount in amounts.items()
                if (user.epoch, user.group) == (epoch, group)
            ]
            assert numbers(sample) == pytest.approx(numbers(MeanSample.from_values(own)), rel=1e-9)


async def test_money_of_another_currency_is_no_covariate(kept: Kept) -> None:
    users = await outcomes.fetch_users(kept.connection, the_test())
    found = await outcomes.fetch_samples(
        kept.connection, the_test(), METRICS["revenue with its past"], users, currency_code="EUR"
    )
    for groups in found.samples.values():
        for sample in groups:
            assert isinstance(sample, CovariateSample)
            assert (sample.covariate.total, sample.cross_deviations) == (0.0, 0.0)


def first_day(world: World, user: User, exposed_at: datetime) -> int | None:
    times = [
        event.event_at
        for event in world.events
        if event.user_id == user.user_id
        and event.event_type == MeasureSource.CONVERTED
        and event.campaign_id == f"c{user.group}"
        and event.event_at > user.assigned_at
    ]
    return math.floor((min(times) - exposed_at) / timedelta(days=1)) if times else None


@pytest.mark.parametrize("exposed_after", [None, timedelta(hours=3)])
async def test_first_conversions_are_told_by_days_since_exposure(
    kept: Kept, database: DatabaseAddresses, exposed_after: timedelta | None
) -> None:
    delay = exposed_after or timedelta()
    if exposed_after is not None:
        admin = await asyncpg.connect(database.admin)
        await admin.executemany(
            "insert into abtest.ab_test_exposures (user_id, test_id, source, exposed_at)"
            " values ($1, 't', $2, $3)",
            [
                (user.user_id, source, user.assigned_at + delay + timedelta(days=later))
                for user in kept.world.users
                for later, source in enumerate(["app", "web"])
            ],
        )
        await admin.close()
    as_of = BEGIN + timedelta(days=6)
    found = await outcomes.fetch_first_conversions(
        kept.connection, the_test(), CONVERSION_RATE, as_of=as_of, days=28
    )
    by_hand: dict[tuple[int, int, int, int | None], int] = {}
    for user in kept.world.users:
        exposed_at = user.assigned_at + delay
        observed = (as_of - exposed_at) // timedelta(days=1)
        if observed >= 1:
            key = (user.epoch, user.group, observed, first_day(kept.world, user, exposed_at))
            by_hand[key] = by_hand.get(key, 0) + 1
    assert found == by_hand
    days = count_days(found, 3)
    for place, epoch in enumerate((1, 2)):
        assert days[place].label == "0"
        assert [counts.users for counts in days[place].groups] == [
            sum(
                count
                for (number, group, _, day), count in by_hand.items()
                if (number, group) == (epoch, index) and (day is None or day >= 0)
            )
            for index in range(3)
        ]


async def test_the_horizon_is_when_the_last_group_has_its_target(kept: Kept) -> None:
    groups = [[user.assigned_at for user in kept.world.users if user.group == index] for index in range(3)]
    assert await outcomes.fetch_horizon(kept.connection, "t", 20) == max(times[19] for times in groups)
    assert await outcomes.fetch_horizon(kept.connection, "t", 1 + min(map(len, groups))) is None


async def test_what_bounds_outcomes_is_read(kept: Kept, database: DatabaseAddresses) -> None:
    limits = await outcomes.fetch_limits(kept.connection, the_test())
    assert (limits.reporting_time_zone, limits.sealed_through) == ("America/New_York", None)
    assert limits.currency_codes == ("USD",)
    assert await outcomes.fetch_last_assignment(kept.connection, "t") == kept.world.users[-1].assigned_at
    assert await outcomes.fetch_last_assignment(kept.connection, "no test") is None
