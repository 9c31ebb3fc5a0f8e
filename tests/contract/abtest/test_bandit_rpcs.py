"""Bandits over the wire: created with a test, refreshed by a job, ended by their own rule."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import grpc
import pytest

from deploy.local.bootstrap import DatabaseAddresses
from gen.campaigns.abtest.v1 import (
    assignments_pb2,
    audit_pb2,
    bandit_pb2,
    metrics_pb2,
    operations_service_pb2,
    progress_pb2,
    results_pb2,
    tests_pb2,
)
from gen.campaigns.abtest.v1.abtest_service_pb2_grpc import ABTestServiceStub
from gen.campaigns.abtest.v1.operations_service_pb2_grpc import ABTestOperationsServiceStub
from services.abtest.convert.bandit import bandit_from_proto
from services.abtest.convert.violations import Violations
from services.common.errors import InvalidArgumentError
from tests.abtest_factories import (
    CONTROL_CAMPAIGN,
    VARIANT_CAMPAIGN,
    a_test,
    add_campaigns,
    add_events,
    refusal,
    running_channel,
)

START = datetime(2026, 3, 1, 9, tzinfo=UTC)
CAMPAIGNS = {"control": CONTROL_CAMPAIGN, "variant": VARIANT_CAMPAIGN}


class World:
    """A server whose clock a test moves, and whose jobs run when asked to."""

    def __init__(self, channel: grpc.aio.Channel, database: DatabaseAddresses, clock: list[datetime]) -> None:
        self.tests = ABTestServiceStub(channel)
        self.operations = ABTestOperationsServiceStub(channel)
        self._database = database
        self._clock = clock

    def wait(self, **duration: float) -> None:
        self._clock[0] += timedelta(**duration)

    async def create(self, **settings: Any) -> str:  # noqa: ANN401 (a bandit's settings)
        bandit = bandit_pb2.BanditSettings(**({"minimum_users_per_group": 20} | settings))
        return str((await self.tests.CreateTest(a_test(bandit=bandit))).test_id)

    async def enrol(self, test_id: str, users: range) -> list[assignments_pb2.UserAssignment]:
        answer = await self.tests.AssignUsers(
            assignments_pb2.AssignUsersRequest(test_id=test_id, user_ids=[f"u{each}" for each in users])
        )
        return list(answer.assignments)

    async def convert(
        self, assignments: list[assignments_pb2.UserAssignment], shares: Mapping[str, float]
    ) -> None:
        """Let so many of each group convert a minute later."""
        self.wait(minutes=1)
        events = []
        for group, share in shares.items():
            users = [each.user_id for each in assignments if each.assigned_group == group]
            converted = users[: round(share * len(users))]
            events += [(CAMPAIGNS[group], user, self._clock[0]) for user in converted]
        await add_events(self._database.admin, events)

    async def run_job(self, job_name: str) -> operations_service_pb2.Job:
        """Run a job to its end and return it."""
        before = await self.job(job_name)
        await self.operations.RunJob(operations_service_pb2.RunJobRequest(job_name=job_name))
        async with asyncio.timeout(60):
            while True:
                job = await self.job(job_name)
                if job.last_finished_time != before.last_finished_time:
                    return job
                await asyncio.sleep(0.01)

    async def job(self, job_name: str) -> operations_service_pb2.Job:
        """Return a job once it does not run."""
        async with asyncio.timeout(60):
            while True:
                answer = await self.operations.ListJobs(operations_service_pb2.ListJobsRequest())
                job = next(each for each in answer.jobs if each.job_name == job_name)
                if (
                    job.HasField("last_finished_time")
                    and job.state != operations_service_pb2.JOB_STATE_RUNNING
                ):
                    return job
                await asyncio.sleep(0.01)

    async def bandit(self, test_id: str) -> bandit_pb2.GetBanditResponse:
        return await self.tests.GetBandit(bandit_pb2.GetBanditRequest(test_id=test_id))

    async def steps(self, test_id: str, **page: Any) -> bandit_pb2.ListBanditStepsResponse:  # noqa: ANN401
        return await self.tests.ListBanditSteps(bandit_pb2.ListBanditStepsRequest(test_id=test_id, **page))


@pytest.fixture
async def world(database: DatabaseAddresses) -> AsyncIterator[World]:
    await add_campaigns(database.admin)
    clock = [START]
    async with running_channel(
        database.abtest, now=lambda: clock[0], jobs_enabled=True, job_poll_seconds=3600.0
    ) as channel:
        yield World(channel, database, clock)


async def test_a_new_bandit_knows_nothing_and_keeps_its_weights(world: World) -> None:
    test_id = await world.create()
    bandit = await world.bandit(test_id)
    assert bandit.settings == bandit_pb2.BanditSettings(
        exploration_floor=0.05,
        refresh_interval_seconds=3600,
        minimum_users_per_group=20,
        stopping_gain=0.01,
        stopping_probability=0.95,
    )
    assert bandit.is_active
    assert (bandit.metric, bandit.method) == ("conversion_rate", "thompson_post_stratified")
    assert [group.next_traffic_weight for group in bandit.groups] == [0.5, 0.5]
    for group in bandit.groups:
        assert not any(group.HasField(name) for name in ("value", "credible_interval", "probability_best"))
    assert not any(bandit.HasField(name) for name in ("leader", "remaining_gain", "last_refresh_time"))
    assert "until every group has 20 users" in bandit.reason
    assert not bandit.stopping_rule_is_met


async def test_traffic_moves_to_the_better_group_and_assignments_keep_their_propensity(world: World) -> None:
    test_id = await world.create()
    first = await world.enrol(test_id, range(200))
    assert {(each.propensity, each.weight_epoch) for each in first} == {(0.5, 1)}
    await world.convert(first, {"control": 0.20, "variant": 0.28})
    before = await world.bandit(test_id)
    assert before.leader == "variant"
    assert 0.8 < before.probability_gain_is_small < 0.95
    assert before.remaining_gain > 0.0

    job = await world.run_job("bandits")
    assert job.last_result == "1 bandits refreshed, 1 moved weights, 0 ended"
    bandit = await world.bandit(test_id)
    weights = {group.group: group.traffic_weight for group in bandit.groups}
    assert weights == {group.group: group.next_traffic_weight for group in before.groups}
    assert 0.05 <= weights["control"] < 0.2
    assert bandit.last_refresh_time.ToDatetime(UTC) == START + timedelta(minutes=1)

    later = await world.enrol(test_id, range(150, 400))
    assert later[:50] == first[150:]
    propensities = {(each.assigned_group, each.propensity, each.weight_epoch) for each in later[50:]}
    assert propensities == {("control", weights["control"], 2), ("variant", weights["variant"], 2)}

    step = (await world.steps(test_id)).steps[0]
    assert (step.step_number, step.epoch, step.weights_changed, step.stopped) == (1, 2, True, False)
    assert {group.group: group.traffic_weight for group in step.groups} == weights
    assert [group.users for group in step.groups] == [group.users for group in before.groups]
    assert step.groups[1].value == before.groups[1].value
    assert sum(group.probability_best for group in step.groups) == pytest.approx(1.0)
    changes = (await world.tests.ListTestChanges(audit_pb2.ListTestChangesRequest(test_id=test_id))).changes
    assert (changes[0].actor, changes[0].action) == ("bandit", "update")
    assert [difference.field for difference in changes[0].differences] == ["traffic_weights"]


async def test_money_of_two_currencies_moves_no_weights(world: World, database: DatabaseAddresses) -> None:
    revenue = metrics_pb2.Metric(metric_type="revenue_per_user")
    bandit = bandit_pb2.BanditSettings(minimum_users_per_group=20)
    created = await world.tests.CreateTest(a_test(bandit=bandit, primary_metric=revenue))
    await world.convert(await world.enrol(created.test_id, range(400)), {"control": 0.5, "variant": 0.1})
    connection = await asyncpg.connect(database.admin)
    await connection.execute("update analytics.events set revenue_micros = 1000000 * (1 + length(user_id))")
    known = await world.bandit(created.test_id)
    assert all(group.HasField("value") for group in known.groups)
    await connection.execute(
        "update analytics.campaigns set counted_currency_code = left(md5(campaign_id), 3)"
    )
    await connection.close()
    mixed = await world.bandit(created.test_id)
    assert not any(group.HasField("value") for group in mixed.groups)
    assert [group.next_traffic_weight for group in mixed.groups] == [0.5, 0.5]


async def test_a_bandit_is_refreshed_only_when_it_is_due(world: World) -> None:
    test_id = await world.create(refresh_interval_seconds=600)
    assert "1 bandits refreshed, 0 moved" in (await world.run_job("bandits")).last_result
    world.wait(seconds=599)
    assert "0 bandits refreshed" in (await world.run_job("bandits")).last_result
    world.wait(seconds=1)
    assert "1 bandits refreshed" in (await world.run_job("bandits")).last_result
    steps = await world.steps(test_id, page_size=1)
    assert [step.step_number for step in steps.steps] == [2]
    rest = await world.steps(test_id, page_size=1, page_token=steps.next_page_token)
    assert [step.step_number for step in rest.steps] == [1]
    assert not rest.next_page_token
    assert not rest.steps[0].weights_changed
    assert not rest.steps[0].HasField("leader")


async def test_a_bandit_ends_once_hardly_anything_is_left_to_gain(world: World) -> None:
    test_id = await world.create()
    await world.convert(await world.enrol(test_id, range(400)), {"control": 0.05, "variant": 0.40})
    assert (await world.bandit(test_id)).stopping_rule_is_met
    assert (await world.run_job("bandits")).last_result == "1 bandits refreshed, 0 moved weights, 1 ended"
    status = await world.tests.GetTestStatus(progress_pb2.GetTestStatusRequest(test_id=test_id))
    assert not status.is_active
    assert status.end_time.ToDatetime(UTC) == START + timedelta(minutes=1)
    result = await world.tests.EndTest(results_pb2.EndTestRequest(test_id=test_id))
    assert (result.winner, result.verdict) == ("variant", "ship")
    step = (await world.steps(test_id)).steps[0]
    assert (step.stopped, step.leader, step.weights_changed) == (True, "variant", False)
    assert step.probability_gain_is_small >= 0.95
    changes = (await world.tests.ListTestChanges(audit_pb2.ListTestChangesRequest(test_id=test_id))).changes
    assert (changes[0].actor, changes[0].action, changes[0].comment) == ("bandit", "end", step.reason)
    world.wait(days=1)
    assert "0 bandits refreshed" in (await world.run_job("bandits")).last_result
    assert not (await world.bandit(test_id)).is_active


async def test_the_weights_of_a_bandit_cannot_be_set_by_hand(world: World) -> None:
    test_id = await world.create()
    request = tests_pb2.UpdateTestRequest(test_id=test_id, traffic_weights=[0.9, 0.1])
    code, reason, _ = await refusal(world.tests.UpdateTest(request))
    assert (code, reason) == (grpc.StatusCode.FAILED_PRECONDITION, "BANDIT_OWNS_WEIGHTS")


async def test_a_test_without_a_bandit_and_an_unknown_one_are_told_apart(world: World) -> None:
    plain = (await world.tests.CreateTest(a_test())).test_id
    for ask in (world.bandit, world.steps):
        code, reason, _ = await refusal(ask(plain))
        assert (code, reason) == (grpc.StatusCode.FAILED_PRECONDITION, "BANDIT_UNKNOWN")
        code, reason, _ = await refusal(ask("none"))
        assert (code, reason) == (grpc.StatusCode.NOT_FOUND, "TEST_UNKNOWN")
        code, _, fields = await refusal(ask(""))
        assert (code, set(fields)) == (grpc.StatusCode.INVALID_ARGUMENT, {"test_id"})


@pytest.mark.parametrize(
    ("settings", "wrong"),
    [
        ({"exploration_floor": 0.51}, "exploration_floor"),
        ({"exploration_floor": 0.0}, "exploration_floor"),
        ({"refresh_interval_seconds": 59}, "refresh_interval_seconds"),
        ({"refresh_interval_seconds": 604_801}, "refresh_interval_seconds"),
        ({"minimum_users_per_group": 0}, "minimum_users_per_group"),
        ({"stopping_gain": float("nan")}, "stopping_gain"),
        ({"stopping_probability": 1.0}, "stopping_probability"),
    ],
)
def test_a_setting_out_of_range_is_refused_by_field(settings: dict[str, Any], wrong: str) -> None:
    violations = Violations()
    bandit_from_proto(bandit_pb2.BanditSettings(**settings), 2, 1.0, violations)
    with pytest.raises(InvalidArgumentError) as caught:
        violations.raise_any()
    assert [violation.field for violation in caught.value.violations] == [f"bandit.{wrong}"]


def test_a_floor_that_leaves_a_group_without_a_bucket_is_refused() -> None:
    violations = Violations()
    bandit_from_proto(bandit_pb2.BanditSettings(exploration_floor=0.01), 2, 0.009, violations)
    with pytest.raises(InvalidArgumentError, match="without any of the 10000 buckets"):
        violations.raise_any()


async def test_a_test_whose_bandit_is_wrong_is_not_created(world: World) -> None:
    code, _, fields = await refusal(world.create(exploration_floor=0.51))
    assert (code, set(fields)) == (grpc.StatusCode.INVALID_ARGUMENT, {"bandit.exploration_floor"})


async def test_pages_that_nobody_gave_are_refused(world: World) -> None:
    test_id = await world.create()
    for page, field in (({"page_size": 0}, "page_size"), ({"page_token": "x"}, "page_token")):
        code, _, fields = await refusal(world.steps(test_id, **page))
        assert (code, set(fields)) == (grpc.StatusCode.INVALID_ARGUMENT, {field})
    foreign = "eyJhIjoxfQ"  # {"a": 1}: another list's
    code, _, fields = await refusal(world.steps(test_id, page_token=foreign))
    assert (code, set(fields)) == (grpc.StatusCode.INVALID_ARGUMENT, {"page_token"})


async def test_tests_start_and_end_on_time(world: World) -> None:
    request = a_test(test_name="scheduled")
    request.start_time.FromDatetime(START + timedelta(hours=1))
    request.end_time.FromDatetime(START + timedelta(hours=2))
    test_id = (await world.tests.CreateTest(request)).test_id

    async def is_active() -> bool:
        status = await world.tests.GetTestStatus(progress_pb2.GetTestStatusRequest(test_id=test_id))
        return bool(status.is_active)

    assert (await world.run_job("schedules")).last_result.startswith("0 tests started, 0 ended")
    assert not await is_active()
    world.wait(hours=1)
    assert (await world.run_job("schedules")).last_result.startswith("1 tests started, 0 ended")
    assert await is_active()
    world.wait(hours=1, minutes=5)
    assert (await world.run_job("schedules")).last_result.startswith("0 tests started, 1 ended")
    status = await world.tests.GetTestStatus(progress_pb2.GetTestStatusRequest(test_id=test_id))
    assert status.end_time.ToDatetime(UTC) == START + timedelta(hours=2)


async def test_jobs_are_listed_and_an_unknown_one_refused(world: World) -> None:
    for name, schedule in (("bandits", "every 30 s"), ("schedules", "every 5 s")):
        job = await world.job(name)
        assert (job.schedule, job.consecutive_failures, job.last_error) == (schedule, 0, "")
        assert job.last_succeeded_time == job.last_finished_time
    run = world.operations.RunJob
    with pytest.raises(grpc.aio.AioRpcError) as unknown:
        await run(operations_service_pb2.RunJobRequest(job_name="bandit"))
    assert unknown.value.code() is grpc.StatusCode.NOT_FOUND
    with pytest.raises(grpc.aio.AioRpcError) as nameless:
        await run(operations_service_pb2.RunJobRequest())
    assert nameless.value.code() is grpc.StatusCode.INVALID_ARGUMENT
