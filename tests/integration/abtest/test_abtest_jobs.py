"""Jobs of abtest over a real database: what fails keeps nothing else waiting, and nothing counts twice."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from deploy.local.bootstrap import DatabaseAddresses
from services.abtest.domain.bandit import BanditDesign
from services.abtest.domain.changes import ChangeNote
from services.abtest.domain.enrolment import EnrolmentRules
from services.abtest.operations.analysis import AnalysisOperations
from services.abtest.operations.assignment import AssignmentOperations
from services.abtest.operations.bandit import BanditOperations
from services.abtest.operations.creation import CreationOperations, NewTest
from services.abtest.operations.jobs import build_jobs
from services.abtest.operations.lifecycle import LifecycleOperations
from services.common.database import Database
from services.common.errors import DomainError, FailedPreconditionError, UnavailableError
from services.common.job_table import Cursor
from services.common.jobs import JobContext
from tests.abtest_factories import add_campaigns, design

START = datetime(2026, 3, 1, 9, tzinfo=UTC)
BANDIT = BanditDesign(
    exploration_floor=0.05,
    refresh_interval_seconds=3600,
    minimum_users_per_group=1,
    stopping_gain=0.01,
    stopping_probability=0.95,
)


class World:
    """The operations of one replica, on a clock that a test moves."""

    def __init__(self, database: Database) -> None:
        self.now = START
        self.made = 0
        self.analysis = AnalysisOperations(database, now=lambda: self.now)
        self.lifecycle = LifecycleOperations(database, now=lambda: self.now)
        self.bandits = BanditOperations(database, now=lambda: self.now, end_test=self.analysis.end_test)
        self.assignment = AssignmentOperations(database, now=lambda: self.now, slot=0)
        self.creation = CreationOperations(database, now=lambda: self.now, new_test_id=self._make_id)
        self.failing: set[str] = set()
        self.unusable: set[str] = set()
        self.extended = 0

    def _make_id(self) -> str:
        self.made += 1
        return f"t{self.made}"

    async def create(self, *, bandit: BanditDesign | None = None, ends_at: datetime | None = None) -> str:
        wanted = NewTest(
            design=replace(design(), seed=""),
            weights=(0.5, 0.5),
            coverage=1.0,
            request_id=None,
            campaign_fields=("control_campaign_id", "variant_campaign_id"),
            rules=EnrolmentRules(),
            bandit=bandit,
            starts_at=None,
            ends_at=ends_at,
            is_draft=False,
            note=ChangeNote(),
        )
        return (await self.creation.create_test(wanted)).test.test_id

    async def end(self, test_id: str, note: ChangeNote) -> object:
        if test_id in self.failing:
            raise UnavailableError("the database is away", reason="DATABASE_UNAVAILABLE")
        if test_id in self.unusable:
            raise FailedPreconditionError("dollars and euros", reason="CURRENCY_CONFLICT")
        return await self.analysis.end_test(test_id, note)

    async def run(self, job_name: str) -> str:
        async def save(_cursor: Cursor) -> None:
            self.extended += 1

        jobs = build_jobs(
            bandits=self.bandits,
            bandit_seconds=30,
            lifecycle=self.lifecycle,
            end_test=self.end,
            schedule_seconds=5,
        )
        (job,) = [job for job in jobs if job.name == job_name]
        return await job.run(JobContext(job_name=job_name, cursor={}, save=save))


@pytest.fixture
async def world(database: DatabaseAddresses) -> AsyncIterator[World]:
    await add_campaigns(database.admin)
    opened = await Database.open(database.abtest, application_name="abtest")
    try:
        yield World(opened)
    finally:
        await opened.close()


async def test_a_test_that_cannot_end_does_not_keep_others_from_it(world: World) -> None:
    stuck, other = [await world.create(ends_at=START + timedelta(hours=1)) for _ in range(2)]
    world.now += timedelta(hours=2)
    world.failing = {stuck}
    with pytest.raises(DomainError, match="the database is away"):
        await world.run("schedules")
    assert await world.lifecycle.list_due_ends() == [stuck]
    world.failing = set()
    assert (await world.run("schedules")).startswith("0 tests started, 1 ended")
    test, kept = await world.analysis.end_test(other, ChangeNote())
    assert test.ended_at == START + timedelta(hours=1)
    assert kept.is_final
    assert world.extended == 3


async def test_a_test_whose_amounts_cannot_be_compared_does_not_fail_the_schedule(world: World) -> None:
    unusable, other = [await world.create(ends_at=START + timedelta(hours=1)) for _ in range(2)]
    world.unusable.add(unusable)
    world.now += timedelta(hours=2)
    told = await world.run("schedules")
    assert told == "0 tests started, 1 ended, 1 without a result that could be kept"
    assert await world.lifecycle.list_due_ends() == [unusable]
    assert (await world.analysis.end_test(other, ChangeNote()))[0].ended_at == START + timedelta(hours=1)


async def test_a_bandit_that_cannot_be_refreshed_does_not_keep_others_from_it(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    stuck, overtaken, other = [await world.create(bandit=BANDIT) for _ in range(3)]
    refresh = world.bandits.refresh

    async def refresh_but_one(test_id: str) -> object:
        if test_id == stuck:
            raise UnavailableError("the database is away", reason="DATABASE_UNAVAILABLE")
        return None if test_id == overtaken else await refresh(test_id)

    with monkeypatch.context() as patched:
        patched.setattr(world.bandits, "refresh", refresh_but_one)
        with pytest.raises(DomainError, match="the database is away"):
            await world.run("bandits")
    assert await world.bandits.list_due() == [stuck, overtaken]
    assert await world.run("bandits") == "2 bandits refreshed, 0 moved weights, 0 ended"
    assert (await world.bandits.list_steps(other, before=10, limit=10)).steps[0].number == 1


@pytest.mark.parametrize("users", [0, 50])
async def test_of_refreshes_at_the_same_time_one_counts(world: World, users: int) -> None:
    test_id = await world.create(bandit=BANDIT)
    await world.assignment.assign_users([(test_id, f"u{number}") for number in range(users)])
    steps = await asyncio.gather(*(world.bandits.refresh(test_id) for _ in range(4)))
    assert len([step for step in steps if step is not None]) >= 1
    kept = (await world.bandits.list_steps(test_id, before=100, limit=10)).steps
    numbers = sorted(step.number for step in steps if step is not None)
    assert sorted(step.number for step in kept) == numbers == list(range(1, len(numbers) + 1))


async def test_a_test_that_ended_meanwhile_is_left_alone(world: World) -> None:
    test_id = await world.create(bandit=BANDIT)
    await world.analysis.end_test(test_id, ChangeNote())
    assert await world.bandits.refresh(test_id) is None
    assert await world.bandits.list_due() == []
