"""Looks over the wire: when they are taken, that they are taken once, and that what they found stays."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from deploy.local.bootstrap import DatabaseAddresses
from gen.campaigns.abtest.v1 import assignments_pb2, metrics_pb2, results_pb2
from gen.campaigns.abtest.v1.abtest_service_pb2_grpc import ABTestServiceStub
from tests.abtest_factories import (
    CONTROL_CAMPAIGN,
    VARIANT_CAMPAIGN,
    a_test,
    add_campaigns,
    add_events,
    running_server,
)

CAMPAIGNS = {"control": CONTROL_CAMPAIGN, "variant": VARIANT_CAMPAIGN}


@dataclass
class Trial:
    """A test on a server whose clock stands still until it is moved."""

    stub: ABTestServiceStub
    admin: str
    clock: list[datetime]
    test_id: str = ""
    users: dict[str, list[str]] = field(default_factory=lambda: {"control": [], "variant": []})

    async def create(self, **fields: Any) -> None:  # noqa: ANN401 (a request's fields)
        self.test_id = (await self.stub.CreateTest(a_test(**fields))).test_id

    async def assign_until(self, per_group: int) -> None:
        """Assign users until the smallest group has so many."""
        number = sum(map(len, self.users.values()))
        while min(map(len, self.users.values())) < per_group:
            names = [f"user_{index}" for index in range(number, number + 10)]
            number += 10
            answer = await self.stub.AssignUsers(
                assignments_pb2.AssignUsersRequest(test_id=self.test_id, user_ids=names)
            )
            for assignment in answer.assignments:
                self.users[assignment.assigned_group].append(assignment.user_id)

    async def convert(self, group: str, users: Iterable[str]) -> None:
        at = self.clock[0] + timedelta(minutes=1)
        await add_events(self.admin, [(CAMPAIGNS[group], user, at) for user in users], event_type=4)

    async def analyze(self) -> results_pb2.AnalyzeTestResponse:
        return await self.stub.AnalyzeTest(results_pb2.AnalyzeTestRequest(test_id=self.test_id))

    async def end(self) -> results_pb2.EndTestResponse:
        return await self.stub.EndTest(results_pb2.EndTestRequest(test_id=self.test_id))


@pytest.fixture
async def trial(database: DatabaseAddresses) -> AsyncIterator[Trial]:
    clock = [datetime(2026, 5, 4, 9, tzinfo=UTC)]
    await add_campaigns(database.admin)
    async with running_server(database.abtest, now=lambda: clock[0]) as stub:
        yield Trial(stub=stub, admin=database.admin, clock=clock)


async def test_a_group_sequential_test_looks_by_plan_and_once(trial: Trial) -> None:
    await trial.create(decision_method="group_sequential", planned_looks=2, target_sample_size=120)
    await trial.assign_until(30)
    early = await trial.analyze()
    assert (early.verdict, early.HasField("look_number")) == ("continue", False)
    assert any("50 % of its target" in reason for reason in early.reasons)
    await trial.assign_until(60)
    await trial.convert("control", trial.users["control"][:15])
    await trial.convert("variant", trial.users["variant"][:22])
    answers = await asyncio.gather(*(trial.analyze() for _ in range(4)))
    assert {answer.look_number for answer in answers} == {1}
    assert {answer.verdict for answer in answers} == {"continue"}
    # Many more conversions between the looks decide nothing.
    await trial.convert("variant", trial.users["variant"][22:60])
    between = await trial.analyze()
    assert between.p_value < 1e-6
    assert (between.verdict, between.look_number) == ("continue", 1)
    await trial.assign_until(120)
    last = await trial.analyze()
    assert (last.verdict, last.winner, last.look_number) == ("ship", "variant", 2)
    assert last.information_fraction == 1.0
    # What comes later changes the numbers, and not the verdict.
    await trial.convert("control", trial.users["control"][15:])
    after = await trial.analyze()
    assert after.groups[0].conversion_rate == 1.0
    assert (after.verdict, after.winner, after.look_number) == ("ship", "variant", 2)
    ended = await trial.end()
    assert (ended.verdict, ended.winner) == ("ship", "variant")


async def test_ending_between_looks_takes_none(trial: Trial) -> None:
    await trial.create(decision_method="group_sequential", planned_looks=2, target_sample_size=120)
    await trial.assign_until(40)
    await trial.convert("variant", trial.users["variant"])
    ended = await trial.end()
    assert ended.p_value < 1e-6
    assert (ended.verdict, ended.HasField("winner"), ended.HasField("look_number")) == ("stop", False, False)


async def test_a_fixed_horizon_looks_once_when_every_window_has_passed(trial: Trial) -> None:
    metric = metrics_pb2.Metric(metric_type="conversion", window_hours=24)
    await trial.create(decision_method="fixed_horizon", target_sample_size=60, primary_metric=metric)
    await trial.assign_until(60)
    await trial.convert("variant", trial.users["variant"][:40])
    waiting = await trial.analyze()
    assert waiting.p_value < 1e-6
    assert waiting.verdict == "continue"
    assert any("time to convert has not passed" in reason for reason in waiting.reasons)
    assert "awaited" in waiting.time_to_decision.basis
    trial.clock[0] += timedelta(hours=25)
    looked = await trial.analyze()
    assert (looked.verdict, looked.winner, looked.look_number) == ("ship", "variant", 1)
    trial.clock[0] -= timedelta(hours=24)
    await trial.convert("control", trial.users["control"])
    trial.clock[0] += timedelta(hours=24)
    late = await trial.analyze()
    assert late.groups[0].conversion_rate == 1.0
    assert (late.verdict, late.winner, late.look_number) == ("ship", "variant", 1)


async def test_a_guardrail_that_is_breached_blocks_the_better_variant(trial: Trial) -> None:
    guardrail = metrics_pb2.Metric(
        metric_name="opened",
        metric_type="custom_event",
        custom_event_name="opened",
        non_inferiority_margin=0.1,
    )
    await trial.create(target_sample_size=150, guardrail_metrics=[guardrail])
    await trial.assign_until(150)
    await trial.convert("control", trial.users["control"][:30])
    await trial.convert("variant", trial.users["variant"][:100])
    unproven = await trial.analyze()
    assert (unproven.verdict, unproven.HasField("winner")) == ("stop", False)
    assert any("may not ship" in reason for reason in unproven.reasons)
